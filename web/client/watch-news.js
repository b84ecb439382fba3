const NAME = 'countersign.watch';

/**
 * An attempt has one watcher, and the gateway does not tell the former one. Copies of a tab are in one browser: whoever takes the
 * watch tells the others there by the attempt's public id. Where that cannot be told, lookout.js notices later.
 */
export class WatchNews {
  #make;
  #heard;
  #channel = null;

  /**
   * @param {typeof BroadcastChannel | undefined} Channel
   * @param {(qr_id: string) => void} heard another tab has taken the watch of the attempt that has, or had, this id
   */
  constructor(Channel, heard) {
    this.#make = Channel ? () => new Channel(NAME) : () => null;
    this.#heard = heard;
  }

  listen() {
    this.#channel ??= this.#open();
  }

  #open() {
    const channel = this.#make();
    if (channel) channel.onmessage = ({ data }) => { if (typeof data?.taken === 'string') this.#heard(data.taken); };
    // Where there are processes and not pages, it is no reason to go on.
    channel?.unref?.();
    return channel;
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
