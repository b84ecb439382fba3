import { Emitter } from './emitter.js';

const FINAL = ['redeemed', 'denied', 'cancelled', 'expired'];
const RETRY_MS = 1_000;

/**
 * One QR login as the PC sees it, whichever way its events come. It survives lost sockets: the client calls `resume` on each
 * new one, and brings the events over HTTP while there is none.
 * Event: `change`, after any of its fields changed.
 */
export class Attempt extends Emitter {
  #call;
  #device;
  #signed_in;
  #clock;
  #claim;
  #ids;
  #redeeming = false;
  seq = 0;
  /** @type {'waiting'|'scanned'|'confirmed'|'redeemed'|'denied'|'cancelled'|'expired'} */
  state = 'waiting';
  reason = null;
  qr_id;
  url;
  /** Who scanned, and what the phone has to type: set from `scanned` on. */
  user = null;
  match = null;
  /** Whether `answer` was right: from then on the phone can confirm. */
  matched = false;
  ticket = null;
  /** By this machine's clock, made from the relative times on the wire. */
  expires_at_ms = null;
  rotates_at_ms = null;
  /** True once this device holds its own tokens. */
  signed_in = false;

  /**
   * @param {object} opened the reply of `qr.open`, or what `toJSON` returned before a reload
   * @param {object} context
   * @param {(type: string, fields: object) => Promise<object>} context.call
   * @param {string} context.device
   * @param {(reply: object) => void} context.signed_in takes the tokens
   * @param {{now(): number, set(run: () => void, ms: number): any}} context.clock
   */
  constructor(opened, { call, device, signed_in, clock }) {
    super();
    this.#call = call;
    this.#device = device;
    this.#signed_in = signed_in;
    this.#clock = clock;
    this.#claim = opened.claim;
    this.#ids = new Set([opened.qr_id]);
    this.#take(opened);
  }

  get final() {
    return FINAL.includes(this.state);
  }

  /** Nothing is to come any more. A redemption whose reply was lost is still to be asked for. */
  get over() {
    return this.signed_in || (this.final && !(this.state === 'redeemed' && this.ticket));
  }

  /** Whoever else has the claim, a copy of this tab, fetched the tokens: none are to come here. */
  get elsewhere() {
    return this.state === 'redeemed' && !this.signed_in && !this.ticket;
  }

  /** Where its events are over HTTP, what proves that they may be read, and after which one they go on. */
  over_http() {
    return { path: `/v1/qr/${encodeURIComponent(this.qr_id)}`, claim: this.#claim, after: this.seq || undefined };
  }

  /** Whether a push is about this attempt. Each rotation brings another id, and so may the time before a reload. */
  owns({ qr_id, state }) {
    return state === 'waiting' || this.seq === 0 || this.#ids.has(qr_id);
  }

  /** Whether it has, or had, this id. */
  named(qr_id) {
    return this.#ids.has(qr_id);
  }

  /** What a reload needs to go on. It holds the claim: keep it where the tokens are kept. */
  toJSON() {
    return { qr_id: this.qr_id, claim: this.#claim, url: this.url };
  }

  /**
   * Where the PC types (`match.mode` is `pc_types`): the two digits that the phone shows. The right ones again are right
   * again, so a lost reply may be answered by a repeat. A wrong one rejects with `match_failed`, `body.tries_left` says
   * how many are left, and the last ends the attempt.
   * @param {string} code
   */
  async answer(code) {
    await this.#call('qr.answer', { qr_id: this.qr_id, claim: this.#claim, code });
  }

  /** The PC changed its mind. */
  async cancel() {
    await this.#call('qr.cancel', this.#named());
  }

  /** A `qr` push. Events already seen (they come again after `qr.watch`) change nothing. */
  push(frame) {
    if (frame.seq <= this.seq || this.final) return;
    this.#ids.add(frame.qr_id);
    this.#take(frame);
    this.go_on();
    this.emit('change');
  }

  /** There is a way to the gateway: what was confirmed is redeemed. */
  go_on() {
    if (this.ticket && !this.over) this.#redeem();
  }

  /** The gateway no longer knows it. */
  lost() {
    this.#fail('lost');
  }

  /** Watches again; events missed meanwhile follow as pushes. Resolves to whether it is still going on. */
  async resume() {
    const after_seq = this.seq || undefined;
    let live;
    try {
      const reply = await this.#call('qr.watch', { ...this.#named(), after_seq });
      live = !FINAL.includes(reply.state);
      // Over HTTP the reply is the newest event itself.
      if (reply.seq !== undefined) this.push(reply);
    } catch (error) {
      if (error.retry) throw error;
      this.lost();
      return false;
    }
    this.go_on();
    return live;
  }

  #named() {
    return { qr_id: this.qr_id, claim: this.#claim, device: this.#device };
  }

  #take(frame) {
    this.seq = frame.seq ?? this.seq;
    this.state = frame.state ?? this.state;
    this.reason = frame.reason ?? null;
    if (this.state === 'waiting') this.qr_id = frame.qr_id;
    this.url = frame.url ?? this.url;
    this.user = frame.user ?? this.user;
    this.match = frame.match ?? this.match;
    this.matched = frame.matched ?? this.matched;
    this.ticket = frame.ticket ?? this.ticket;
    if (frame.expires_in_ms !== undefined) this.expires_at_ms = this.#clock.now() + frame.expires_in_ms;
    this.rotates_at_ms = frame.rotate_in_ms === undefined ? null : this.#clock.now() + frame.rotate_in_ms;
  }

  /** Fetches the tokens. The same claim and ticket may ask again for 30 s: a lost reply loses nothing. */
  async #redeem() {
    if (this.#redeeming || this.over) return;
    this.#redeeming = true;
    try {
      const reply = await this.#call('qr.redeem', { ...this.#named(), ticket: this.ticket });
      this.signed_in = true;
      this.state = 'redeemed';
      this.emit('change');
      this.#signed_in(reply);
    } catch (error) {
      if (!error.retry) this.#fail(error.body?.reason ?? error.code, error.body?.state);
      // Without a way the next one goes on; with one, the reply was late or the gateway busy.
      else if (error.code !== 'disconnected') this.#clock.set(() => this.#redeem(), error.after_ms ?? RETRY_MS);
    } finally {
      this.#redeeming = false;
    }
  }

  /** @param {string} reason @param {string} [state] how it ended, if the gateway told */
  #fail(reason, state) {
    if (this.state !== 'redeemed' && this.final) return;
    // Redeemed by somebody, and too long ago to be had again: for this page that is an end in time too.
    this.state = state !== 'redeemed' && FINAL.includes(state) ? state : 'expired';
    this.reason = reason;
    this.ticket = null;
    this.emit('change');
  }
}
