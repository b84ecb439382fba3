import { Emitter } from './emitter.js';
import { CountersignError } from './error.js';
import { uuid } from './id.js';

/** Messages waiting to be sent, at most. */
const PENDING_MAX = 100;
/** The gateway remembers a `cid` for 5 minutes: later, sending again could double the message. */
const CID_WINDOW_MS = 270_000;
/** A refusal that passes within this time is waited for instead of being reported. */
const PATIENCE_MS = 10_000;
const TRIES_MAX = 8;
const RETRY_MS = 1_000;
const HISTORY_PAGES_MAX = 10;

/** The name as the gateway echoes it. @param {string} name */
export function room_name(name) {
  return name.includes(':') ? name : `default:${name}`;
}

/**
 * One room over any number of sockets. Events:
 * - `joined` (reply): joined, first or again; `counts`, `info` and `me` are new
 * - `message` (push): every message once, in order
 * - `break` ({reason: 'gap' | 'not_recovered', from?, to?, new_epoch}): messages are missing here
 * - `counts`, `info`, `me` (value), `presence` (push)
 * - `left` (reason): out of the room until `join` is called again
 */
export class Room extends Emitter {
  #call;
  #clock;
  #turn = 0;
  #entering = null;
  #queue = [];
  #pumping = false;
  name;
  /** Why it was left. */
  reason = null;
  /** @type {'idle'|'joining'|'joined'|'left'} */
  state = 'idle';
  epoch = null;
  /** The newest offset seen; null until the first join. */
  offset = null;
  counts = null;
  info = null;
  #info_version = 0;
  me = null;

  /** @param {string} name as `room_name` makes it @param {(type: string, fields: object, more?: object) => Promise<object>} call @param {object} clock */
  constructor(name, call, clock) {
    super();
    this.name = name;
    this.#call = call;
    this.#clock = clock;
  }

  /** Wanted: joined now, and again on every later socket. */
  get wanted() {
    return this.state === 'joining' || this.state === 'joined';
  }

  /** Resolves once joined; without a connection at once, and `joined` tells later. */
  async join() {
    if (this.wanted) return;
    this.state = 'joining';
    await this.resume();
    if (this.state === 'left') throw new CountersignError(this.reason);
  }

  async leave() {
    this.#out('left by the client');
    await this.#call('leave', { room: this.name }).catch(() => {});
  }

