import { Client } from '../client.js';
import { kept_device_id } from './device.js';
import { CountersignError } from './error.js';

const RETRY_MS = 1_000;

/**
 * @typedef {object} QrView what a page has to show
 * @property {'opening'|'waiting'|'scanned'|'confirmed'|'redeemed'|'denied'|'cancelled'|'expired'|'failed'} state the last
 *   five are ends; `failed`: the gateway cannot be reached or gives no code, and it is no use to go on trying, or whoever else
 *   has this code's claim was signed in by it (`redeemed_elsewhere`)
 * @property {string | null} reason of an end, docs/protocol.md section 4.3; of `failed` an error code
 * @property {string | null} picture address of the code as an SVG image, while `waiting`
 * @property {string | null} url what the code says, while `waiting`
 * @property {{name?: string, avatar?: string} | null} user who scanned
 * @property {{mode: 'phone_types'|'pc_types'|'none', code?: string} | null} match with `phone_types` show `code`, with
 *   `pc_types` ask for the digits and pass them to `answer`
 * @property {boolean} matched `answer` was right
 * @property {number | null} expires_at_ms by this machine's clock
 * @property {number | null} rotates_at_ms when another picture comes
 * @property {boolean} connected false while the gateway cannot be reached: nothing is lost
 * @property {'websocket'|'events'|'polling'|null} transport the way that works at present. Without a WebSocket the events come
 *   by an event stream, and where that is held back by polling; the better one is tried again by itself
 */

/**
 * Signs this device in by a code that a phone scans. Connects, reconnects, resumes and goes round what blocks WebSockets by
 * itself.
 *
 * @param {object} options
 * @param {(view: QrView) => void} options.onChange called with every change, first at once
 * @param {{id?: string, name?: string, kind?: string}} [options.device] without `id` one is made and kept in local storage
 * @param {string} [options.clientId] the registered client that the login is for: the phone is shown its name. `failed` with
 *   `not_allowed` when nobody registered it, or not for this page's origin
 * @param {string} [options.url] the gateway; where this module came from when absent
 * @param {object} [options.client] further options of `Client`, for tests and other platforms
 * @returns {{session: Promise<import('./session.js').SavedSession>, client: Client, answer(code: string): Promise<void>,
 *   cancel(): void}} `session` rejects with a CountersignError whose code is the end's `state` and whose `body` is the
 *   view. `client` is signed in once `session` resolved, and connected if WebSockets get through: `request` calls with a
 *   token that is always fresh; `close` it when the page does not need it.
 */
export function qrLogin({ onChange, device = {}, clientId, url = new URL(import.meta.url).origin, client: more = {} }) {
  const client = new Client({ url, device: { ...device, id: device.id ?? kept_device_id() }, ...more });
  return new QrLogin({ onChange, clientId, url, client, clock: more.clock });
}

class QrLogin {
  #onChange;
  #clientId;
  #origin;
  #clock;
  #attempt = null;
  #opening = false;
  #over = false;
  #resolve;
  #reject;
  client;
  session;

  constructor({ onChange, clientId, url, client, clock }) {
    this.#onChange = onChange;
    this.#clientId = clientId;
    this.#origin = new URL(url).origin;
    this.#clock = clock ?? { set: (run, ms) => setTimeout(run, ms) };
    this.client = client;
    this.session = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A page that looks at the views only is no mistake.
    this.session.catch(() => {});
    client.on('session', (saved, why) => { if (saved && why === 'qr') this.#signed_in(saved); });
    client.on('state', (state, { code } = {}) => { if (state === 'closed') this.#end('failed', `closed_${code}`); });
    client.on('transport', () => this.#show());
    client.on('reachable', () => this.#open());
    this.#show();
    client.open().catch(() => {});
    this.#open();
  }

  /** Two digits of the phone, where `match.mode` is `pc_types`. Rejects with `match_failed` and `body.tries_left`. */
  async answer(code) {
    if (!this.#attempt) throw new CountersignError('conflict');
    await this.#attempt.answer(code);
  }

  /** Ends it, whatever state it is in; a session that was there first stays. */
  cancel() {
    if (this.#over) return;
    this.#end('cancelled', 'user');
    // A code that is being asked for is cancelled when it comes.
    if (!this.#opening) this.#hang_up();
  }

  /** The gateway is told if it can be; else the code ends by itself soon. */
  async #hang_up() {
    if (this.#attempt && !this.#attempt.final) await this.#attempt.cancel().catch(() => {});
    this.client.close();
  }

  async #open() {
    if (this.#attempt || this.#opening || this.#over) return;
    this.#opening = true;
    try {
      const attempt = await this.client.openAttempt({ clientId: this.#clientId });
      this.#attempt = attempt;
      attempt.on('change', () => this.#changed());
      if (!this.#over) this.#changed();
    } catch (error) {
      // It will be reachable again, and is asked again then.
      if (error.code === 'disconnected' || this.#over) return;
      if (error.retry) this.#clock.set(() => this.#open(), error.after_ms ?? RETRY_MS);
      else this.#fail(error.code);
    } finally {
      this.#opening = false;
      if (this.#over) this.#hang_up();
    }
  }

  #fail(reason) {
    this.#end('failed', reason);
    this.client.close();
  }

  #changed() {
    const { state, reason, final, elsewhere } = this.#attempt;
    if (elsewhere) this.#fail('redeemed_elsewhere');
    else if (final && state !== 'redeemed') {
      this.#end(state, reason);
      this.client.close();
    } else this.#show();
  }

  #signed_in(saved) {
    if (this.#over) return;
    this.#over = true;
    this.#resolve(saved);
  }

  #end(state, reason) {
    if (this.#over) return;
    this.#over = true;
    const view = this.#view({ state, reason });
    this.#tell(view);
    this.#reject(new CountersignError(state, { message: `QR login ${state}${reason ? ` (${reason})` : ''}`, body: view }));
  }

  #show() {
    if (!this.#over) this.#tell(this.#view());
  }

  /** A mistake in the page's own code is reported as such, and ends nothing here. */
  #tell(view) {
    try {
      this.#onChange(view);
    } catch (error) {
      queueMicrotask(() => { throw error; });
    }
  }

  /** @returns {QrView} */
  #view(end = {}) {
    const attempt = this.#attempt;
    const state = end.state ?? attempt?.state ?? 'opening';
    const waiting = state === 'waiting';
    return {
      state,
      reason: end.reason ?? null,
      picture: waiting ? `${this.#origin}/v1/qr/${encodeURIComponent(attempt.qr_id)}.svg` : null,
      url: waiting ? attempt.url : null,
      user: attempt?.user ?? null,
      match: attempt?.match ?? null,
      matched: attempt?.matched ?? false,
      expires_at_ms: attempt?.expires_at_ms ?? null,
      rotates_at_ms: attempt?.rotates_at_ms ?? null,
      connected: this.client.transport !== null,
      transport: this.client.transport,
    };
  }
}
