import { Emitter } from './emitter.js';
import { CountersignError } from './error.js';
import { read_events } from './events.js';
import { Lookout } from './lookout.js';
import * as transport from './transport.js';
import { WatchNews } from './watch-news.js';

const { BOUNDS } = transport;
/** A poll without an answer is given up after this time. */
const POLL_MS = 10_000;
/** So is a code that is asked for. A socket that comes meanwhile is closed by the gateway when it says nothing for 10 s: the rest
 * of them is left to ask there instead. */
const ASK_MS = 8_000;
/** After the climb from a stream to the socket, the socket asks for the watch once more: the stream's request may still
 * have been on its way when it asked first, and have taken the watch from it. */
const AGAIN_MS = 3_000;

/**
 * The way of one QR login to the gateway: carries its commands, and its events over HTTP while there is no socket. What
 * the attempt does with an event is the same whichever way it came.
 *
 * Events: `reachable` (a call can be made now), `transport` (`websocket` | `events` | `polling`, which has just been seen
 * to work; null: none does at present).
 */
export class Line extends Emitter {
  #connection;
  #http;
  #clock;
  #random;
  #wanted = false;
  #attempt = null;
  #state;
  #timer = null;
  /** Raised whenever what is under way over HTTP is of no interest any more. */
  #turn = 0;
  #busy = false;
  #abort = null;
  #streamed = false;
  #lookout;
  #news;
  /** @type {'websocket' | 'events' | 'polling' | null} */
  transport = null;

  /**
   * @param {object} options
   * @param {import('./connection.js').Connection} options.connection
   * @param {import('./http.js').Http} options.http
   * @param {object} options.clock
   * @param {() => number} options.random
   * @param {typeof BroadcastChannel} [options.BroadcastChannel]
   */
  constructor({ connection, http, clock, random, BroadcastChannel }) {
    super();
    this.#connection = connection;
    this.#http = http;
    this.#clock = clock;
    this.#random = random;
    this.#state = transport.begin(clock.now());
    this.#lookout = new Lookout({ clock, newest: (attempt) => this.#look(attempt) });
    this.#news = new WatchNews(BroadcastChannel, (qr_id) => { if (this.#attempt?.named(qr_id)) this.#lookout.watch_taken(true); });
  }

  /** A QR login is going to be asked for: from here on a way is looked for. */
  want() {
    if (this.#attempt) this.#halt();
    this.#attempt = null;
    this.#lookout.stop();
    this.#news.listen();
    if (this.#wanted) return;
    this.#wanted = true;
    const { up, stood } = this.#state;
    this.#state = { ...transport.begin(this.#clock.now()), up, stood };
    this.#drive();
  }

  /** Brings this attempt its events. @param {import('./attempt.js').Attempt} attempt */
  follow(attempt) {
    this.#attempt = attempt;
    this.#wanted = true;
    this.#news.listen();
    this.#lookout.follow(attempt);
    this.#drive();
  }

  /** Nothing is wanted any more: it ended, somebody is signed in, or the client is closed. */
  done() {
    this.#wanted = false;
    this.#attempt = null;
    this.#streamed = false;
    this.#lookout.stop();
    this.#news.close();
    this.#halt();
    // Of HTTP nothing is seen any more.
    if (this.transport !== 'websocket') this.#prove(null);
  }

  // What the socket does.

  /** It said hello: what runs over HTTP must not take the watch back from it. */
  socket_greeted() {
    this.#state = transport.socket_greeted(this.#state);
    this.#halt();
  }

  /** It stands, and watches the attempt there is. */
  socket_ready() {
    this.#state = transport.socket_ready(this.#state);
    this.#prove('websocket');
    if (this.#streamed) this.#watch_again();
    this.emit('reachable');
  }

  /** It is lost, or did not come to stand. */
  socket_down() {
    this.#state = transport.socket_down(this.#state, this.#clock.now());
    if (this.transport === 'websocket') this.#prove(null);
    this.#drive();
  }

  #watch_again() {
    this.#streamed = false;
    const attempt = this.#attempt;
    this.#arm(AGAIN_MS, () => {
      // Lost meanwhile, the next one asks anyway.
      if (attempt === this.#attempt && this.#state.up) attempt?.resume().catch(() => {});
    });
  }

  /**
   * A command of a QR login, over the socket if there is one. Rejects with `disconnected` when there is no way at present.
   * @param {string} type
   * @param {object} fields as the command has them
   * @param {{onReply?: (reply: object) => void}} [more] runs before any later event is looked at
   * @returns {Promise<object>} the fields of the reply
   */
  call(type, fields, more) {
    const by_socket = this.#connection.greeted || !this.#wanted || transport.choose(this.#state, this.#clock.now()).way === null;
    if (!by_socket) return this.#carry(type, fields, more);
    return type === 'qr.watch' ? this.#watch(fields, more) : this.#connection.call(type, fields, more);
  }

  /** Others are told before: their looks are for nothing then, and not missing. */
  async #watch(fields, more) {
    this.#news.tell(fields.qr_id);
    const reply = await this.#connection.call('qr.watch', fields, more);
    this.#lookout.watch_taken(false);
    return reply;
  }

