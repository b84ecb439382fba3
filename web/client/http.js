import { CountersignError } from './error.js';

const REQUEST_MS = 15_000;

/** JSON over HTTP with the gateway's errors (problem documents) turned into CountersignErrors. */
export class Http {
  #origin;
  #device;
  #fetch;

  /** @param {{origin: string, device: {id: string}, fetch: typeof fetch}} options */
  constructor({ origin, device, fetch }) {
    this.#origin = origin;
    this.#device = device;
    this.#fetch = fetch;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, token?: string, claim?: string, timeout_ms?: number}} [more] `token` of a user or `claim` of a QR
   *   login; `timeout_ms` for what the gateway waits with
   * @returns {Promise<any>} the parsed answer, null when there is none (204). Rejects with `unreachable` also for a success that
   *   cannot be read: cut on its way, or not the gateway's
   */
  async request(method, path, { timeout_ms = REQUEST_MS, ...more } = {}) {
    const response = await this.#send(method, path, more, AbortSignal.timeout(timeout_ms));
    if (response.status === 204) return null;
    return response.json().catch((cause) => {
      throw new CountersignError('unreachable', { message: String(cause), retry: true });
    });
  }

  /**
   * Opens an event stream.
   * @param {string} path
   * @param {{claim: string, after?: number, signal: AbortSignal}} more `after`: the last event's id
   * @returns {Promise<Response>} its body is the stream; status 204 when there is none left
   */
  stream(path, { claim, after, signal }) {
    const headers = { Accept: 'text/event-stream', ...(after === undefined ? {} : { 'Last-Event-ID': String(after) }) };
    return this.#send('GET', path, { claim, headers }, signal);
  }

  /** @returns {Promise<Response>} rejects with a CountersignError for every answer that is no success, and without one */
  async #send(method, path, { body, token, claim, headers: more }, signal) {
    const headers = { 'Countersign-Device': this.#device.id, ...more };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (claim) headers.Authorization = `Claim ${claim}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    try {
      response = await this.#fetch.call(globalThis, this.#origin + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: 'no-store',
        signal,
      });
    } catch (cause) {
      throw new CountersignError('unreachable', { message: String(cause), retry: true });
    }
    if (response.ok) return response;
    const value = await response.json().catch(() => null);
    const seconds = Number(response.headers.get('Retry-After') ?? NaN);
    throw new CountersignError(value?.code ?? `http_${response.status}`, {
      message: value?.detail ?? value?.title,
      retry: response.status === 408 || response.status === 429 || response.status >= 500,
      after_ms: value?.after_ms ?? (Number.isFinite(seconds) ? seconds * 1000 : undefined),
      status: response.status,
      body: value,
    });
  }
}
