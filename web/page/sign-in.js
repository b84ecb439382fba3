import { text, explain, seconds } from '../strings.js';
import { avatar, by_id, make, say } from './dom.js';
import { load_attempt, save_attempt } from './store.js';

const TICK_MS = 250;

/** The card with the code: one attempt after another until somebody is signed in. */
export class SignIn {
  #client;
  #attempt = null;
  #starting = false;
  #shown = false;
  #pictured = null;
  /** The longest time left seen in the present state: what a full bar means. */
  #span = { state: null, ms: 1 };
  #ticker = null;

  /** @param {import('../client.js').Client} client */
  constructor(client) {
    this.#client = client;
    by_id('qr-cancel').addEventListener('click', () => this.#cancel());
    by_id('qr-again').addEventListener('click', () => {
      this.#attempt = null;
      // Closed meanwhile: a new connection starts by itself.
      client.open().catch(() => {});
      this.#start();
    });
    client.on('state', (state) => { if (state === 'connected') this.#start(); });
  }

  show() {
    this.#shown = true;
    by_id('sign-in').hidden = false;
    this.#render();
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS);
    this.#start();
  }

  /** Hides the card. A code that is still good is of no use any more. */
  hide() {
    this.#shown = false;
    by_id('sign-in').hidden = true;
    by_id('password-card').open = false;
    clearInterval(this.#ticker);
    this.#ticker = null;
    const attempt = this.#attempt;
    this.#attempt = null;
    this.#pictured = null;
    by_id('qr-picture').replaceChildren();
    save_attempt(null);
    if (attempt && !attempt.final) attempt.cancel().catch(() => {});
  }

  async #start() {
    if (!this.#shown || this.#starting || this.#attempt || this.#client.state !== 'connected') return;
    this.#starting = true;
    this.#render();
    try {
      const kept = load_attempt();
      const attempt = (kept && (await this.#client.resumeAttempt(kept))) ?? (await this.#client.openAttempt());
      this.#starting = false;
      this.#take(attempt);
    } catch (error) {
      this.#starting = false;
      // Without a connection there will be another one, and that starts again.
      if (error.code !== 'disconnected') this.#failed(error);
    }
  }

  #take(attempt) {
    if (!this.#shown) {
      attempt.cancel().catch(() => {});
      return;
    }
    this.#attempt = attempt;
    attempt.on('change', () => { if (attempt === this.#attempt) this.#changed(); });
    this.#changed();
  }

  #changed() {
    save_attempt(this.#attempt.final ? null : this.#attempt.toJSON());
    this.#render();
  }

  async #cancel() {
    by_id('qr-cancel').disabled = true;
    try {
      await this.#attempt?.cancel();
    } catch (error) {
      say(by_id('qr-status'), explain(error));
    } finally {
      by_id('qr-cancel').disabled = false;
    }
  }

  #failed(error) {
    const words = text.signIn;
    const why = error.code === 'rate_limited' ? words.limited(seconds(error.after_ms)) : explain(error);
    this.#render({ state: 'failed', title: words.failed.title, text: `${words.failed.text} ${why}` });
  }

  #render(end = this.#ending()) {
    const attempt = this.#attempt;
    const state = end?.state ?? attempt?.state ?? 'opening';
    const number = state === 'scanned' && attempt.match?.mode === 'phone_types' ? attempt.match.code : null;
    by_id('qr').dataset.state = state;
    this.#picture(state === 'waiting' ? attempt.qr_id : null);

    by_id('qr-number').hidden = number === null;
    say(by_id('qr-number'), number ?? '');
    by_id('qr-end').hidden = !end;
    say(by_id('qr-end'), end?.title ?? '');
    by_id('qr-busy').hidden = !['opening', 'confirmed', 'redeemed'].includes(state);

    by_id('qr-who').replaceChildren(...(attempt?.user && !end ? [avatar(attempt.user), make('b', { text: attempt.user.name ?? text.signIn.somebody, 'data-testid': 'qr-who-name' })] : []));
    say(by_id('qr-status'), this.#status(state, number, end));
    by_id('qr-cancel').hidden = Boolean(end);
    by_id('qr-cancel').disabled = !attempt || attempt.final;
    by_id('qr-again').hidden = !end;

    const link = by_id('qr-url');
    link.classList.toggle('gone', state !== 'waiting');
    if (state === 'waiting') link.href = attempt.url;
    else link.removeAttribute('href');
    this.#tick();
  }

  /** How it ended badly, in words; null while it goes on or when it went well. */
  #ending() {
    const attempt = this.#attempt;
    if (!attempt?.final || attempt.state === 'redeemed') return null;
    const words = text.signIn[attempt.state];
    const reasons = text.signIn[`${attempt.state}Reasons`] ?? {};
    return { state: attempt.state, title: words.title, text: reasons[attempt.reason] ?? words.text };
  }

  #status(state, number, end) {
    const words = text.signIn;
    if (end) return end.text;
    if (state !== 'scanned') return words[state];
    const who = words.scanned(this.#attempt.user?.name ?? words.somebody);
    return `${who} ${number === null ? words.confirmThere : words.type(number)}`;
  }

  /** Shows the code of this id; the old picture stays until the new one is there, and each is fetched once. */
  #picture(qr_id) {
    by_id('qr-picture').classList.toggle('covered', qr_id === null);
    if (qr_id === null || qr_id === this.#pictured) return;
    this.#pictured = qr_id;
    const image = make('img', { alt: text.signIn.codeAlt, width: 264, height: 264, 'data-testid': 'qr-image', 'data-qr-id': qr_id });
    image.addEventListener('load', () => { if (this.#pictured === qr_id) by_id('qr-picture').replaceChildren(image); });
    image.src = `/v1/qr/${encodeURIComponent(qr_id)}.svg`;
  }

  #tick() {
    const attempt = this.#attempt;
    const running = attempt && !attempt.final && attempt.expires_at_ms !== null;
    const left = running ? Math.max(0, attempt.expires_at_ms - Date.now()) : 0;
    if (this.#span.state !== attempt?.state) this.#span = { state: attempt?.state, ms: 1 };
    this.#span.ms = Math.max(this.#span.ms, left);
    by_id('qr-progress').value = left / this.#span.ms;
    let words = running ? text.signIn.left(clock(left)) : '\u00a0';
    if (running && attempt.rotates_at_ms !== null) {
      words += ` · ${text.signIn.rotates(Math.max(0, Math.ceil((attempt.rotates_at_ms - Date.now()) / 1000)))}`;
    }
    say(by_id('qr-time'), words);
  }
}

/** `4:05` */
function clock(ms) {
  const all = Math.ceil(ms / 1000);
  return `${Math.floor(all / 60)}:${String(all % 60).padStart(2, '0')}`;
}
