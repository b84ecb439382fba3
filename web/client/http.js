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
   * @param {{body?: object, token?: string, timeout_ms?: number}} [more] `timeout_ms` for what the gateway waits with
   * @returns {Promise<any>} the parsed answer, null when there is none
   */
  async request(method, path, { body, token, timeout_ms = REQUEST_MS } = {}) {
    const headers = { 'Countersign-Device': this.#device.id };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    try {
      response = await this.#fetch.call(globalThis, this.#origin + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: 'no-store',
        signal: AbortSignal.timeout(timeout_ms),
      });
    } catch (cause) {
      throw new CountersignError('unreachable', { message: String(cause), retry: true });
    }
    const value = await response.json().catch(() => null);
    if (response.ok) return value;
    const seconds = Number(response.headers.get('Retry-After') ?? NaN);
    throw new CountersignError(value?.code ?? `http_${response.status}`, {
      message: value?.detail ?? value?.title,
      retry: response.status === 429 || response.status >= 500,
      after_ms: value?.after_ms ?? (Number.isFinite(seconds) ? seconds * 1000 : undefined),
      status: response.status,
      body: value,
    });
  }
}
