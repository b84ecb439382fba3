import { Attempt } from './client/attempt.js';
import { Connection } from './client/connection.js';
import { Emitter } from './client/emitter.js';
import { CountersignError } from './client/error.js';
import { Http } from './client/http.js';
import { Line } from './client/line.js';
import { Room, room_name } from './client/room.js';
import { Session } from './client/session.js';

export { CountersignError } from './client/error.js';
export { reconnects } from './client/connection.js';
export { uuid } from './client/id.js';
export { qrLogin } from './client/qr-login.js';

const SYSTEM_CLOCK = {
  now: () => Date.now(),
  set: (run, ms) => setTimeout(run, ms),
  clear: (handle) => clearTimeout(handle),
};

/**
 * A client of one gateway: one connection, one signed-in user at most, any number of rooms, one QR login at a time.
 *
 * ```js
 * const client = new Client({ url: location.origin, device: { id, name: 'Firefox on Linux', kind: 'web' } });
 * await client.open();
 * await client.login({ user_id: 'alice', password });
 * const room = client.room('chat:lobby');
 * room.on('message', (message) => …);
 * await room.join();
 * await room.send({ text: 'hello' });
 * ```
 *
 * Events:
 * - `state` (`connecting` | `connected` | `reconnecting` | `closed`, {code, reason, wait_ms}): `closed` is for good
 * - `session` (saved session or null, why): keep it to stay signed in across a reload, forget it when null
 * - `push` (frame): every push, after rooms and attempts have seen it
 * - `reachable`: an attempt can be asked for now; while a QR login is wanted also without a socket, over HTTP
 * - `transport` (`websocket` | `events` | `polling` | null): the way of a QR login that has just been seen to work
 */
export class Client extends Emitter {
  #http;
  #session;
  #connection;
  #line;
  #clock;
  #rooms = new Map();
  #attempt = null;
  #device;
  /** Sign-ins by password under way. */
  #logins = 0;

