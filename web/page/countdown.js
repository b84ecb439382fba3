import { text } from '../strings.js';
import { by_id, say } from './dom.js';

/** The ring around the code and the words below it: the time that is left. */
export class Countdown {
  /** The longest time left seen of the present thing: what a full ring means. */
  #span = { of: null, ms: 1 };

  /** @param {import('../client/attempt.js').Attempt | null} attempt */
  tick(attempt) {
    const running = attempt && !attempt.final && attempt.expires_at_ms !== null;
    by_id('qr-ring').toggleAttribute('data-off', !running);
    if (!running) return say(by_id('qr-time'), '\u00a0');
    const left = left_until(attempt.expires_at_ms);
    const rotates = attempt.rotates_at_ms === null ? null : left_until(attempt.rotates_at_ms);
    this.#turn(`${attempt.state} ${attempt.state === 'waiting' ? attempt.qr_id : ''}`, rotates ?? left);
    const words = text.signIn.left(clock(left));
    return say(by_id('qr-time'), rotates === null ? words : `${words} · ${text.signIn.rotates(Math.ceil(rotates / 1000))}`);
  }

  /** Runs down with each picture, and after the scan with the time to confirm. */
  #turn(of, left) {
    if (this.#span.of !== of) this.#span = { of, ms: 1 };
    this.#span.ms = Math.max(this.#span.ms, left);
    by_id('qr-ring-left').setAttribute('stroke-dasharray', `${((100 * left) / this.#span.ms).toFixed(2)} 200`);
  }
}

const left_until = (at_ms) => Math.max(0, at_ms - Date.now());

/** `4:05` */
function clock(ms) {
  const all = Math.ceil(ms / 1000);
  return `${Math.floor(all / 60)}:${String(all % 60).padStart(2, '0')}`;
}
