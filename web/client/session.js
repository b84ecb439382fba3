import { Emitter } from './emitter.js';
import { CountersignError } from './error.js';

/** A token with less time left than this is renewed before it is used. */
const MARGIN_MS = 10_000;
/**
 * A refresh without an answer by then is asked once more: the gateway may have exchanged the token all the same, and gives the same pair
 * again for 10 s (`tokens.refresh_grace_ms`), with the 5 s included for which another tab waits its turn (page/session-store.js).
 * Later an exchanged token looks stolen.
 */
const REPEAT_AFTER_MS = 3_000;

/**
 * @typedef {object} SavedSession what is needed to stay signed in across a reload
 * @property {string} access_token
 * @property {string} refresh_token
 * @property {number} expires_at_ms by this machine's clock; a wrong one only costs a refresh
 * @property {{id: string, name?: string, avatar?: string}} user
 * @property {string} session
 * @property {number} [generation] how often it was renewed: of two pairs of one session the higher one is good; absent: 0
 */

/**
 * @typedef {object} SharedSession where several tabs keep one session. Refresh tokens are exchanged once, so what the others have
 *   done is read before anything is; what is emitted as `change` is to be kept there at once
 * @property {() => SavedSession | null | undefined} read what is kept now, null: it has ended; undefined: nothing that others have touched
 * @property {<T>(run: () => Promise<T>) => Promise<T>} alone runs it while no other tab does, as far as that can be had
 */

/** Without tabs to share with. @type {SharedSession} */
const OWN = { read: () => undefined, alone: (run) => run() };

const generation = (saved) => saved.generation ?? 0;

/**
 * Who is signed in on this device, and tokens that are fresh when they are needed. Event: `change` (saved, reason), the reason
 * `refreshed` also for a newer pair that another tab has kept.
 */
export class Session extends Emitter {
  #http;
  #now;
  #shared;
  #refreshing = null;
  /** @type {SavedSession | null} */
  current;

  /**
   * @param {import('./http.js').Http} http
   * @param {() => number} now
   * @param {SavedSession | null} saved
   * @param {SharedSession} [shared]
   */
  constructor(http, now, saved, shared = OWN) {
    super();
    this.#http = http;
    this.#now = now;
    this.#shared = shared;
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
      generation: reason === 'refreshed' && this.current ? generation(this.current) + 1 : 0,
    };
    this.emit('change', this.current, reason);
  }

  /** Goes on with one that was saved. */
  take(saved, reason) {
    this.current = saved;
    this.emit('change', saved, reason);
  }

  /** Takes over what another tab has done to the session that this one shares with it. */
  sync() {
    const mine = this.current;
    const kept = mine ? this.#shared.read() : undefined;
    if (kept === undefined) return;
    if (kept?.session !== mine.session) this.end('revoked');
    else if (generation(kept) > generation(mine)) this.take(kept, 'refreshed');
    // An older pair was kept over the newer one: without a lock that can be.
    else if (generation(kept) < generation(mine)) this.emit('change', mine, 'refreshed');
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
    this.sync();
    if (!this.current) return null;
    if (this.#lasts(this.current)) return this.current.access_token;
    return this.refresh();
  }

  #lasts(saved) {
    return saved.expires_at_ms - this.#now() > MARGIN_MS;
  }

  /** One refresh at a time: a refresh token used twice looks stolen. */
  refresh() {
    const asked = this.current;
    this.#refreshing ??= this.#shared.alone(() => this.#refresh(asked)).finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  /** @param {SavedSession | null} before what was there when it was asked for */
  async #refresh(before) {
    for (let first = true; ; first = false) {
      this.sync();
      const old = this.current;
      if (!old) return null;
      // Another tab has just done it.
      if (old !== before && this.#lasts(old)) return old.access_token;
      before = old;
      try {
        const more = first ? { timeout_ms: REPEAT_AFTER_MS } : {};
        const reply = await this.#http.request('POST', '/v1/refresh', { body: { refresh_token: old.refresh_token }, ...more });
        if (this.current === old) this.adopt(reply, 'refreshed');
        return this.current?.access_token ?? null;
      } catch (error) {
        this.sync();
        if (this.current !== old) return this.current?.access_token ?? null;
        if (first && error.code === 'unreachable') continue;
        // Refused, as opposed to unreachable or busy: trying again cannot help.
        if (![400, 401, 403].includes(error.status)) throw error;
        this.end('refused');
        return null;
      }
    }
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
