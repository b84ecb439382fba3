import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { commands } from '../source/commands.mjs';

const PATIENCE_MS = 30_000;

/** A connection whose every frame, in both directions, is checked against asyncapi.json. */
export class Socket {
  #check;
  #ws;
  #waiting = [];
  #sent = new Map();
  #last_id = 0;
  #fault = null;
  /** Types of what arrived: `join ok`, `qr scanned`, `counts`. Shared by those who record together. */
  seen;
  /** Pushes, in their order. */
  pushes = [];
  closed = null;

  constructor(url, check, seen, headers = {}) {
    this.#check = check;
    this.seen = seen;
    this.#ws = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, 'countersign.v1.json', { headers });
    this.#ws.on('message', (data) => this.#arrived(data.toString()));
    this.#ws.on('close', (code, reason) => { this.closed = { code, reason: reason.toString() }; this.#wake(); });
    this.#ws.on('error', (error) => { this.#fault ??= error; this.#wake(); });
  }

  /** Sends a command, which has to be as documented unless it is `wrong`, and answers the reply, an error too. */
  async call(type, fields = {}, { wrong = false } = {}) {
    await this.until(() => this.#ws.readyState === WebSocket.OPEN, 'the socket to open');
    const id = ++this.#last_id;
    const command = { id, type, ...fields };
    if (!wrong) this.#check(`/components/schemas/${commands[type].name}Command`, command);
    this.#sent.set(id, { type });
    this.#ws.send(JSON.stringify(command));
    await this.until(() => this.#sent.get(id).reply, `the reply to ${type}`);
    return this.#sent.get(id).reply;
  }

  /** Waits for a push of which this is true. */
  async push(fits, what) {
    await this.until(() => this.pushes.some(fits), what);
    return this.pushes.find(fits);
  }

  async until(holds, what) {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    deadline.addEventListener('abort', () => this.#wake());
    for (;;) {
      if (this.#fault) throw this.#fault;
      const value = holds();
      if (value) return value;
      assert.ok(!deadline.aborted, `waited for ${what}`);
      await new Promise((resolve) => { this.#waiting.push(resolve); this.#ws.once('open', resolve); });
    }
  }

  close() {
    this.#ws.terminate();
  }

  #wake() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #arrived(text) {
    try {
      this.#take(JSON.parse(text));
    } catch (error) {
      this.#fault ??= error;
    }
    this.#wake();
  }

  #take(frame) {
    if (!('id' in frame)) {
      this.#check('/components/schemas/Push', frame);
      this.seen.add([frame.type, frame.state].filter(Boolean).join(' '));
      this.pushes.push(frame);
      return;
    }
    const sent = this.#sent.get(frame.id) ?? {};
    const definition = frame.type === 'ok' ? `${commands[sent.type].name}Reply` : 'ErrorReply';
    this.#check(`/components/schemas/${definition}`, frame);
    this.seen.add(`${sent.type} ${frame.type === 'ok' ? 'ok' : frame.code}`);
    sent.reply = frame;
  }
}
