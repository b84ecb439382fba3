import { CountersignError } from './error.js';

/** Characters of one event, at most: a `qr` event has a few hundred. */
const EVENT_MAX = 64 * 1024;

/** Takes a `text/event-stream` apart, however it was cut into pieces: the `data` of each event. */
export class EventParser {
  #rest = '';
  #data = [];

  /** @param {string} text @returns {string[]} the data of the events that are complete now */
  feed(text) {
    // A carriage return at the end may be the first half of a line's end.
    const all = this.#rest + text;
    const held = all.endsWith('\r') ? '\r' : '';
    const lines = all.slice(0, all.length - held.length).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    const events = lines.flatMap((line) => this.#line(line));
    const kept = this.#data.reduce((sum, line) => sum + line.length, this.#rest.length);
    if (kept > EVENT_MAX) throw new CountersignError('too_large', { message: 'an event has no end' });
    return events;
  }

  #line(line) {
    if (line === '') {
      const data = this.#data.splice(0);
      return data.length > 0 ? [data.join('\n')] : [];
    }
    const field = /^data(?:: ?(.*))?$/s.exec(line);
    if (field) this.#data.push(field[1] ?? '');
    return [];
  }
}

/**
 * Reads one event stream to its end.
 * @param {Response} response
 * @param {object} told
 * @param {() => void} told.heard bytes came, be it a comment
 * @param {(event: object) => void} told.event what an event's data says
 * @returns {Promise<void>} resolves at its end; rejects when it is cut, and when it is none
 */
export async function read_events(response, { heard, event }) {
  if (!/^text\/event-stream\b/.test(response.headers.get('Content-Type') ?? '')) {
    await response.body?.cancel();
    throw new CountersignError('unreachable', { message: 'no event stream', status: response.status });
  }
  const parser = new EventParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    for (const data of parser.feed(value)) event(JSON.parse(data));
  }
}
