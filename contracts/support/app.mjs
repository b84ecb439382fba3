import assert from 'node:assert/strict';

export const DEVICE_CODE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** A registered client that asks for a sign-in over OAuth, on one device. */
export class App {
  #recorder;
  #url;
  #identity;
  headers;
  /** The answer to its device authorization. */
  opened;

  /** @param {{id: string, secret?: string, device?: string}} client with a secret it authenticates by HTTP Basic */
  constructor(recorder, url, { id, secret, device }) {
    [this.#recorder, this.#url] = [recorder, url];
    this.#identity = secret ? {} : { client_id: id };
    const basic = secret && `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`;
    this.headers = { ...(basic && { Authorization: basic }), ...(device && { 'Countersign-Device': device }) };
  }

  ask(path, form, { headers = {}, ...more } = {}) {
    return this.#recorder.ask(this.#url, 'POST', `/oauth/${path}`, { form: { ...this.#identity, ...form }, headers: { ...this.headers, ...headers }, ...more });
  }

  async gets(status, path, form, more) {
    const answer = await this.ask(path, form, more);
    assert.equal(answer.status, status, `${path}: ${answer.text}`);
    return answer.body;
  }

  /** What has to be refused so. */
  async refused(error, path, form, more) {
    const answer = await this.ask(path, form, more);
    assert.equal(answer.body?.error, error, `${path}: ${answer.text}`);
    return answer;
  }

  async open(form = {}) {
    this.opened = await this.gets(200, 'device_authorization', form);
    return this.opened;
  }

  /** The form that asks for the tokens. */
  get exchange() {
    return { grant_type: DEVICE_CODE_GRANT, device_code: this.opened.device_code };
  }

  /** What it is told by the token it was given. */
  userinfo(token, headers = {}) {
    return this.#recorder.ask(this.#url, 'GET', '/oauth/userinfo', { headers: { Authorization: `Bearer ${token}`, ...headers } });
  }
}
