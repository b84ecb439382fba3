import assert from 'node:assert/strict';

export const PATIENCE_MS = 30_000;
const LOOK_MS = 50;

/**
 * Waits until `check` no longer throws, looking again and again; fails with what it threw last.
 * @template T
 * @param {() => T | Promise<T>} check
 * @param {number} [ms]
 * @returns {Promise<T>}
 */
export async function eventually(check, ms = PATIENCE_MS) {
  const until = Date.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() >= until) throw error;
    }
    await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
  }
}

/** The text of a locator becomes this (a string, or a pattern it matches). */
export function shows(locator, expected, ms) {
  return eventually(async () => {
    const text = await locator.innerText({ timeout: 1_000 });
    if (expected instanceof RegExp) assert.match(text, expected);
    else assert.equal(text, expected);
  }, ms);
}
