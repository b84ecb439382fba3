import { BOUNDS } from './transport.js';

/**
 * Looks after an attempt whose events do not come, because another tab has taken its watch over: the gateway tells neither. The
 * newest event is read, which takes the watch from nobody:
 * - when one that has to come is late: a rotation, or the end;
 * - every few seconds as soon as it is known that another tab watches, because that tab said so (watch-news.js), or because a look
 *   found what had not been heard; until an event is heard again;
 * - once in a while after a scan. What comes then comes when a person decides, and is known for a minute only: who looked when it is
 *   late would not find it.
 * A PC of which no other tab has a copy looks after a scan that takes long, and never else.
 */
export class Lookout {
  #clock;
  #newest;
  #attempt = null;
  #forget = null;
  #timer = null;
  /** Another tab has the watch, as far as is known. */
  #unwatched = false;
  #looking = false;
  /** Which confirmation was seen at the last look. */
  #left = null;

  /**
   * @param {object} options
   * @param {{now(): number, set(run: () => void, ms: number): any, clear(handle: any): void}} options.clock
   * @param {(attempt: import('./attempt.js').Attempt) => Promise<object | null>} options.newest reads the newest event; null:
   *   not to be had now
   */
  constructor({ clock, newest }) {
    this.#clock = clock;
    this.#newest = newest;
  }

  /** @param {import('./attempt.js').Attempt} attempt */
  follow(attempt) {
    if (attempt === this.#attempt) return;
    this.stop();
    this.#attempt = attempt;
    this.#forget = attempt.on('change', () => {
      if (!this.#looking) this.#unwatched = false;
      this.#wait();
    });
    this.#wait();
  }

  /** The watch was taken: by another tab of this browser, or by this one. @param {boolean} elsewhere */
  watch_taken(elsewhere) {
    if (!this.#attempt || elsewhere === this.#unwatched) return;
    this.#unwatched = elsewhere;
    this.#wait();
  }

  stop() {
    this.#forget?.();
    this.#disarm();
    this.#attempt = null;
    this.#forget = null;
    this.#left = null;
    this.#unwatched = false;
  }

  #wait() {
    const due = due_at(this.#attempt);
    if (due === null) return this.#disarm();
    const late = Math.max(0, due - this.#clock.now()) + BOUNDS.overdue_ms;
    if (this.#unwatched) return this.#arm(BOUNDS.overdue_ms);
    return this.#arm(this.#attempt.state === 'scanned' ? Math.min(late, BOUNDS.scanned_look_ms) : late);
  }

  async #look() {
    const attempt = this.#attempt;
    const frame = await this.#newest(attempt);
    if (attempt !== this.#attempt) return;
    if (frame?.seq > attempt.seq) this.#unwatched = true;
    this.#looking = true;
    if (frame && this.#is_for_us(frame)) attempt.push(frame);
    this.#looking = false;
    if (attempt === this.#attempt) this.#wait();
  }

  /** Who watches fetches the tokens, and two tabs with the same ones would sign each other out. Whoever has not fetched them
   * by the next look has gone. */
  #is_for_us({ state, seq }) {
    if (state !== 'confirmed' || this.#left === seq) return true;
    this.#left = seq;
    return false;
  }

  #arm(ms) {
    this.#disarm();
    this.#timer = this.#clock.set(() => {
      this.#timer = null;
      this.#look();
    }, ms);
  }

  #disarm() {
    if (this.#timer !== null) this.#clock.clear(this.#timer);
    this.#timer = null;
  }
}

/** When the next event comes at the latest; null: none is waited for, or the tokens are being fetched. */
function due_at(attempt) {
  return attempt.final || attempt.ticket ? null : attempt.rotates_at_ms ?? attempt.expires_at_ms;
}
