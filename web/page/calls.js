const TRIES = 4;
const FIRST_MS = 500;
const LONGEST_MS = 4_000;

export const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Whether the gateway, or the way to it, failed: the call may have been heard or not. */
export const unheard = (error) => error.code === 'unreachable' || error.status === 408 || error.status >= 500;

/**
 * Makes a call again when its answer was lost. Only for calls whose repeat is told apart by the gateway.
 * @template T
 * @param {() => Promise<T>} call
 * @returns {Promise<T>}
 */
export async function until_answered(call) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call();
    } catch (error) {
      if (!unheard(error) || tries === TRIES) throw error;
      await wait(backoff(tries, error));
    }
  }
}

/** How long to wait before the next try, ms. */
export function backoff(failures, error) {
  return Math.min(LONGEST_MS, error?.after_ms ?? FIRST_MS * 2 ** (failures - 1));
}