  /**
   * Sends a message. Kept and sent again with the same `cid` across lost sockets, in the order of the calls.
   * @param {any} body
   * @param {{cid?: string, priority?: 'high'|'normal'|'low'}} [more]
   * @returns {Promise<{offset?: number, at_ms?: number, duplicate?: boolean, shed?: boolean, after_ms?: number}>}
   */
  send(body, { cid = uuid(), priority } = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === 'left') return reject(new CountersignError('not_joined'));
      if (this.#queue.length >= PENDING_MAX) return reject(new CountersignError('limit_reached', { retry: true }));
      const fields = { room: this.name, body, cid, priority };
      this.#queue.push({ fields, resolve, reject, first_at: null, tries: 0 });
      this.#pump();
    });
  }

  /** Not repeated when the reply is lost: a like has no `cid`, and doubling it would be worse. */
  like(n = 1, counter) {
    return this.#call('like', { room: this.name, counter, n });
  }

  members(limit, cursor) {
    return this.#call('members', { room: this.name, limit, cursor });
  }

  history(range) {
    return this.#call('history', { room: this.name, ...range });
  }

  /** What history still has of the offsets `from` … `to`, oldest first. */
  async missed(from, to) {
    const found = [];
    for (let page = 0, after = from - 1; page < HISTORY_PAGES_MAX && after < to; page += 1) {
      const { messages } = await this.history({ after });
      if (messages.length === 0) break;
      found.push(...messages.filter((message) => message.offset <= to));
      after = messages.at(-1).offset;
    }
    return found;
  }

  // What the client calls.

  /** Joins on a new socket, taking up the stream where it was left. Does not reject. */
  resume() {
    // The page and a new connection may both ask: one join answers both.
    this.#entering ??= this.#enter(++this.#turn);
    return this.#entering;
  }

  async #enter(turn) {
    for (let tries = 1; turn === this.#turn && this.state === 'joining'; tries += 1) {
      const after = this.offset === null ? undefined : { epoch: this.epoch, offset: this.offset };
      try {
        await this.#call('join', { room: this.name, after }, { onReply: (reply) => this.#joined(reply, after) });
        return;
      } catch (error) {
        if (turn !== this.#turn) return;
        if (error.code === 'disconnected') {
          this.#entering = null;
          return;
        }
        if (tries >= TRIES_MAX || (!error.retry && error.code !== 'already_joined')) return this.#out(error.code);
        // A join whose reply never came: start over, so that there is a base to count from.
        if (error.code === 'already_joined') await this.#call('leave', { room: this.name }).catch(() => {});
        else await this.#wait(error.after_ms ?? RETRY_MS);
      }
    }
  }

  /** The socket is gone. */
  suspend() {
    this.#turn += 1;
    this.#entering = null;
    if (this.state === 'joined') this.state = 'joining';
  }

  /** Out of the room without asking: the user it was joined as is gone. */
  end(reason) {
    if (this.wanted) this.#out(reason);
  }

  /** A push that names this room. */
  push(frame) {
    // Frames still on their way after leaving, or from before the join was answered.
    if (this.state !== 'joined') return;
    if (frame.type === 'message') this.#accept(frame);
    else if (frame.type === 'gap') this.#skip(frame.from, frame.to);
    else if (frame.type === 'counts') {
      if (frame.version <= this.counts.version) return;
      this.counts = frame;
      this.emit('counts', frame);
    } else if (frame.type === 'room') {
      if (frame.version <= this.#info_version) return;
      this.#info_version = frame.version;
      this.info = frame.info;
      this.emit('info', frame.info);
    } else if (frame.type === 'me') {
      this.me = { role: frame.role, muted_for_ms: frame.muted_for_ms };
      this.emit('me', this.me);
    } else if (frame.type === 'presence') this.emit('presence', frame);
    else if (frame.type === 'left') this.#out(frame.reason);
  }

  /** Runs inside the frame that answered `join`: every push after it finds the new base in place. */
  #joined(reply, after) {
    const known = this.offset;
    const new_epoch = this.epoch !== null && this.epoch !== reply.epoch;
    this.state = 'joined';
    this.epoch = reply.epoch;
    if (new_epoch) this.offset = null;
    this.counts = { version: 0, ...reply.counts };
    this.info = reply.info;
    this.#info_version = reply.info?.version ?? 0;
    this.me = reply.me;
    this.emit('joined', reply);
    const fresh = reply.messages.filter((message) => this.offset === null || message.offset > this.offset);
    if (after && !reply.recovered) {
      const next = fresh.length > 0 ? fresh[0].offset : reply.offset + 1;
      const range = new_epoch ? {} : { from: known + 1, to: next - 1 };
      if (new_epoch || range.to >= range.from) this.emit('break', { reason: 'not_recovered', new_epoch, ...range });
      this.offset = null;
    }
    for (const message of fresh) this.#accept(message);
    if (this.offset === null) this.offset = reply.offset;
    else if (reply.offset > this.offset) this.#skip(this.offset + 1, reply.offset);
    this.#pump();
  }

  #accept(message) {
    if (this.offset !== null) {
      if (message.offset <= this.offset) return;
      if (message.offset > this.offset + 1) this.#skip(this.offset + 1, message.offset - 1);
    }
    this.offset = message.offset;
    this.emit('message', message);
  }

  /** Offsets that will not come, told by the gateway or found by counting. */
  #skip(from, to) {
    if (to <= this.offset) return;
    this.emit('break', { reason: 'gap', new_epoch: false, from: Math.max(from, this.offset + 1), to });
    this.offset = to;
  }

  #out(reason) {
    this.#turn += 1;
    this.#entering = null;
    this.state = 'left';
    this.reason = reason;
    this.offset = null;
    this.epoch = null;
    for (const entry of this.#queue.splice(0)) entry.reject(new CountersignError('not_joined', { message: reason }));
    this.emit('left', reason);
  }

  /** One message at a time, so that a retry can never overtake or be overtaken. */
  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.state === 'joined' && this.#queue.length > 0) {
      const entry = this.#queue[0];
      const error = await this.#deliver(entry);
      if (error?.wait_ms !== undefined) await this.#wait(error.wait_ms);
      else if (this.#queue[0] === entry) {
        this.#queue.shift();
        if (error) entry.reject(error);
      }
    }
    this.#pumping = false;
  }

  /** @returns {Promise<undefined | Error | {wait_ms: number}>} nothing when sent, an error when given up, else a wait */
  async #deliver(entry) {
    const now = this.#clock.now();
    if (now - (entry.first_at ?? now) > CID_WINDOW_MS) return new CountersignError('uncertain');
    entry.first_at ??= now;
    try {
      entry.resolve(await this.#call('send', entry.fields));
      return undefined;
    } catch (error) {
      if (error.code === 'disconnected') return { wait_ms: 0 };
      if (error.code === 'timeout') return { wait_ms: RETRY_MS };
      const wait_ms = error.after_ms ?? RETRY_MS;
      entry.tries += 1;
      return error.retry && wait_ms <= PATIENCE_MS && entry.tries < TRIES_MAX ? { wait_ms } : error;
    }
  }

  #wait(ms) {
    return new Promise((resolve) => { this.#clock.set(resolve, ms); });
  }
}
