import { backoff, unheard, wait } from './calls.js';

/** The gateway answers after 25 s at the latest, as it comes; longer than that is a dead wire. */
const ANSWER_MS = 45_000;
/** A gateway that drains answers at once: it is not asked more often than this. */
const APART_MS = 1_000;
const LIVE = ['waiting', 'scanned', 'confirmed'];

/** Asks how a code ended for as long as it has not, over lost answers and dead wires. */
export class Outcome {
  #client;
  #path;
  #told;
  #turn = 0;
  #running = false;

  /**
   * @param {import('../client.js').Client} client
   * @param {() => string} path
   * @param {object} told
   * @param {(outcome: {state: string, reason?: string, session?: string}) => void} told.ended
   * @param {() => void} told.lost the gateway no longer knows
   * @param {(answering: boolean) => void} told.answering whether it answers
   */
  constructor(client, path, told) {
    this.#client = client;
    this.#path = path;
    this.#told = told;
  }

  /** Begins to ask; does nothing when that is going on. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#ask(++this.#turn);
  }

  /** What still comes is of no interest. */
  stop() {
    this.#turn += 1;
    this.#running = false;
  }

  async #ask(turn) {
    for (let failures = 0; turn === this.#turn;) {
      try {
        const outcome = await this.#client.request('GET', this.#path(), undefined, { timeout_ms: ANSWER_MS });
        if (turn !== this.#turn) return;
        failures = 0;
        this.#told.answering(true);
        if (!LIVE.includes(outcome.state)) return this.#end(() => this.#told.ended(outcome));
        await wait(APART_MS);
      } catch (error) {
        if (turn !== this.#turn) return;
        // Signed out meanwhile, or locked: the client tells that itself.
        if (error.status === 401 || error.code === 'account_locked') return this.stop();
        if (!unheard(error) && error.status !== 429) return this.#end(() => this.#told.lost());
        failures += 1;
        if (unheard(error)) this.#told.answering(false);
        await wait(backoff(failures, error));
      }
    }
  }

  #end(tell) {
    this.stop();
    tell();
  }
}
