import assert from 'node:assert/strict';
import { escaped } from './validator.mjs';

/** Headers that the description of openapi.json speaks of, and those of HTTP itself. */
const GENERAL = /^(content-(type|length)|date|connection|transfer-encoding|keep-alive|vary|x-request-id|x-content-type-options|access-control-.*)$/;

/** Requests to a gateway, each checked against openapi.json with its answer, and what they have shown so far. */
export class Recorder {
  #document;
  #check;
  #paths;
  /** Operations with the statuses they answered: `me 200`. */
  seen = new Set();

  constructor(document, check) {
    this.#document = document;
    this.#check = check;
    // The more of it is fixed, the earlier it is tried: `/v1/qr/scan` and `{qr_id}.svg` before `{qr_id}`.
    const open = (path) => path.split('{').length;
    this.#paths = Object.keys(document.paths)
      .map((path) => ({ path, fits: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{path\}/g, '.+').replace(/\{\w+\}/g, '[^/]+')}$`) }))
      .sort((a, b) => open(a.path) - open(b.path) || b.path.length - a.path.length);
  }

  #find(method, path) {
    const found = this.#paths.find(({ fits }) => fits.test(path.split('?')[0]));
    const operation = found && this.#document.paths[found.path][method.toLowerCase()];
    assert.ok(operation, `${method} ${path} is not in openapi.json`);
    return { operation, at: `/paths/${escaped(found.path)}/${method.toLowerCase()}` };
  }

  #resolved(at, value) {
    if (!value.$ref) return { at, value };
    const pointer = value.$ref.slice(1);
    return { at: pointer, value: pointer.split('/').slice(1).reduce((from, key) => from[key], this.#document) };
  }

  /** @returns {Promise<{status: number, headers: Headers, body: any, text: string}>} */
  async ask(url, method, path, { headers = {}, body, form, raw, sound } = {}) {
    const { operation, at } = this.#find(method, path);
    const written = form ? new URLSearchParams(form).toString() : body && JSON.stringify(body);
    const content = raw ?? written;
    const response = await fetch(url + path, {
      method,
      headers: { ...(content !== undefined && { 'Content-Type': media_of(operation) ?? 'application/json' }), ...headers },
      body: content,
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    const status = String(response.status);
    this.seen.add(`${operation.operationId} ${status}`);
    if (sound ?? response.ok) this.#request(at, operation, form ?? body);
    const documented = operation.responses[status];
    assert.ok(documented, `${method} ${path} answered ${status}: ${text.slice(0, 200)}`);
    const answer = this.#resolved(`${at}/responses/${status}`, documented);
    this.#headers(answer, response.headers, `${method} ${path} ${status}`);
    const value = this.#body(answer, response.headers.get('content-type'), text, `${method} ${path} ${status}`);
    return { status: response.status, headers: response.headers, body: value, text };
  }

  #request(at, operation, body) {
    assert.equal(body !== undefined, Boolean(operation.requestBody), `${operation.operationId}: has it a body?`);
    if (body !== undefined) this.#check(`${at}/requestBody/content/${escaped(media_of(operation))}/schema`, body);
  }

  #headers({ at, value }, headers, what) {
    const documented = Object.entries(value.headers ?? {}).map(([name, header]) => {
      const { at: where, value: found } = this.#resolved(`${at}/headers/${name}`, header);
      return { name: name.toLowerCase(), where, required: found.required, schema: found.schema };
    });
    for (const { name, where, required, schema } of documented) {
      const got = headers.get(name);
      assert.ok(got !== null || !required, `${what} has no ${name}`);
      if (got !== null) this.#check(`${where}/schema`, schema.type === 'integer' ? Number(got) : got);
    }
    const known = new Set(documented.map(({ name }) => name));
    for (const name of headers.keys()) assert.ok(known.has(name) || GENERAL.test(name), `${what} has ${name}, which is not documented`);
  }

  #body({ at, value }, type, text, what) {
    if (!value.content) {
      assert.equal(text, '', `${what} has a body`);
      return null;
    }
    const media = type?.split(';')[0];
    assert.ok(value.content[media], `${what} is ${media}`);
    const body = /json/.test(media) ? JSON.parse(text) : text;
    const parts = media === 'text/event-stream' ? [...text.matchAll(/^id: (.*)\ndata: (.*)$/gm)].map(([, id, data]) => ({ id, data })) : [body];
    for (const part of parts) this.#check(`${at}/content/${escaped(media)}/schema`, part);
    return body;
  }
}

/** What an operation's body is: JSON, or a form. */
const media_of = (operation) => operation.requestBody && Object.keys(operation.requestBody.content)[0];

/** The fields of a body as `ask` takes them, for an operation that has one. */
export const fields_for = (operation, fields = {}) => {
  if (!operation.requestBody) return {};
  return media_of(operation) === 'application/json' ? { body: fields } : { form: fields };
};

/** The events of a stream that has ended. */
export const events = (text) => [...text.matchAll(/^id: ?(\d+)\ndata: ?(.*)$/gm)].map(([, id, data]) => ({ id: Number(id), data: JSON.parse(data) }));
