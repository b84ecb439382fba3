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

/**
 * Ends sessions of the person who is signed in. None there any more is as good: an answer that was lost, or somebody was faster.
 * @param {import('../client.js').Client} client
 * @param {string | null} which a session's id; null: all but the one that asks
 */
export async function end_sessions(client, which) {
  const path = which === null ? '/v1/sessions?except=current' : `/v1/sessions/${encodeURIComponent(which)}`;
  try {
    await until_answered(() => client.request('DELETE', path));
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

/** How long to wait before the next try, ms. */
export function backoff(failures, error) {
  return Math.min(LONGEST_MS, error?.after_ms ?? FIRST_MS * 2 ** (failures - 1));
}