  async #carry(type, fields, more) {
    let reply;
    try {
      reply = await this.#over_http(type, fields);
    } catch (error) {
      if (error.code !== 'disconnected' || !this.#wanted || !this.#state.up) throw error;
      return this.#over_socket(type, fields, more);
    }
    more?.onReply?.(reply);
    // The socket came while this was under way, and does not know of it.
    if (type === 'qr.open' && this.#state.up) this.#attempt?.resume().catch(() => {});
    return reply;
  }

  /** The socket that came while this was asked over HTTP in vain has told `reachable` already, to somebody who was busy. */
  async #over_socket(type, fields, more) {
    try {
      return await this.#connection.call(type, fields, more);
    } catch (error) {
      if (error.code === 'disconnected') this.#failed(error);
      throw error;
    }
  }

  async #over_http(type, { qr_id, claim, device, ...body }) {
    const path = `/v1/qr/${encodeURIComponent(qr_id ?? '')}`;
    const ask = {
      'qr.open': () => this.#http.request('POST', '/v1/qr', { body: { device, ...body }, timeout_ms: ASK_MS }),
      'qr.watch': () => this.#http.request('GET', path, { claim, timeout_ms: ASK_MS }),
      'qr.answer': () => this.#http.request('POST', `${path}/answer`, { claim, body: { code: body.code } }),
      'qr.redeem': () => this.#http.request('POST', `${path}/redeem`, { claim, body: { ticket: body.ticket } }),
      'qr.cancel': () => this.#http.request('DELETE', path, { claim }),
    }[type];
    try {
      return whole(type, (await ask()) ?? {});
    } catch (error) {
      if (answered(error)) throw error;
      if (type !== 'qr.open' && type !== 'qr.watch') throw new CountersignError(error.code, { ...error, message: error.message, retry: true });
      // There will be a way again, and that is told.
      this.#failed(error);
      throw new CountersignError('disconnected', { message: error.message, retry: true });
    }
  }

  // Events without a socket.

  /** Does what is to be done now, or sets a timer for when it is. */
  #drive() {
    if (!this.#wanted || this.#busy || this.#state.up || this.#attempt?.over) return;
    const now = this.#clock.now();
    const { way, at } = transport.choose(this.#state, now);
    this.#disarm();
    if (at > now) this.#arm(at - now, () => this.#drive());
    else if (!this.#attempt) this.emit('reachable');
    else if (way === 'events') this.#stream(this.#attempt);
    else this.#poll(this.#attempt);
  }

  async #stream(attempt) {
    const turn = this.#begin();
    const began = this.#clock.now();
    const abort = new AbortController();
    this.#abort = abort;
    this.#streamed = true;
    let heard = false;
    const bound = (ms) => this.#arm(ms, () => abort.abort());
    bound(BOUNDS.first_bytes_ms);
    this.#news.tell(attempt.qr_id);
    try {
      const { path, claim, after } = attempt.over_http();
      const response = await this.#http.stream(`${path}/events`, { claim, after, signal: abort.signal });
      if (turn !== this.#turn) return;
      this.#lookout.watch_taken(false);
      await read_events(response, {
        heard: () => {
          if (turn !== this.#turn) return;
          heard = true;
          bound(BOUNDS.silence_ms);
          this.#state = transport.stream_heard(this.#state);
          this.#prove('events');
          attempt.go_on();
        },
        event: (frame) => { if (turn === this.#turn) attempt.push(frame); },
      });
      if (turn === this.#turn) this.#stream_over(heard && !abort.signal.aborted, began);
    } catch (error) {
      if (turn !== this.#turn) return;
      if (gone(error)) attempt.lost();
      else this.#stream_over(heard && !abort.signal.aborted, began);
    } finally {
      this.#end(turn);
    }
  }

  #stream_over(worked, began) {
    const now = this.#clock.now();
    this.#state = worked
      ? transport.stream_ended(this.#state, now, this.#random(), now - began)
      : transport.stream_failed(this.#state, now, this.#random());
  }

  async #poll(attempt) {
    const turn = this.#begin();
    try {
      const frame = await this.#newest(attempt);
      if (turn !== this.#turn) return;
      this.#state = transport.poll_answered(this.#state, this.#clock.now(), this.#random());
      this.#prove('polling');
      attempt.push(frame);
      attempt.go_on();
    } catch (error) {
      if (turn !== this.#turn) return;
      if (gone(error)) attempt.lost();
      else if (error.status === 429) this.#state = transport.poll_refused(this.#state, this.#clock.now(), error.after_ms);
      else this.#failed(error);
    } finally {
      this.#end(turn);
    }
  }

  /** Its newest event. Takes the watch from nobody. */
  async #newest(attempt) {
    const { path, claim } = attempt.over_http();
    return whole('qr.watch', await this.#http.request('GET', path, { claim, timeout_ms: POLL_MS }));
  }

  /** The same, whatever the way is, and no word about any way. */
  async #look(attempt) {
    try {
      return await this.#newest(attempt);
    } catch (error) {
      if (gone(error) && attempt === this.#attempt) attempt.lost();
      return null;
    }
  }

  #failed(error) {
    this.#state = transport.http_failed(this.#state, this.#clock.now(), this.#random(), error.after_ms);
    if (!this.#state.up) this.#prove(null);
    this.#drive();
  }

  #prove(name) {
    if (this.transport === name) return;
    this.transport = name;
    this.emit('transport', name);
  }

  #begin() {
    this.#busy = true;
    return ++this.#turn;
  }

  #end(turn) {
    if (turn !== this.#turn) return;
    this.#halt();
    this.#drive();
  }

  /** Gives up what is under way. */
  #halt() {
    this.#turn += 1;
    this.#busy = false;
    this.#disarm();
    this.#abort?.abort();
    this.#abort = null;
  }

  #arm(ms, run) {
    this.#disarm();
    this.#timer = this.#clock.set(() => {
      this.#timer = null;
      run();
    }, ms);
  }

  #disarm() {
    if (this.#timer !== null) this.#clock.clear(this.#timer);
    this.#timer = null;
  }
}

/** What a success cannot be without. */
const ESSENTIAL = {
  'qr.open': (reply) => reply?.qr_id && reply?.claim,
  'qr.watch': (reply) => typeof reply?.seq === 'number',
  'qr.redeem': (reply) => reply?.access_token || reply?.sealed,
};

/** Takes no answer for the gateway's that somebody else on the way gave. */
function whole(type, reply) {
  if (!ESSENTIAL[type] || ESSENTIAL[type](reply)) return reply;
  throw new CountersignError('unreachable', { message: 'no answer of the gateway', retry: true });
}

/** The gateway itself said so, and not what stands before it. */
const answered = (error) => error.body?.code !== undefined && error.status < 500 && error.status !== 408;

/** The gateway no longer knows the attempt. */
const gone = (error) => error.status === 404 && error.body?.code === 'not_found';
