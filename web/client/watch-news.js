import { channel } from './channel.js';

const NAME = 'countersign.watch';

/**
 * An attempt has one watcher, and the gateway does not tell the former one. Copies of a tab are in one browser: whoever takes the
 * watch tells the others there by the attempt's public id. Where that cannot be told, lookout.js notices later.
 */
export class WatchNews {
  #Channel;
  #heard;
  #channel = null;

  /**
   * @param {typeof BroadcastChannel | undefined} Channel
   * @param {(qr_id: string) => void} heard another tab has taken the watch of the attempt that has, or had, this id
   */
  constructor(Channel, heard) {
    this.#Channel = Channel;
    this.#heard = heard;
  }

  listen() {
    this.#channel ??= channel(this.#Channel, NAME, (data) => { if (typeof data?.taken === 'string') this.#heard(data.taken); });
  }

  /** This tab takes the watch. @param {string} qr_id */
  tell(qr_id) {
    this.#channel?.postMessage({ taken: qr_id });
  }

  close() {
    this.#channel?.close();
    this.#channel = null;
  }
}
