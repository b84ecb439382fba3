import { Emitter } from './emitter.js';
import { CountersignError } from './error.js';

/** A token with less time left than this is renewed before it is used. */
const MARGIN_MS = 10_000;

/**
 * @typedef {object} SavedSession what is needed to stay signed in across a reload
 * @property {string} access_token
 * @property {string} refresh_token
 * @property {number} expires_at_ms by this machine's clock; a wrong one only costs a refresh
 * @property {{id: string, name?: string, avatar?: string}} user
 * @property {string} session
 */

/** Who is signed in on this device, and tokens that are fresh when they are needed. Event: `change` (saved, reason). */
export class Session extends Emitter {
  #http;
  #now;
  #refreshing = null;
  /** @type {SavedSession | null} */
  current;

  /** @param {import('./http.js').Http} http @param {() => number} now @param {SavedSession | null} saved */
  constructor(http, now, saved) {
    super();
    this.#http = http;
    this.#now = now;
    this.current = saved;
  }

  /** Takes over the tokens of a login, a redeem or a refresh. */
  adopt(reply, reason) {
    this.current = {
      access_token: reply.access_token,
      refresh_token: reply.refresh_token,
      expires_at_ms: this.#now() + reply.expires_in_ms,
      user: reply.user ?? this.current?.user,
      session: reply.session ?? this.current?.session,
    };
    this.emit('change', this.current, reason);
  }

  /** Forgets the tokens. */
  end(reason) {
    if (!this.current) return;
    this.current = null;
    this.emit('change', null, reason);
  }

  /** The gateway says the access token is over, whatever our clock says. */
  expire() {
    if (this.current) this.current.expires_at_ms = 0;
  }

  /** @returns {Promise<string | null>} an access token with time left; null when nobody is signed in (any more) */
  async token() {
    if (!this.current) return null;
    if (this.current.expires_at_ms - this.#now() > MARGIN_MS) return this.current.access_token;
    return this.refresh();
  }

  /** One refresh at a time: a refresh token used twice looks stolen. */
  refresh() {
    this.#refreshing ??= this.#refresh().finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  async #refresh() {
    const old = this.current;
    if (!old) return null;
    let reply;
    try {
      reply = await this.#http.request('POST', '/v1/refresh', { body: { refresh_token: old.refresh_token } });
    } catch (error) {
      if (this.current !== old) return this.current?.access_token ?? null;
      // Refused, as opposed to unreachable or busy: trying again cannot help.
      if (![400, 401, 403].includes(error.status)) throw error;
      this.end('refused');
      return null;
    }
    if (this.current === old) this.adopt(reply, 'refreshed');
    return this.current?.access_token ?? null;
  }

  /** An HTTP call as the signed-in user; renews the token once when it is refused. A locked account has no sessions any more. */
  async request(method, path, body, { timeout_ms } = {}) {
    for (let first = true; ; first = false) {
      const token = await this.token();
      if (!token) throw new CountersignError('unauthenticated', { status: 401 });
      try {
        return await this.#http.request(method, path, { body, token, timeout_ms });
      } catch (error) {
        if (error.code === 'account_locked') this.end('locked');
        if (error.status !== 401) throw error;
        if (first) this.expire();
        else {
          this.end('refused');
          throw error;
        }
      }
    }
  }
}
