import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EventParser } from '../../web/client/events.js';
import * as transport from '../../web/client/transport.js';

const { begin, BOUNDS, choose } = transport;
const way = (state, now) => choose(state, now).way;
/** Without a socket, at the moment it gave up waiting for one. */
const fallen = (now = 0) => transport.socket_down(transport.socket_down(begin(now), now), now);

describe('which way', () => {
  test('waits for the socket, for so long and so many tries, and no longer', () => {
    assert.deepEqual(choose(begin(100), 100), { way: null, at: 100 + BOUNDS.socket_patience_ms });
    assert.equal(way(begin(0), BOUNDS.socket_patience_ms - 1), null);
    assert.equal(way(begin(0), BOUNDS.socket_patience_ms), 'events');
    assert.equal(way(transport.socket_down(begin(0), 0), 0), null);
    assert.equal(way(fallen(), 0), 'events');
  });

  test('a socket that stands is the way, whatever was before; a loss of it is waited for anew', () => {
    let state = transport.stream_failed(fallen(), 0, 0.5);
    assert.equal(way(transport.socket_greeted(state), 0), 'websocket');
    state = transport.socket_ready(transport.socket_greeted(state));
    assert.equal(way(state, 50_000), 'websocket');
    state = transport.socket_down(state, 60_000);
    assert.deepEqual(choose(state, 60_000), { way: null, at: 60_000 + BOUNDS.socket_patience_ms });
  });

  test('sockets that greet and die count as failures: they do not keep it waiting', () => {
    let state = begin(0);
    for (let n = 0; n < BOUNDS.socket_failures; n += 1) state = transport.socket_down(transport.socket_greeted(state), n);
    assert.equal(way(state, 10), 'events');
  });

  test('a stream that failed is replaced by polls at once, and tried again later and later, up to a bound', () => {
    let state = fallen();
    let now = 0;
    const waits = [];
    for (let n = 0; n < 6; n += 1) {
      state = transport.stream_failed(state, now, 1);
      assert.deepEqual(choose(state, now), { way: 'polling', at: now });
      waits.push(state.stream_at - now);
      now = state.stream_at;
      assert.equal(way(state, now), 'events');
    }
    assert.deepEqual(waits, [30_000, 60_000, 120_000, 240_000, 240_000, 240_000]);
    assert.equal(waits.at(-1), BOUNDS.stream_retry_max_ms);
  });

  test('chance shortens every wait by half at most', () => {
    const [least, most] = [0, 1].map((chance) => transport.stream_failed(fallen(), 0, chance).stream_at);
    assert.deepEqual([least, most], [BOUNDS.stream_retry_ms / 2, BOUNDS.stream_retry_ms]);
    const [soon, late] = [0, 1].map((chance) => transport.http_failed(fallen(), 0, chance).http_at);
    assert.deepEqual([soon, late], [BOUNDS.failed_ms / 2, BOUNDS.failed_ms]);
  });

  test('a stream that lasted is opened again soon; one that was cut at once is not', () => {
    const lasted = transport.stream_ended(fallen(), 0, 1, BOUNDS.short_ms);
    assert.deepEqual(choose(lasted, 0), { way: 'events', at: BOUNDS.reopen_ms });
    const cut = transport.stream_ended(fallen(), 0, 1, BOUNDS.short_ms - 1);
    assert.equal(way(cut, 0), 'polling');
  });

  test('never more than one poll a second, and never before the gateway allows it', () => {
    const polling = transport.stream_failed(fallen(), 0, 1);
    for (const chance of [0, 0.5, 0.999]) {
      const { at } = choose(transport.poll_answered(polling, 100, chance), 100);
      assert.ok(at - 100 >= 1_000 && at - 100 < 1_200, `${at}`);
    }
    assert.equal(choose(transport.poll_refused(polling, 100, 7_000), 100).at, 7_100);
    for (const after_ms of [undefined, 0, -5]) assert.equal(choose(transport.poll_refused(polling, 100, after_ms), 100).at, 1_100);
  });

  test('while nothing gets through: later and later, up to a bound; then a stream is tried first', () => {
    let state = transport.stream_failed(fallen(), 0, 1);
    const waits = [];
    for (let n = 0; n < 7; n += 1) {
      state = transport.http_failed(state, 0, 1);
      waits.push(state.http_at);
    }
    assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    assert.equal(way(state, 20_000), 'events', 'it says nothing about streams');
    assert.equal(transport.http_failed(state, 0, 1, 60_000).http_at, 60_000, 'as told, if that is later');
    assert.equal(transport.stream_heard(state).http_failures, 0);
    assert.equal(transport.poll_answered(state, 0, 0).http_failures, 0);
  });

  test('silence is noticed while a confirmation can still be redeemed', () => {
    const [comment_ms, confirmed_ms] = [15_000, 30_000];
    assert.ok(BOUNDS.silence_ms > comment_ms);
    assert.ok(BOUNDS.silence_ms + BOUNDS.poll_ms < confirmed_ms);
  });
});

describe('event streams', () => {
  const feed = (...pieces) => {
    const parser = new EventParser();
    return pieces.flatMap((piece) => parser.feed(piece));
  };

  test('comments are nothing, data is an event, and nothing comes before its end', () => {
    assert.deepEqual(feed(':\n\n', 'id: 1\ndata: {"a":1}\n'), []);
    assert.deepEqual(feed('id: 1\ndata: {"a":1}\n\n: still here\n\ndata:2\n\n'), ['{"a":1}', '2']);
    assert.deepEqual(feed('data: one\ndata: two\n\n'), ['one\ntwo']);
    assert.deepEqual(feed('data\n\ndatabase: x\n\nevent: y\n\n'), ['']);
  });

  test('cut into pieces anywhere, with every kind of line end', () => {
    for (const end of ['\n', '\r\n', '\r']) {
      const text = [':', '', 'id: 7', 'data: {"seq":7}', '', 'data: x', '', ''].join(end) + (end === '\r' ? ':' : '');
      assert.deepEqual(feed(...text), ['{"seq":7}', 'x'], JSON.stringify(end));
    }
  });

  test('an event without an end is given up', () => {
    assert.throws(() => feed(`data: ${'x'.repeat(70_000)}`), { code: 'too_large' });
    assert.throws(() => feed(...Array.from({ length: 70 }, () => `data: ${'x'.repeat(1_000)}\n`)), { code: 'too_large' });
  });
});
