import { explain, tag, text } from '../strings.js';
import { end_sessions } from './calls.js';
import { name_of } from './devices.js';
import { by_id, make, say } from './dom.js';

/** Notices that stand at once; of those that came before them only the number is told. */
const SHOWN_MAX = 3;

/** Tells of every sign-in elsewhere until that is dismissed, and ends the one that was somebody else's. */
export class NewDevices {
  #client;
  #devices;
  #list = by_id('new-devices');
  /** What had the focus before one of the notices. */
  #before = null;
  /** How many were told before those that stand, and the entry that says so. */
  #earlier = { count: 0, entry: null };

  /** @param {import('../client.js').Client} client @param {import('./devices.js').Devices} devices */
  constructor(client, devices) {
    this.#client = client;
    this.#devices = devices;
    client.on('push', (frame) => { if (frame.type === 'session' && frame.state === 'new_device') this.#tell(frame); });
    this.#list.addEventListener('focusin', ({ relatedTarget }) => {
      if (relatedTarget && !this.#list.contains(relatedTarget)) this.#before = relatedTarget;
    });
  }

  /** Nobody is signed in any more whom they would concern. */
  clear() {
    this.#list.replaceChildren();
    this.#list.hidden = true;
    this.#earlier = { count: 0, entry: null };
    this.#say('');
  }

  /** @param {{session: string, device: {name?: string, kind: string}, ip?: string, client?: string}} signed_in */
  #tell(signed_in) {
    // The newest is on top, and the list grows upwards: while all fit, no button moves away from below a finger.
    this.#list.prepend(this.#entry(signed_in));
    this.#list.hidden = false;
    this.#list.scrollTop = 0;
    this.#bound();
    this.#say(text.newDevice.said(name_of(signed_in), signed_in.ip));
  }

  /** Read out, also when it is the same as before. */
  #say(words) {
    by_id('new-devices-said').textContent = words;
  }

  #bound() {
    const notices = this.#list.querySelectorAll('[data-session]');
    if (notices.length <= SHOWN_MAX) return;
    this.#earlier.count += 1;
    if (!this.#earlier.entry) {
      this.#earlier.entry = this.#earlier_entry();
      this.#list.append(this.#earlier.entry);
    }
    say(this.#earlier.entry.querySelector('p'), text.newDevice.earlier(this.#earlier.count));
    this.#remove(notices[notices.length - 1]);
  }

  #entry(signed_in) {
    const { session, device, ip, client } = signed_in;
    const name = name_of(signed_in);
    const id = `new-device-${session}`;
    const now = new Date();
    const when = make('time', { datetime: now.toISOString(), text: new Intl.DateTimeFormat(tag, { timeStyle: 'short' }).format(now) });
    const kind = client ? text.devices.app : text.confirm.kinds[device?.kind] ?? text.confirm.kinds.other;
    const where = make('p', { class: 'small' }, [kind, ip && text.devices.from(ip)].filter(Boolean).join(' · '), ' · ', when);
    const who = make('p', { class: 'name', text: name, 'data-testid': 'new-device-name' });
    const about = make('div', { id }, make('p', { class: 'small', text: text.newDevice.title }), who, where);
    const end = make('button', { type: 'button', class: 'no', text: text.newDevice.notMe, 'aria-describedby': id, 'data-testid': 'new-device-end' });
    const mine = make('button', { type: 'button', text: text.newDevice.mine, 'aria-describedby': id, 'data-testid': 'new-device-mine' });
    const error = make('p', { class: 'error', 'data-testid': 'new-device-error' });
    const buttons = make('div', { class: 'buttons' }, end, mine);
    const entry = make('li', { class: 'notice', tabindex: -1, 'data-session': session, 'data-testid': 'new-device' }, about, buttons, error);
    mine.addEventListener('click', () => this.#remove(entry));
    end.addEventListener('click', () => this.#end(entry, { session, name, end, error }));
    return entry;
  }

  async #end(entry, { session, name, end, error }) {
    // Held by its words and not by `disabled`, which would take the focus from it.
    if (end.ariaBusy === 'true') return;
    end.ariaBusy = 'true';
    say(end, text.account.working);
    say(error, '');
    try {
      await end_sessions(this.#client, session);
    } catch (failure) {
      end.ariaBusy = 'false';
      say(end, text.newDevice.notMe);
      say(error, text.devices.failed(explain(failure)));
      this.#say(error.textContent);
      return;
    }
    this.#ended(entry, name);
  }

  /** That it is done is to be read too, with what else there is to do. */
  #ended(entry, name) {
    const held = entry.contains(document.activeElement);
    const done = text.devices.done(name);
    const close = make('button', { type: 'button', text: text.devices.close, 'data-testid': 'new-device-close' });
    close.addEventListener('click', () => this.#remove(entry));
    const told = make('p', { class: 'name', text: done, 'data-testid': 'new-device-done' });
    entry.replaceChildren(make('div', {}, told, make('p', { class: 'small', text: text.newDevice.advice })), close);
    if (held) close.focus({ preventScroll: true });
    this.#say(`${done} ${text.newDevice.advice}`);
  }

  #earlier_entry() {
    const look = make('button', { type: 'button', text: text.devices.title, 'data-testid': 'new-devices-look' });
    const close = make('button', { type: 'button', text: text.devices.close, 'data-testid': 'new-devices-close' });
    const buttons = make('div', { class: 'buttons' }, look, close);
    const entry = make('li', { class: 'notice', tabindex: -1, 'data-testid': 'new-devices-earlier' }, make('p'), buttons);
    const drop = () => {
      this.#earlier = { count: 0, entry: null };
      this.#remove(entry);
    };
    close.addEventListener('click', drop);
    look.addEventListener('click', () => {
      drop();
      this.#devices.open();
    });
    return entry;
  }

  /** Takes an entry away. A focus on it goes to the next one, and from the last to where it was before. */
  #remove(entry) {
    const held = entry.contains(document.activeElement);
    const next = entry.nextElementSibling ?? entry.previousElementSibling;
    entry.remove();
    this.#list.hidden = this.#list.childElementCount === 0;
    if (!held) return;
    const before = this.#before?.checkVisibility?.() ? this.#before : by_id('room-title');
    (next ?? before).focus({ preventScroll: true });
  }
}
