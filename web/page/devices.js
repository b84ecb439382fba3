import { explain, tag, text } from '../strings.js';
import { end_sessions, until_answered } from './calls.js';
import { by_id, make, say } from './dom.js';

const OTHERS = 'others';

/** The dialog with everywhere this account is signed in. Ending a session asks once more, in its place. */
export class Devices {
  #client;
  #sessions = [];
  /** What is being asked about: a session's id, or OTHERS. */
  #asking = null;
  #dialog = by_id('devices');

  /** @param {import('../client.js').Client} client */
  constructor(client) {
    this.#client = client;
    by_id('devices-open').addEventListener('click', () => this.open());
    by_id('devices-close').addEventListener('click', () => this.close());
    // Escape takes back the question first.
    this.#dialog.addEventListener('cancel', (event) => {
      if (this.#asking === null) return;
      event.preventDefault();
      this.#ask(null);
    });
  }

  open() {
    this.#sessions = [];
    this.#asking = null;
    this.#render();
    this.#dialog.showModal();
    this.#load(text.devices.loading);
  }

  close() {
    this.#dialog.close();
  }

  /** Reads the list; `words` are said meanwhile and after. */
  async #load(words, after = '') {
    this.#say(words);
    try {
      const { sessions } = await until_answered(() => this.#client.request('GET', '/v1/sessions'));
      this.#sessions = sessions.toSorted((a, b) => b.current - a.current || b.last_seen_at_ms - a.last_seen_at_ms);
      this.#say(after || (sessions.length === 1 ? text.devices.only : ''));
    } catch (error) {
      this.#say(text.devices.failed(explain(error)));
    }
    this.#render();
  }

  #say(words) {
    say(by_id('devices-status'), words);
  }

  async #sign_out(which) {
    const session = this.#sessions.find(({ id }) => id === which);
    if (session?.current) {
      this.close();
      await this.#client.logout().catch(() => {});
      return;
    }
    this.#asking = null;
    this.#render();
    by_id('devices-title').focus();
    try {
      await end_sessions(this.#client, which === OTHERS ? null : which);
    } catch (error) {
      this.#say(text.devices.failed(explain(error)));
      return;
    }
    const words = which === OTHERS ? text.devices.doneOthers : text.devices.done(name_of(session));
    await this.#load(words, words);
  }

  /** Asks whether it is meant, or takes the question back and the focus to where it was. */
  #ask(which) {
    const before = this.#asking;
    this.#asking = which;
    this.#render();
    const focus = which === null ? `[data-ends="${CSS.escape(before)}"]` : '[data-keep]';
    this.#dialog.querySelector(focus)?.focus();
  }

  #render() {
    by_id('devices-list').replaceChildren(...this.#sessions.map((session) => this.#row(session)));
    const several = this.#sessions.some(({ current }) => !current);
    const words = text.devices;
    by_id('devices-others').replaceChildren(...(several ? [this.#ending(OTHERS, words.signOutOthers, null, words.askOthers)] : []));
  }

  #row(session) {
    const words = text.devices;
    const when = (ms) => new Intl.DateTimeFormat(tag, { dateStyle: 'medium', timeStyle: 'short' }).format(ms);
    const kind = text.confirm.kinds[session.device.kind] ?? text.confirm.kinds.other;
    const name = name_of(session);
    const title = make('p', { class: 'name', 'data-testid': 'device-name', text: name });
    if (session.client) title.append(' ', make('span', { class: 'tag', text: words.app, 'data-testid': 'device-app' }));
    if (session.current) title.append(' ', make('span', { class: 'tag', text: words.current, 'data-testid': 'device-current' }));
    return make(
      'li',
      { 'data-testid': 'device', 'data-current': session.current },
      make(
        'div',
        {},
        title,
        make('p', { class: 'small', text: session.ip ? `${kind} · ${words.from(session.ip)}` : kind }),
        make('p', { class: 'small', text: words.since(when(session.created_at_ms)) }),
        make('p', { class: 'small', text: words.seen(when(session.last_seen_at_ms)) }),
      ),
      this.#ending(session.id, words.signOut, words.signOutOf(name), session.current ? words.askThis : words.ask(name)),
    );
  }

  /** A button that ends something, or the question whether it is meant. */
  #ending(which, words, label, question) {
    if (this.#asking !== which) {
      const button = make('button', { type: 'button', text: words, 'aria-label': label, 'data-ends': which, 'data-testid': which === OTHERS ? 'devices-end-others' : 'device-end' });
      button.addEventListener('click', () => this.#ask(which));
      return button;
    }
    const yes = make('button', { type: 'button', class: 'no', text: text.devices.yes, 'data-testid': 'device-yes' });
    const keep = make('button', { type: 'button', text: text.devices.keep, 'data-keep': true, 'data-testid': 'device-keep' });
    yes.addEventListener('click', () => this.#sign_out(which));
    keep.addEventListener('click', () => this.#ask(null));
    return make('div', { class: 'question', role: 'group', 'aria-label': question }, make('p', { text: question }), yes, keep);
  }
}

/**
 * An app by its name, and where it runs if that has one; else the device.
 * @param {{client?: string, device?: {name?: string}}} session
 */
export function name_of({ client, device }) {
  if (!client) return device?.name || text.devices.unnamed;
  return device?.name ? text.devices.appOn(client, device.name) : client;
}
