/**
 * Every failure a call can end in. `code` is the gateway's own code (docs/protocol.md) or one of the client's:
 * `disconnected`, `timeout`, `unreachable` (HTTP), `uncertain` (a send that may or may not have arrived).
 */
export class CountersignError extends Error {
  /**
   * @param {string} code
   * @param {{message?: string, retry?: boolean, after_ms?: number, status?: number, body?: any}} [more]
   */
  constructor(code, { message, retry = false, after_ms, status, body } = {}) {
    super(message || code);
    this.name = 'CountersignError';
    this.code = code;
    /** Whether the same call can succeed later; `after_ms` says when, if the gateway knows. */
    this.retry = retry;
    this.after_ms = after_ms;
    /** HTTP status and problem document, for calls over HTTP. */
    this.status = status;
    this.body = body;
  }
}