  /**
   * @param {object} options
   * @param {string} options.url the gateway's address, `https://…`; the socket's is made from it
   * @param {{id: string, name?: string, kind?: string}} options.device a stable id for this installation
   * @param {import('./client/session.js').SavedSession | null} [options.session] from an earlier `session` event
   * @param {import('./client/session.js').SharedSession} [options.shared] where other tabs keep that session too
   * @param {typeof WebSocket} [options.WebSocket] where the platform has none of its own
   * @param {typeof BroadcastChannel} [options.BroadcastChannel] by which the tabs of one browser tell each other who watches
   * @param {typeof fetch} [options.fetch]
   * @param {() => number} [options.random]
   * @param {typeof SYSTEM_CLOCK} [options.clock]
   */
  constructor({ url, device, session = null, shared, WebSocket, BroadcastChannel, fetch, random = Math.random, clock = SYSTEM_CLOCK }) {
    super();
    const origin = new URL(url).origin;
    this.#device = device;
    this.#clock = clock;
    this.#http = new Http({ origin, device, fetch: fetch ?? globalThis.fetch });
    this.#session = new Session(this.#http, clock.now, session, shared);
    this.#connection = new Connection({
      url: `${origin.replace(/^http/, 'ws')}/v1/ws`,
      WebSocket: WebSocket ?? globalThis.WebSocket,
      before: async () => { await this.#session.token(); },
      ready: () => this.#resume(),
      random,
      clock,
    });
    this.#line = new Line({
      connection: this.#connection,
      http: this.#http,
      clock,
      random,
      BroadcastChannel: BroadcastChannel ?? globalThis.BroadcastChannel,
    });
    for (const event of ['reachable', 'transport']) this.#line.on(event, (value) => this.emit(event, value));
    this.#connection.on('state', (state, detail) => {
      this.emit('state', state, detail);
      if (state === 'connected') this.#line.socket_ready();
      else if (state !== 'connecting') this.#line.socket_down();
      if (state === 'closed') this.#line.done();
    });
    this.#connection.on('lost', (detail) => this.#lost(detail));
    this.#connection.on('push', (frame) => this.#push(frame));
    this.#session.on('change', (saved, why) => {
      const entered = saved && why !== 'refreshed';
      if (!saved) this.#nobody(why);
      if (entered) this.#drop_attempt();
      this.emit('session', saved, why);
      if (entered) this.#line.done();
    });
  }

  /** `connecting`, `connected`, `reconnecting` or `closed`. */
  get state() {
    return this.#connection.state;
  }

  /** The way of a QR login that works at present, or null. */
  get transport() {
    return this.#line.transport;
  }

  /** The signed-in user, or null. */
  get user() {
    return this.#session.current?.user ?? null;
  }

  /** What keeps this user signed in, as the `session` event gave it last; null when nobody is. */
  get session() {
    return this.#session.current;
  }

  get limits() {
    return this.#connection.limits;
  }

  /** Connects, and stays connected. Resolves when the connection first stands; rejects when it is closed for good. */
  open() {
    return new Promise((resolve, reject) => {
      if (this.state === 'connected') return resolve();
      const stop = this.on('state', (state, detail) => {
        if (state === 'connected') resolve();
        else if (state === 'closed') reject(new CountersignError('disconnected', { body: detail }));
        else return;
        stop();
      });
      this.#connection.open();
    });
  }

  close() {
    this.#connection.close();
  }

  /** To be called when the network or the page came back. */
  nudge() {
    this.#connection.nudge();
  }

  /**
   * Sends any command of the protocol.
   * @template {keyof import('./client/countersign').Commands} T
   * @param {T} type
   * @param {Omit<import('./client/countersign').Commands[T], 'id' | 'type'>} [fields]
   * @param {{onReply?: (reply: object) => void}} [more] `onReply` runs before any push that comes after the reply
   * @returns {Promise<import('./client/countersign').Replies[T]>} the reply
   */
  call(type, fields, more) {
    return this.#connection.call(type, fields, more);
  }

  /** An HTTP call as the signed-in user; `timeout_ms` for one that the gateway waits with. */
  request(method, path, body, { timeout_ms } = {}) {
    return this.#session.request(method, path, body, { timeout_ms });
  }

  // Accounts.

  /** Makes an account; does not sign in. */
  register({ user_id, password, name, avatar }) {
    return this.#http.request('POST', '/v1/accounts', { body: { user_id, password, name, avatar } });
  }

  /** Signs in with a password: the connection, if there is one, and then everything else. */
  async login({ user_id, password }) {
    const body = { user_id, password, device: this.#device };
    this.#logins += 1;
    try {
      await this.#enter(await this.#http.request('POST', '/v1/login', { body }), 'login');
    } finally {
      this.#logins -= 1;
    }
  }

  /** Whether somebody is about to be signed in here by a password. */
  get signingIn() {
    return this.#logins > 0;
  }

  /** Signs in with tokens that came over HTTP. */
  async #enter(reply, why) {
    try {
      if (this.state === 'connected') await this.call('auth', { token: reply.access_token, device: this.#device.id });
    } catch {
      // Taken by another user, or just lost: a new socket starts clean.
      this.#connection.restart();
    }
    this.#session.adopt(reply, why);
  }

  /** Ends the session here and at the gateway. Rejects when the gateway could not be told. */
  async logout() {
    const token = await this.#session.token().catch(() => null);
    this.#connection.close();
    this.#session.end('signed_out');
    if (token) await this.#http.request('POST', '/v1/logout', { token });
  }

  /** Goes on with a session that another tab has kept, as after a sign-in: `session` is emitted with `kept`. */
  resumeSession(saved) {
    // The socket is signed in as nobody, or as somebody else.
    if (this.state === 'connected') this.#connection.restart();
    this.#session.take(saved, 'kept');
  }

  /** Ends, at the gateway, a session that was kept on this device and that another one has replaced there. */
  async dismissSession({ access_token, refresh_token }) {
    const end = (token) => this.#http.request('POST', '/v1/logout', { token });
    try {
      await end(access_token);
    } catch (error) {
      if (error.status !== 401) throw error;
      const renewed = await this.#http.request('POST', '/v1/refresh', { body: { refresh_token } });
      await end(renewed.access_token);
    }
  }

  /** To be called when another tab may have renewed or ended the session that is shared with it. */
  syncSession() {
    this.#session.sync();
  }

  // QR login.

  /**
   * Asks for a code; a code this client had before is cancelled by it. Rejects with `disconnected` when the gateway cannot be
   * reached yet: `reachable` tells when.
   * @param {{clientId?: string}} [options] the registered client in whose name it is asked for
   * @returns {Promise<Attempt>}
   */
  async openAttempt({ clientId } = {}) {
    this.#line.want();
    const nobody = !this.#session.current;
    let attempt;
    const onReply = (opened) => {
      attempt = this.#watch(opened);
      this.#follow(attempt);
      if (!nobody || !this.#session.current) return;
      // Somebody signed in while it was asked for.
      this.#drop_attempt();
      this.#line.done();
    };
    await this.#line.call('qr.open', { device: this.#device, client_id: clientId }, { onReply });
    return attempt;
  }

  /** Goes on with an attempt kept from before a reload. @returns {Promise<Attempt | null>} null when it is over */
  async resumeAttempt(kept) {
    this.#line.want();
    const attempt = this.#watch(kept);
    this.#attempt = attempt;
    if (!(await attempt.resume())) return null;
    // Else somebody signed in meanwhile, and it is cancelled.
    if (attempt === this.#attempt) this.#follow(attempt);
    return attempt;
  }

  #follow(attempt) {
    this.#attempt = attempt;
    this.#line.follow(attempt);
  }

  /** Somebody is signed in: who confirmed a code that still hangs about would take their place. */
  #drop_attempt() {
    const attempt = this.#attempt;
    this.#attempt = null;
    // Not told, the gateway ends it by itself soon.
    if (attempt && !attempt.final) attempt.cancel().catch(() => {});
  }

  #watch(opened) {
    let by_socket = true;
    return new Attempt(opened, {
      call: (type, fields) => {
        if (type === 'qr.redeem') by_socket = this.#connection.greeted;
        return this.#line.call(type, fields);
      },
      device: this.#device.id,
      // A socket that redeemed is signed in; one that came while that went over HTTP is not.
      signed_in: (reply) => {
        // Dropped for another session while it redeemed.
        if (!this.#attempt) return;
        if (by_socket) this.#session.adopt(reply, 'qr');
        else this.#enter(reply, 'qr');
      },
      clock: this.#clock,
    });
  }

  // Rooms.

  /** The room of this name; nothing happens before its `join` is called. @returns {Room} */
  room(name) {
    const key = room_name(name);
    if (!this.#rooms.has(key)) {
      this.#rooms.set(key, new Room(key, (type, fields, more) => this.call(type, fields, more), this.#clock));
    }
    return this.#rooms.get(key);
  }

  // The life of a connection.

  /** A new socket said hello: be who we were, and where we were. */
  async #resume() {
    const as = this.#session.current;
    this.#line.socket_greeted();
    if (as) await this.#authenticate();
    const attempt = this.#attempt;
    if (attempt && !attempt.over && !this.#session.current) {
      this.#line.follow(attempt);
      await attempt.resume();
    }
    await Promise.all([...this.#rooms.values()].filter((room) => room.wanted).map((room) => room.resume()));
    // Somebody signed in with a password while all this went on.
    if (!as && this.#session.current) await this.#authenticate();
  }

  async #authenticate() {
    for (let first = true; ; first = false) {
      const token = await this.#session.token();
      if (!token) return;
      try {
        await this.call('auth', { token, device: this.#device.id });
        return;
      } catch (error) {
        if (error.retry || error.code === 'conflict') throw error;
        if (first && error.code === 'invalid_token') this.#session.expire();
        else return this.#session.end(error.code === 'account_locked' ? 'locked' : 'refused');
      }
    }
  }

  /** The user is gone, and with it the rooms and what the present socket was signed in as. */
  #nobody(why) {
    for (const room of this.#rooms.values()) room.end(why);
    this.#rooms.clear();
    if (this.state === 'connected') this.#connection.restart();
  }

  #lost({ code }) {
    for (const room of this.#rooms.values()) room.suspend();
    if (code === 4005) this.#session.expire();
    if (code === 4500 || code === 4503) this.#session.end(code === 4503 ? 'revoked' : 'refused');
  }

  #push(frame) {
    if (frame.type === 'qr') {
      // The end of an attempt that was replaced is nobody's concern.
      if (this.#attempt?.owns(frame)) this.#attempt.push(frame);
    } else if (frame.type === 'session' && frame.state === 'expiring') this.#renew();
    else if (frame.room) this.#rooms.get(frame.room)?.push(frame);
    this.emit('push', frame);
  }

  /** The connection outlives the token it was opened with. */
  async #renew() {
    try {
      const token = await this.#session.refresh();
      if (token) await this.call('refresh', { token });
    } catch {
      // Not now. If it stays so the gateway closes with 4005, and the way back begins with a new token.
    }
  }
}
