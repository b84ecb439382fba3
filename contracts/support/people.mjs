import assert from 'node:assert/strict';

/** Somebody with an account, signed in on one device. */
export class Person {
  #recorder;
  #url;
  user_id;
  device;
  tokens;

  static async come(recorder, url, user_id, device = `${user_id}-phone`) {
    const person = new Person();
    [person.#recorder, person.#url, person.user_id, person.device] = [recorder, url, user_id, device];
    const made = await person.ask('POST', '/v1/accounts', { body: { user_id, password: 'correct horse', name: user_id.toUpperCase(), avatar: 'https://img.example/a.png' } });
    assert.equal(made.status, 201);
    await person.sign_in();
    return person;
  }

  async sign_in() {
    const body = { user_id: this.user_id, password: 'correct horse', device: { id: this.device, name: 'Pixel', kind: null } };
    this.tokens = null;
    this.tokens = (await this.ask('POST', '/v1/login', { body })).body;
  }

  get headers() {
    return { 'Countersign-Device': this.device, ...(this.tokens && { Authorization: `Bearer ${this.tokens.access_token}` }) };
  }

  ask(method, path, { headers = this.headers, ...more } = {}) {
    return this.#recorder.ask(this.#url, method, path, { headers, ...more });
  }

  /** Like `ask`, for what has to be answered like this. */
  async gets(status, method, path, more) {
    const answer = await this.ask(method, path, more);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    return answer.body;
  }
}

/** A PC that asks over HTTP. */
export class Pc {
  #recorder;
  #url;
  opened;

  static async open(recorder, url, more = {}) {
    const pc = new Pc();
    [pc.#recorder, pc.#url] = [recorder, url];
    const { status, body } = await recorder.ask(url, 'POST', '/v1/qr', { body: { device: { id: 'pc-1', name: 'Desk', kind: 'pc' }, ...more } });
    assert.equal(status, 201);
    pc.opened = body;
    return pc;
  }

  get path() {
    return `/v1/qr/${this.opened.qr_id}`;
  }

  get headers() {
    return { Authorization: `Claim ${this.opened.claim}`, 'Countersign-Device': 'pc-1' };
  }

  ask(method, rest = '', { headers = {}, ...more } = {}) {
    return this.#recorder.ask(this.#url, method, this.path + rest, { headers: { ...this.headers, ...headers }, ...more });
  }

  async gets(status, method, rest, more) {
    const answer = await this.ask(method, rest, more);
    assert.equal(answer.status, status, `${method} ${this.path}${rest}: ${answer.text}`);
    return answer.body;
  }
}
