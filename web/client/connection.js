import { Emitter } from './emitter.js';
import { CountersignError } from './error.js';

const PROTOCOL = 'countersign.v1.json';
/** A socket must say `hello`, and a command must be answered, within this time. */
const REPLY_MS = 10_000;
/** Full jitter: the wait before try n is random in 0 … min(cap, base · 2ⁿ). */
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
/** A connection that lived this long was a good one: the next loss starts the backoff from the beginning. */
const STABLE_MS = 5_000;

/**
 * Whether a socket closed with this code may be opened again unchanged (protocol section 4).
 * @param {number} code
 * @returns {boolean}
 */
export function reconnects(code) {
  if (code === 1002 || code === 1003 || (code >= 1007 && code <= 1009)) return false;
  return !(code >= 4500 && code <= 4999);
}

/**
 * One logical connection over any number of sockets: commands and replies, liveness, reconnection.
 *
 * Events: `state` (`connecting` | `connected` | `reconnecting` | `closed`, `{code, reason, wait_ms}`), `push` (frame),
 * `lost` (`{code, reason}`: after `reconnecting` and `closed`, what hung on the socket is void).
 */
export class Connection extends Emitter {
  #options;
  #socket = null;
  /** Raised whenever a socket is given up, so that late events of an older one are recognised and ignored. */
  #turn = 0;
  #hello = null;
  #calls = new Map();
  #last_id = 0;
  #tries = 0;
  #ready_at = null;
  #heard_at = 0;
  #timers = { hello: null, dial: null, liveness: null, drain: null };
  #reconnect_at = null;
  /** @type {'connecting'|'connected'|'reconnecting'|'closed'} */
  state = 'closed';

  /**
   * @param {object} options
   * @param {string} options.url the socket's address, ws: or wss:
   * @param {typeof WebSocket} options.WebSocket
   * @param {() => Promise<void>} options.before awaited before every socket is opened (a fresh token)
   * @param {() => Promise<void>} options.ready awaited after every `hello` (sign in, watch, join)
   * @param {() => number} options.random 0 ≤ n < 1
   * @param {{now(): number, set(fn: () => void, ms: number): any, clear(handle: any): void}} options.clock
   */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** The limits the gateway announced, or null before the first `hello`. */
  get limits() {
    return this.#hello?.limits ?? null;
  }

  /** Whether commands can be sent: the present socket said hello. */
  get greeted() {
    return this.#hello !== null && this.#socket?.readyState === 1;
  }

  /** Starts connecting; does nothing when that is already going on. */
  open() {
    if (this.state !== 'closed') return;
    this.#tries = 0;
    this.#set_state('connecting');
    this.#dial();
  }

  /** Ends the connection for good, until `open` is called again. */
  close() {
    if (this.state === 'closed') return;
    this.#give_up();
    this.#set_state('closed', { code: 1000, reason: 'closed by the client' });
  }

  /** Drops the present socket and opens another one at once. */
  restart() {
    if (this.state === 'closed') return;
    this.#give_up();
    this.#set_state('reconnecting', { code: 1000, reason: 'restart' });
    this.#dial();
  }

