import { capital, explain, seconds, text } from '../strings.js';
import { Countdown } from './countdown.js';
import { avatar, by_id, make, say } from './dom.js';
import { explain_reach } from './reach.js';
import { load_attempt, save_attempt } from './store.js';

const TICK_MS = 250;

/** The card with the code: one attempt after another until somebody is signed in. */
export class SignIn {
  #client;
  #attempt = null;
  #starting = false;
  #shown = false;
  #pictured = null;
  #countdown = new Countdown();
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
    const answer = by_id('qr-answer-digits');
    answer.addEventListener('input', () => { answer.value = answer.value.replace(/\D/g, '').slice(0, 2); });
    by_id('qr-answer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#answer(answer);
    });
    client.on('reachable', () => this.#start());
    client.on('transport', (transport) => { by_id('qr').dataset.transport = transport ?? ''; });
  }

  show() {
    this.#shown = true;
    by_id('sign-in').hidden = false;
    this.#render();
    this.#ticker ??= setInterval(() => this.#countdown.tick(this.#attempt), TICK_MS);
    this.#start();
  }

  /** Hides the card. A code that is still good is of no use any more; the client cancels it. */
  hide() {
    this.#shown = false;
    by_id('sign-in').hidden = true;
    by_id('password-card').open = false;
    clearInterval(this.#ticker);
    this.#ticker = null;
    this.#attempt = null;
    this.#pictured = null;
    by_id('qr-picture').replaceChildren();
    save_attempt(null);
  }

  async #start() {
    if (!this.#shown || this.#starting || this.#attempt) return;
    this.#starting = true;
    this.#render();
    try {
      const kept = load_attempt();
      const attempt = (kept && (await this.#client.resumeAttempt(kept))) ?? (await this.#client.openAttempt());
      this.#starting = false;
      this.#take(attempt);
    } catch (error) {
      this.#starting = false;
      // It will be reachable again, and is asked again then.
      if (error.code !== 'disconnected') this.#failed(error);
    }
  }

  #take(attempt) {
    if (!this.#shown) {
      attempt.cancel().catch(() => {});
      return;
    }
    this.#attempt = attempt;
    if (attempt.url) explain_reach(attempt.url);
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
      this.#say(capital(explain(error)));
    } finally {
      by_id('qr-cancel').disabled = !this.#attempt || this.#attempt.final;
    }
  }

  /** The digits of the phone, typed here. */
  async #answer(input) {
    const words = text.signIn;
    const attempt = this.#attempt;
    if (input.value.length !== 2) {
      this.#say(words.two);
      input.focus();
      return;
    }
    by_id('qr-answer-send').disabled = true;
    try {
      await attempt.answer(input.value);
    } catch (error) {
      // What ends it is pushed as well, and told there.
      if (attempt !== this.#attempt || attempt.final || error.body?.tries_left === 0) return;
      const wrong = error.code === 'match_failed';
      this.#say(wrong ? `${words.wrong} ${text.triesLeft(error.body.tries_left)}` : capital(explain(error)));
      if (wrong) input.value = '';
      input.toggleAttribute('aria-invalid', false);
      if (wrong) input.setAttribute('aria-invalid', 'true');
      input.focus();
    } finally {
      by_id('qr-answer-send').disabled = false;
    }
  }

  /** Shows it, and has it read out: once, however often it is rendered. */
  #say(words, announced = words) {
    say(by_id('qr-status'), words);
    say(by_id('qr-announce'), announced);
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
    const answers = state === 'scanned' && attempt.match?.mode === 'pc_types' && !attempt.matched;
    by_id('qr').dataset.state = state;
    this.#picture(state === 'waiting' ? attempt.qr_id : null);

    by_id('qr-number').hidden = number === null;
    say(by_id('qr-number'), number ?? '');
    this.#show_answer(answers);
    by_id('qr-end').hidden = !end;
    say(by_id('qr-end'), end?.title ?? '');
    by_id('qr-done').hidden = Boolean(end) || !(state === 'redeemed' || (state === 'scanned' && attempt.matched));
    by_id('qr-busy').hidden = !['opening', 'confirmed'].includes(state);

    this.#who(end ? null : attempt?.user);
    const words = this.#status(state, number, end);
    this.#say(words, end ? `${end.title}. ${words}` : words);
    by_id('qr-cancel').hidden = Boolean(end);
    by_id('qr-cancel').disabled = !attempt || attempt.final;
    by_id('qr-again').hidden = !end;

    const link = by_id('qr-url');
    link.classList.toggle('gone', state !== 'waiting');
    if (state === 'waiting') link.href = attempt.url;
    else link.removeAttribute('href');
    this.#countdown.tick(attempt);
  }

  /** Who scanned; made once, so that their picture is fetched once. */
  #who(user) {
    const at = by_id('qr-who');
    const shown = user ? JSON.stringify(user) : '';
    if (at.dataset.user === shown) return;
    at.dataset.user = shown;
    at.replaceChildren(...(user ? [avatar(user), make('b', { text: user.name ?? text.signIn.somebody, 'data-testid': 'qr-who-name' })] : []));
  }

  #show_answer(answers) {
    const form = by_id('qr-answer');
    if (form.hidden === !answers) return;
    form.hidden = !answers;
    const input = by_id('qr-answer-digits');
    input.value = '';
    input.removeAttribute('aria-invalid');
    if (answers) input.focus({ preventScroll: true });
  }

  /** How it ended badly, in words; null while it goes on or when it went well. */
  #ending() {
    const attempt = this.#attempt;
    if (attempt?.elsewhere) return { state: attempt.state, ...text.signIn.elsewhere };
    if (!attempt?.final || attempt.state === 'redeemed') return null;
    const reason = text.signIn[`${attempt.state}Reasons`]?.[attempt.reason];
    const words = typeof reason === 'string' ? { text: reason } : reason;
    return { state: attempt.state, ...text.signIn[attempt.state], ...words };
  }

  #status(state, number, end) {
    const words = text.signIn;
    if (end) return end.text;
    if (state !== 'scanned') return words[state];
    const who = words.scanned(this.#attempt.user?.name ?? words.somebody);
    if (number !== null) return `${who} ${words.type(number)}`;
    if (this.#attempt.match?.mode !== 'pc_types') return `${who} ${words.confirmThere}`;
    return this.#attempt.matched ? words.matched : `${who} ${words.typeHere}`;
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
}
