import { BOUNDS } from './transport.js';

/**
 * Looks after an attempt whose events have stopped. Another tab that took the watch over is not told of here (nor is this
 * one told that it lost it): when a code should have rotated or ended and nothing was heard, the newest event is read.
 * That takes the watch from nobody. From then on it is read at the same distance until something is heard again, or it ends.
 */
export class Lookout {
  #clock;
  #newest;
  #attempt = null;
  #forget = null;
  #timer = null;
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
    this.#forget = attempt.on('change', () => this.#wait());
    this.#wait();
  }

  stop() {
    this.#forget?.();
    this.#disarm();
    this.#attempt = null;
    this.#forget = null;
    this.#left = null;
  }

  #wait() {
    const due = due_at(this.#attempt);
    if (due === null) this.#disarm();
    else this.#arm(Math.max(0, due - this.#clock.now()) + BOUNDS.overdue_ms);
  }

  async #look() {
    const attempt = this.#attempt;
    const frame = await this.#newest(attempt);
    if (attempt !== this.#attempt) return;
    if (frame && this.#is_for_us(frame)) attempt.push(frame);
    if (attempt === this.#attempt && due_at(attempt) !== null) this.#arm(BOUNDS.overdue_ms);
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