  /** To be called when the network or the page came back: asks at once instead of at the next deadline. */
  nudge() {
    if (this.#timers.dial !== null) this.#dial();
    else if (this.state === 'connected') this.#ping();
  }

  /**
   * Sends one command.
   * @param {string} type
   * @param {object} [fields]
   * @param {{onReply?: (reply: object) => void}} [more] `onReply` runs before any later frame is looked at
   * @returns {Promise<object>} the `ok` reply; rejects with a CountersignError
   */
  call(type, fields = {}, { onReply } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.greeted) {
        reject(new CountersignError('disconnected', { retry: true }));
        return;
      }
      const id = ++this.#last_id;
      const timer = this.#options.clock.set(() => {
        this.#calls.delete(id);
        reject(new CountersignError('timeout', { message: `no reply to ${type}`, retry: true }));
      }, REPLY_MS);
      this.#calls.set(id, { resolve, reject, onReply, timer });
      this.#socket.send(JSON.stringify({ id, type, ...fields }));
    });
  }

  async #dial() {
    const turn = ++this.#turn;
    this.#clear('dial');
    try {
      await this.#options.before();
    } catch {
      if (turn === this.#turn) this.#lost(1006, 'could not prepare');
      return;
    }
    if (turn !== this.#turn) return;
    const socket = new this.#options.WebSocket(this.#options.url, PROTOCOL);
    this.#socket = socket;
    this.#arm('hello', REPLY_MS, () => this.#lost(1006, 'no hello'));
    socket.onmessage = (event) => { if (turn === this.#turn) this.#frame(event.data); };
    socket.onclose = (event) => { if (turn === this.#turn) this.#lost(event.code, event.reason); };
    // Always followed by `close`, which says more.
    socket.onerror = () => {};
  }

  #frame(data) {
    this.#heard_at = this.#options.clock.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.type === 'hello') this.#greeted(frame);
    else if (frame.type === 'ok' || frame.type === 'error') this.#reply(frame);
    else {
      if (frame.type === 'reconnect') this.#drain(frame.after_ms ?? 0);
      this.emit('push', frame);
    }
  }

  async #greeted(hello) {
    const turn = this.#turn;
    this.#hello = hello;
    this.#clear('hello');
    this.#watch_liveness();
    try {
      await this.#options.ready();
    } catch {
      if (turn === this.#turn) this.#lost(1006, 'could not resume');
      return;
    }
    if (turn !== this.#turn) return;
    this.#ready_at = this.#options.clock.now();
    this.#set_state('connected');
  }

  #reply(frame) {
    const call = this.#calls.get(frame.id);
    if (!call) return;
    this.#calls.delete(frame.id);
    this.#options.clock.clear(call.timer);
    if (frame.type === 'ok') {
      call.onReply?.(frame);
      call.resolve(frame);
    } else {
      call.reject(new CountersignError(frame.code, { ...frame, body: frame }));
    }
  }

  // Liveness: a page's script cannot see WebSocket pings, so silence for a whole interval is answered by asking.

  #watch_liveness() {
    const quiet_until = this.#heard_at + this.#hello.ping_interval_ms;
    const wait = quiet_until - this.#options.clock.now();
    if (wait <= 0) this.#ping();
    // Traffic does not touch the timer; it looks again when it fires.
    else this.#arm('liveness', wait, () => this.#watch_liveness());
  }

  #ping() {
    const turn = this.#turn;
    this.#clear('liveness');
    this.call('ping').then(
      () => { if (turn === this.#turn) this.#watch_liveness(); },
      () => {
        if (turn !== this.#turn) return;
        // Something else arrived meanwhile: the wire is alive, only the answer is late.
        if (this.#options.clock.now() - this.#heard_at < REPLY_MS) this.#watch_liveness();
        else this.#lost(1006, 'no answer to a ping');
      },
    );
  }

  /** The gateway is draining: leave at the moment it gave us, so that not everybody leaves at once. */
  #drain(after_ms) {
    this.#reconnect_at = this.#options.clock.now() + after_ms;
    this.#arm('drain', after_ms, () => this.#lost(1012, 'drained'));
  }

  #lost(code, reason) {
    const now = this.#options.clock.now();
    const told = this.#reconnect_at;
    if (this.#ready_at !== null && now - this.#ready_at >= STABLE_MS) this.#tries = 0;
    this.#give_up();
    if (!reconnects(code)) {
      this.#set_state('closed', { code, reason });
      return;
    }
    // Over capacity or too fast: coming back at the first step would make it worse.
    if (code === 1013 || code === 4029) this.#tries = Math.max(this.#tries, 3);
    const most = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** this.#tries);
    const wait = told === null ? this.#options.random() * most : Math.max(told - now, 0);
    this.#tries += 1;
    this.#arm('dial', wait, () => this.#dial());
    this.#set_state('reconnecting', { code, reason, wait_ms: wait });
  }

  /** Lets go of the socket without waiting for its closing handshake, which a dead network never finishes. */
  #give_up() {
    this.#turn += 1;
    for (const name of Object.keys(this.#timers)) this.#clear(name);
    const socket = this.#socket;
    this.#socket = null;
    this.#hello = null;
    this.#ready_at = null;
    this.#reconnect_at = null;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      this.#options.clock.clear(call.timer);
      call.reject(new CountersignError('disconnected', { retry: true }));
    }
    try {
      socket?.close(1000);
    } catch {
      // A socket that never opened may refuse; it is gone either way.
    }
  }

  #set_state(state, detail = {}) {
    this.state = state;
    this.emit('state', state, detail);
    if (state === 'reconnecting' || state === 'closed') this.emit('lost', detail);
  }

  #arm(name, ms, run) {
    this.#clear(name);
    this.#timers[name] = this.#options.clock.set(() => {
      this.#timers[name] = null;
      run();
    }, ms);
  }

  #clear(name) {
    if (this.#timers[name] !== null) this.#options.clock.clear(this.#timers[name]);
    this.#timers[name] = null;
  }
}
