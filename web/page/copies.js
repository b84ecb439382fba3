const NAME = 'countersign.session';

/** A copy that is awake answers within so long; one that is asleep is not waited for. */
const ANSWER_MS = 100;

/**
 * A tab that is duplicated has its session in two places, and refresh tokens are exchanged once: whoever renews it tells its copies,
 * and whoever is about to asks whether it is behind. Only pages of this origin hear it, which can read each other's storage too.
 */
export class Copies {
  #channel;
  #mine;
  #heard;
  #answered = null;

  /**
   * @param {typeof BroadcastChannel | undefined} Channel absent: copies are not told of
   * @param {{mine: () => import('../client/session.js').SavedSession | null, heard: (saved: any) => boolean}} tab what this tab has for
   *   itself alone; and takes over what a copy has, true when it is newer than what is here
   */
  constructor(Channel, { mine, heard }) {
    this.#mine = mine;
    this.#heard = heard;
    this.#channel = Channel ? new Channel(NAME) : null;
    this.#channel?.addEventListener('message', ({ data }) => this.#message(data));
  }

  /** @param {import('../client/session.js').SavedSession} saved */
  tell(saved) {
    this.#channel?.postMessage({ newer: saved });
  }

  /** Resolves when a newer pair of this session has been taken over, or nobody had one. */
  async ask() {
    const mine = this.#mine();
    if (!this.#channel || !mine) return;
    await new Promise((resolve) => {
      this.#answered = resolve;
      setTimeout(resolve, ANSWER_MS);
      this.#channel.postMessage({ session: mine.session, generation: mine.generation ?? 0 });
    });
    this.#answered = null;
  }

  #message(data) {
    if (data?.newer) {
      if (this.#heard(data.newer)) this.#answered?.();
      return;
    }
    const mine = this.#mine();
    if (mine && mine.session === data?.session && (mine.generation ?? 0) > data.generation) this.tell(mine);
  }
}
