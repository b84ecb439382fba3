import { channel } from '../client/channel.js';

const NAME = 'countersign.session';

/** A copy that is awake answers within so long; one that is asleep is not waited for. */
const ANSWER_MS = 100;
/** The same for a tab that has just been loaded, which may be one of long ago that was opened again. */
const FIRST_ANSWER_MS = 500;

/**
 * A tab that is duplicated has its session in two places, and refresh tokens are exchanged once: whoever renews it tells its copies,
 * and whoever is about to asks whether it is behind. Pages of this origin hear it, and nobody else.
 */
export class Copies {
  #channel;
  #mine;
  #first = true;

  /**
   * @param {typeof BroadcastChannel | undefined} Channel absent: copies are not told of
   * @param {{mine: () => import('../client/session.js').SavedSession | null, heard: (saved: any) => void}} tab what this tab has for
   *   itself alone; and told what a copy has, newer or not
   */
  constructor(Channel, { mine, heard }) {
    this.#mine = mine;
    this.#channel = channel(Channel, NAME, (data) => {
      if (data?.newer) heard(data.newer);
      else this.#asked(data);
    });
  }

  /** @param {import('../client/session.js').SavedSession} saved */
  tell(saved) {
    this.#channel?.postMessage({ newer: saved });
  }

  /** Resolves when those who have a newer pair of this session have had time to say so. */
  async ask() {
    const mine = this.#mine();
    if (!this.#channel || !mine) return;
    this.#channel.postMessage({ session: mine.session, generation: mine.generation ?? 0 });
    await new Promise((resolve) => { setTimeout(resolve, this.#first ? FIRST_ANSWER_MS : ANSWER_MS); });
    this.#first = false;
  }

  #asked(data) {
    const mine = this.#mine();
    if (mine && mine.session === data?.session && (mine.generation ?? 0) > data.generation) this.tell(mine);
  }
}
