/** A minimal event source. Events of one source are delivered in the order they happened. */
export class Emitter {
  #listeners = new Map();

  /**
   * @param {string} event
   * @param {(...values: any[]) => void} listener
   * @returns {() => void} removes the listener again
   */
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.#listeners.get(event).delete(listener);
  }

  /** @param {string} event @param {...any} values */
  emit(event, ...values) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        // A listener's mistake is reported, but must not stop the frame it was told about.
        queueMicrotask(() => { throw error; });
      }
    }
  }
}
