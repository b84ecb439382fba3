/**
 * Which way a QR login takes to the gateway: a WebSocket; without one an event stream over `fetch`; where a proxy holds or
 * refuses that, polling. Decisions only: the state is a value, the time (ms) and chance (0 ≤ n < 1) are arguments, and
 * line.js does what is decided.
 *
 * Climbing back: the socket is dialled again by connection.js in every state here, the stream is tried again when
 * `stream_at` has come.
 */

export const BOUNDS = Object.freeze({
  /** This many sockets in a row that did not come to stand, or this long without one, and it goes on without. */
  socket_failures: 2,
  socket_patience_ms: 4_000,
  /** The gateway begins a stream with a comment. A stream without it by then is being held back. */
  first_bytes_ms: 5_000,
  /** It comments every 15 s. The 10 s between this and the 30 s of a confirmation are left to pick that up. */
  silence_ms: 20_000,
  /** A stream that ended sooner than this was cut by something that will cut the next one. */
  short_ms: 5_000,
  /** A stream that lasted is opened again within this time. */
  reopen_ms: 500,
  /** One that was held, cut or refused is tried again after this time, doubled with each failure up to the second one. */
  stream_retry_ms: 30_000,
  stream_retry_max_ms: 240_000,
  /** Between the answer to a poll and the next: the gateway allows one a second. */
  poll_ms: 1_000,
  /** After calls that got no answer: doubled with each up to the second one. */
  failed_ms: 500,
  failed_max_ms: 10_000,
  /** An event that is this late is looked for, and again after this time: see lookout.js. */
  overdue_ms: 5_000,
  /** After a scan nothing has to come for a minute, and an end is known for a minute only: half of it. */
  scanned_look_ms: 30_000,
});

/**
 * @typedef {object} Transport
 * @property {boolean} up a socket said hello and is not lost
 * @property {boolean} stood and everything there was to take up on it has been
 * @property {number} since when the last one was lost, or the first one wanted
 * @property {number} socket_failures sockets since then that did not come to stand
 * @property {number} http_at no call over HTTP before
 * @property {number} http_failures calls in a row without an answer
 * @property {number} stream_at no stream before
 * @property {number} stream_failures
 */

/** @returns {Transport} */
export const begin = (now) => ({
  up: false, stood: false, since: now, socket_failures: 0, http_at: now, http_failures: 0, stream_at: now, stream_failures: 0,
});

/**
 * @param {Transport} state
 * @returns {{way: 'websocket' | 'events' | 'polling' | null, at: number}} what to do, and not before when; null: to wait for
 *   a socket, and to ask again at `at`
 */
export function choose(state, now) {
  if (state.up) return { way: 'websocket', at: now };
  const patient_until = state.since + BOUNDS.socket_patience_ms;
  if (state.socket_failures < BOUNDS.socket_failures && now < patient_until) return { way: null, at: patient_until };
  const at = Math.max(state.http_at, now);
  return { way: at >= state.stream_at ? 'events' : 'polling', at };
}

export const socket_greeted = (state) => ({ ...state, up: true });

export const socket_ready = (state) => ({ ...state, up: true, stood: true, socket_failures: 0 });

/** One that stood is lost, or one did not come to stand. */
export function socket_down(state, now) {
  if (state.stood) return { ...state, up: false, stood: false, since: now, socket_failures: 0 };
  return { ...state, up: false, socket_failures: state.socket_failures + 1 };
}

/** Bytes came by a stream. */
export const stream_heard = (state) => ({ ...state, http_failures: 0 });

/** It ended after it had brought something, having lasted this long. */
export function stream_ended(state, now, chance, lasted_ms) {
  if (lasted_ms < BOUNDS.short_ms) return stream_failed(state, now, chance);
  const at = now + chance * BOUNDS.reopen_ms;
  return { ...state, stream_failures: 0, stream_at: at, http_at: at };
}

/** Held back, silent, cut at once or refused: polls take its place at once. */
export function stream_failed(state, now, chance) {
  const wait = doubled(BOUNDS.stream_retry_ms, state.stream_failures, BOUNDS.stream_retry_max_ms);
  return { ...state, stream_failures: state.stream_failures + 1, stream_at: now + half_jitter(wait, chance), http_at: now };
}

export const poll_answered = (state, now, chance) => ({
  ...state, http_failures: 0, http_at: now + BOUNDS.poll_ms * (1 + 0.2 * chance),
});

/** Asked too often: `after_ms` is the gateway's word, or a proxy's, and no leave to ask faster. */
export const poll_refused = (state, now, after_ms = 0) => ({ ...state, http_at: now + Math.max(after_ms, BOUNDS.poll_ms) });

/** A call over HTTP got no answer of the gateway's. Then nothing gets through, which is no word about streams. */
export function http_failed(state, now, chance, after_ms = 0) {
  const wait = half_jitter(doubled(BOUNDS.failed_ms, state.http_failures, BOUNDS.failed_max_ms), chance);
  return {
    ...state, http_failures: state.http_failures + 1, http_at: now + Math.max(wait, after_ms), stream_at: now, stream_failures: 0,
  };
}

const doubled = (base, times, most) => Math.min(most, base * 2 ** times);

/** Between half of it and all of it: no two pages stay in step. */
const half_jitter = (ms, chance) => ms * (0.5 + 0.5 * chance);
