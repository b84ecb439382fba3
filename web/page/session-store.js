import { Copies } from './copies.js';

export const SESSION = 'countersign.session';

/** For another tab that is renewing the session this one waits so long at most: less than the 10 s (`tokens.refresh_grace_ms`)
 * within which the gateway answers a refresh token once more with the same pair. A tab that is asleep may hold the lock for ever. */
const LOCK_MS = 5_000;

/**
 * Where a page keeps its session: for this tab alone, over a reload, or on this device, for all tabs. Those then share one session,
 * and with it one refresh token at a time. Local storage has no atomic change; that a newer pair is not overwritten is seen to here
 * as far as it can be, and what slips through is put right by the tab that has the newer one (client/session.js). Copies of a tab
 * share what was its own, by telling each other.
 */
export class SessionStore {
  #tab;
  #lasting;
  #locks;
  #copies;
  #stays = false;
  /** The session of this tab, by its id, if the tabs share it. */
  #shares = null;
  /** What this tab has for itself alone, as it or a copy of it has renewed it. @type {import('../client/session.js').SavedSession | null} */
  #own = null;
  /** A copy of this tab has renewed what both have. */
  onnewer = () => {};

  /**
   * @param {object} options
   * @param {{read(key: string): any, write(key: string, value: any): void}} options.tab
   * @param {{read(key: string): any, write(key: string, value: any): void}} options.lasting
   * @param {LockManager} [options.locks] absent where the page is not in a secure context
   * @param {typeof BroadcastChannel} [options.Channel] absent: copies of a tab are not told of
   */
  constructor({ tab, lasting, locks, Channel }) {
    this.#tab = tab;
    this.#lasting = lasting;
    this.#locks = locks;
    this.#copies = new Copies(Channel, { mine: () => this.#own, heard: (saved) => this.#heard(whole(saved)) });
  }

  /** The session to begin with: this tab's own, else the one on this device. @returns {import('../client/session.js').SavedSession | null} */
  load() {
    this.#own = whole(this.#tab.read(SESSION));
    if (this.#own) return this.#own;
    const kept = this.kept();
    this.#shares = kept?.session ?? null;
    return kept;
  }

  /** The session on this device. @returns {import('../client/session.js').SavedSession | null} */
  kept() {
    return whole(this.#lasting.read(SESSION));
  }

  /** Whether the next sign-in by password stays on this device. @param {boolean} yes */
  stay(yes) {
    this.#stays = yes;
  }

  /**
   * @param {import('../client/session.js').SavedSession | null} saved
   * @param {string} why as the client's `session` event has them
   * @returns {import('../client/session.js').SavedSession | null} another session that this one took the place of: nobody has it any
   *   more, so it is to be ended at the gateway too
   */
  save(saved, why) {
    if (saved && why === 'refreshed') {
      this.#renewed(saved);
      return null;
    }
    const before = this.#shares;
    const there = saved && why === 'login' && this.#stays ? this.kept() : null;
    const lasts = saved && (why === 'kept' || (why === 'login' && this.#stays && this.#keep(saved)));
    this.#shares = lasts ? saved.session : null;
    this.#own = lasts ? null : saved;
    this.#tab.write(SESSION, lasts ? null : saved);
    // Another one that took its place meanwhile is not this tab's to forget.
    if (!lasts && before !== null && this.kept()?.session === before) this.#lasting.write(SESSION, null);
    return there && lasts && there.session !== saved.session ? there : null;
  }

  /** For the client: what the tabs share, or this one's own as its copies have renewed it. */
  read() {
    return this.#shares === null ? this.#own ?? undefined : this.kept();
  }

  /** For the client: one tab at a time where there are locks. Without, the gateway's grace has to do. */
  async alone(run) {
    if (!this.#locks) return this.#informed(run);
    let began = false;
    const locked = () => {
      began = true;
      return this.#informed(run);
    };
    try {
      return await this.#locks.request(this.#own === null ? SESSION : `${SESSION}.${this.#own.session}`, { signal: AbortSignal.timeout(LOCK_MS) }, locked);
    } catch (error) {
      if (began) throw error;
      return this.#informed(run);
    }
  }

  async #informed(run) {
    if (this.#own !== null) await this.#copies.ask();
    return run();
  }

  #renewed(saved) {
    if (this.#shares === null) {
      // A copy had it before.
      if (this.#own && generation(this.#own) >= saved.generation) return;
      this.#own = saved;
      this.#tab.write(SESSION, saved);
      this.#copies.tell(saved);
      return;
    }
    const kept = this.kept();
    // Ended elsewhere, or further on: the client finds that out by itself.
    if (kept?.session !== saved.session || generation(kept) >= saved.generation) return;
    this.#lasting.write(SESSION, saved);
  }

  /** A copy has this one: taken over when it is the newer. */
  #heard(saved) {
    if (!saved || saved.session !== this.#own?.session || !(generation(saved) > generation(this.#own))) return;
    this.#own = saved;
    this.#tab.write(SESSION, saved);
    this.onnewer();
  }

  /** Where nothing can be kept it is this tab's alone. */
  #keep(saved) {
    this.#lasting.write(SESSION, saved);
    return this.kept()?.session === saved.session;
  }
}

const generation = (saved) => (Number.isInteger(saved.generation) ? saved.generation : 0);

/** Anything may be in a storage. */
const whole = (saved) => ([saved?.refresh_token, saved?.session, saved?.user?.id].every((part) => typeof part === 'string') ? saved : null);
