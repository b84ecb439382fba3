const ANSWER_MS = 10_000;

/** An answer that was no. `code` is the gateway's, or `unreachable`. */
export class Refused extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

/** The operator's port, with the key: in this object, and sent in a header, and nowhere else. */
export class Gateway {
  #key;

  /** @param {string} key */
  constructor(key) {
    this.#key = key;
  }

  /** @param {string} path below `/admin/api/` */
  get(path) {
    return this.#ask('GET', path);
  }

  post(path, body) {
    return this.#ask('POST', path, body);
  }

  async #ask(method, path, body) {
    // What cannot be a header cannot be the key.
    if (!/^[\x21-\x7e]+$/.test(this.#key)) throw new Refused('invalid_token', '');
    const headers = { Authorization: `Bearer ${this.#key}` };
    if (body) headers['Content-Type'] = 'application/json';
    let answer;
    let read;
    try {
      answer = await fetch(`/admin/api/${path}`, {
        method, headers, body: body && JSON.stringify(body), cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(ANSWER_MS),
      });
      read = await answer.json();
    } catch {
      throw new Refused('unreachable', '');
    }
    if (!answer.ok) throw new Refused(read.code, read.detail);
    return read;
  }
}
