import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { qrLogin } from '../../web/client.js';
import { BOUNDS } from '../../web/client/transport.js';
import { make_world, settle, TOKENS } from './support/fake.mjs';

const OPENED = { qr_id: 'q1', claim: 'c1', url: 'https://gateway.test/q/q1', expires_in_ms: 300_000, rotate_in_ms: 45_000, seq: 1, state: 'waiting' };
const SCANNED = { type: 'qr', qr_id: 'q1', seq: 2, state: 'scanned', user: { name: 'Alice' }, match: { mode: 'phone_types', code: '47' }, expires_in_ms: 60_000 };
const CONFIRMED = { type: 'qr', qr_id: 'q1', seq: 3, state: 'confirmed', ticket: 't1', expires_in_ms: 30_000 };
const DEAD = new TypeError('fetch failed');

/** A stream in the test's hands, as the gateway answers it. */
function make_stream(world, path = '/v1/qr/q1/events') {
  const stream = { opened: 0, after: null, aborted: false };
  world.answer(path, ({ headers, signal }) => {
    stream.opened += 1;
    stream.after = headers['Last-Event-ID'];
    const body = new ReadableStream({
      start(controller) {
        const encoder = new TextEncoder();
        stream.say = async (event) => {
          controller.enqueue(encoder.encode(event ? `id: ${event.seq}\ndata: ${JSON.stringify(event)}\n\n` : ':\n\n'));
          for (let n = 0; n < 5; n += 1) await settle();
        };
        stream.end = async () => {
          controller.close();
          for (let n = 0; n < 5; n += 1) await settle();
        };
        signal.addEventListener('abort', () => {
          stream.aborted = true;
          try {
            controller.error(signal.reason);
          } catch {
            // Ended before.
          }
        });
      },
    });
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  });
  return stream;
}

const asked = (world, method, path) => world.fetched.filter((call) => call.method === method && call.path === path);

/** A login whose sockets are refused, and which goes on over HTTP. */
async function around(prepare = () => {}) {
  const world = make_world();
  world.answer('/v1/qr', { status: 201, body: OPENED });
  prepare(world);
  const views = [];
  const login = qrLogin({ url: 'https://gateway.test', device: { id: 'd_1' }, client: world.platform, onChange: (view) => views.push(view) });
  await settle();
  for (let n = 0; n < BOUNDS.socket_failures; n += 1) {
    if (n > 0) await world.clock.advance(1_000);
    await world.socket.drop();
  }
  for (let n = 0; n < 5; n += 1) await settle();
  return { world, login, views, last: () => views.at(-1) };
}

describe('without a socket', () => {
  test('opened, watched and redeemed over HTTP, with what proves the claim in the headers only', async () => {
    let stream;
    const { world, login, last, views } = await around((world) => { stream = make_stream(world); });
    assert.deepEqual([stream.opened, stream.after], [1, '1']);
    assert.deepEqual(world.told, [{ taken: 'q1' }], 'a stream takes the watch');
    assert.equal(last().connected, false, 'nothing has been seen to work');
    await stream.say();
    assert.deepEqual([last().connected, last().transport, last().state], [true, 'events', 'waiting']);
    world.answer('/v1/qr/q1/redeem', { body: TOKENS });
    await stream.say(SCANNED);
    await stream.say(CONFIRMED);
    assert.equal((await login.session).access_token, 'access-1');
    const [redeem] = asked(world, 'POST', '/v1/qr/q1/redeem');
    assert.deepEqual([redeem.headers.Authorization, redeem.headers['Countersign-Device'], redeem.body], ['Claim c1', 'd_1', { ticket: 't1' }]);
    assert.deepEqual([...new Set(views.map(({ state }) => state))], ['opening', 'waiting', 'scanned', 'confirmed', 'redeemed']);
    assert.equal(stream.aborted, true, 'nothing is read any more');
    login.client.close();
    assert.equal(world.clock.waiting, 0);
  });

  test('nothing gets through at all: asks later and later, and goes on when something does', async () => {
    const { world, login, last } = await around((world) => world.answer('/v1/qr', DEAD));
    const first = asked(world, 'POST', '/v1/qr').length;
    await world.clock.advance(60_000);
    const tried = asked(world, 'POST', '/v1/qr').length - first;
    assert.ok(tried >= 4 && tried <= 16, `${tried} tries in a minute`);
    assert.deepEqual([last().state, last().connected], ['opening', false]);
    make_stream(world);
    world.answer('/v1/qr/q1', { body: { ...OPENED, type: 'qr' } });
    world.answer('/v1/qr', { status: 201, body: OPENED });
    await world.clock.advance(10_000);
    assert.equal(last().state, 'waiting');
    login.cancel();
  });

  test('a stream without its beginning is given up and polled for', async () => {
    let stream;
    const { world, last, login } = await around((world) => {
      stream = make_stream(world);
      world.answer('/v1/qr/q1', { body: SCANNED });
    });
    await world.clock.advance(BOUNDS.first_bytes_ms - 1);
    assert.equal(stream.aborted, false);
    await world.clock.advance(1);
    for (let n = 0; n < 5; n += 1) await settle();
    assert.equal(stream.aborted, true);
    assert.deepEqual([last().transport, last().state, last().match.code], ['polling', 'scanned', '47']);
    const polls = asked(world, 'GET', '/v1/qr/q1').length;
    await world.clock.advance(10_000);
    assert.ok(asked(world, 'GET', '/v1/qr/q1').length - polls <= 10);
    login.cancel();
  });

  test('silence, the end and an answer that is no stream are told apart from events, and none is lost', async () => {
    let stream;
    const { world, last, login } = await around((world) => {
      stream = make_stream(world);
      world.answer('/v1/qr/q1', { body: { ...OPENED, type: 'qr' } });
    });
    await stream.say();
    await world.clock.advance(BOUNDS.short_ms);
    await stream.end();
    await world.clock.advance(BOUNDS.reopen_ms);
    for (let n = 0; n < 5; n += 1) await settle();
    assert.equal(stream.opened, 2, 'opened again');
    await stream.say(SCANNED);
    assert.equal(last().state, 'scanned');
    await world.clock.advance(BOUNDS.silence_ms);
    for (let n = 0; n < 5; n += 1) await settle();
    assert.deepEqual([stream.aborted, last().transport, last().state], [true, 'polling', 'scanned']);
    world.answer('/v1/qr/q1/events', { body: 'a page' });
    await world.clock.advance(BOUNDS.stream_retry_ms);
    for (let n = 0; n < 5; n += 1) await settle();
    assert.equal(last().transport, 'polling');
    login.cancel();
  });

  test('gone at the gateway is told; gone at a proxy is not believed', async () => {
    const { world, last, login } = await around((world) => {
      world.answer('/v1/qr/q1/events', { status: 404, body: {} });
      world.answer('/v1/qr/q1', { status: 404, body: {} });
    });
    await world.clock.advance(5_000);
    assert.equal(last().state, 'waiting');
    world.answer('/v1/qr/q1', { status: 404, body: { code: 'not_found' } });
    world.answer('/v1/qr/q1/events', { status: 404, body: { code: 'not_found' } });
    await world.clock.advance(20_000);
    assert.deepEqual([last().state, last().reason], ['expired', 'lost']);
    await login.session.catch(() => {});
    assert.equal(world.clock.waiting, 0);
  });

  test('the answer to redeem is lost: asked for again with the same ticket', async () => {
    let stream;
    const { world, login } = await around((world) => { stream = make_stream(world); });
    let lost = 0;
    world.answer('/v1/qr/q1/redeem', () => {
      lost += 1;
      if (lost === 1) throw DEAD;
      return lost === 2 ? { status: 502, body: null } : { body: TOKENS };
    });
    await stream.say(CONFIRMED);
    await world.clock.advance(5_000);
    assert.equal((await login.session).session, 's_1');
    const tickets = asked(world, 'POST', '/v1/qr/q1/redeem').map(({ body }) => body.ticket);
    assert.deepEqual(tickets, ['t1', 't1', 't1']);
    login.client.close();
  });
});

describe('an answer that is not whole', () => {
  const cut = (body) => new Response(body, { headers: { 'Content-Type': 'application/json' } });

  test('of redeem: asked for again with the same ticket, and nobody is signed in before', async () => {
    let stream;
    const { world, login, last } = await around((world) => { stream = make_stream(world); });
    const bodies = [cut('{"access_token":"acc'), cut('<h1>Please pay for the network</h1>'), cut('{}'), cut(JSON.stringify(TOKENS))];
    world.answer('/v1/qr/q1/redeem', () => bodies.shift());
    await stream.say(CONFIRMED);
    assert.deepEqual([login.client.session, last().state], [null, 'confirmed']);
    await world.clock.advance(5_000);
    assert.equal((await login.session).access_token, 'access-1');
    assert.deepEqual(asked(world, 'POST', '/v1/qr/q1/redeem').map(({ body }) => body.ticket), ['t1', 't1', 't1', 't1']);
    login.client.close();
  });

  test('of a code, a watch or a poll: the way does not work, and is tried again', async () => {
    const bodies = ['<h1>Welcome</h1>', '{}', '{"qr_id":"q1"}', JSON.stringify(OPENED)];
    const polls = ['<h1>Welcome</h1>', '{}', JSON.stringify({ ...SCANNED })];
    const { world, last, login } = await around((world) => {
      world.answer('/v1/qr', () => cut(bodies.shift()));
      world.answer('/v1/qr/q1/events', { status: 502, body: null });
      world.answer('/v1/qr/q1', () => cut(polls.shift() ?? JSON.stringify(SCANNED)));
    });
    assert.deepEqual([last().state, last().connected], ['opening', false]);
    await world.clock.advance(20_000);
    assert.deepEqual([bodies.length, last().state, last().transport], [0, 'scanned', 'polling']);
    login.cancel();
  });
});

describe('the socket comes back', () => {
  test('it watches after the last event, the stream is let go, and later it makes sure of the watch', async () => {
    let stream;
    const { world, last, login } = await around((world) => { stream = make_stream(world); });
    await stream.say(SCANNED);
    await world.clock.advance(2_000);
    const { opened } = stream;
    await world.greet();
    assert.equal(stream.aborted, true, 'it must not take the watch back');
    const watch = await world.socket.ok('qr.watch', { state: 'scanned', expires_in_ms: 50_000 });
    assert.deepEqual([watch.qr_id, watch.claim, watch.after_seq], ['q1', 'c1', 2]);
    assert.equal(last().transport, 'websocket');
    await world.clock.advance(3_000);
    assert.equal((await world.socket.ok('qr.watch', { state: 'scanned', expires_in_ms: 47_000 })).after_seq, 2);
    world.socket.say(CONFIRMED);
    await settle();
    await world.socket.ok('qr.redeem', TOKENS);
    assert.equal((await login.session).session, 's_1');
    assert.equal(stream.opened, opened);
    assert.equal(asked(world, 'POST', '/v1/qr').length, 1);
  });

  test('while a code is asked for over HTTP: it watches the one that comes', async () => {
    let give;
    const { world, last } = await around((world) => {
      world.answer('/v1/qr', () => new Promise((resolve) => { give = resolve; }));
    });
    await world.clock.advance(2_000);
    await world.greet();
    give({ status: 201, body: OPENED });
    for (let n = 0; n < 5; n += 1) await settle();
    const watch = await world.socket.ok('qr.watch', { state: 'waiting', expires_in_ms: 300_000 });
    assert.deepEqual([watch.qr_id, watch.after_seq, last().state], ['q1', 1, 'waiting']);
    assert.equal(world.socket.asked('qr.open'), undefined);
  });

  test('while a code is asked for over HTTP in vain: it is asked for by the socket', async () => {
    let fail;
    const { world, last, login } = await around((world) => {
      world.answer('/v1/qr', () => new Promise((_, reject) => { fail = reject; }));
    });
    await world.clock.advance(2_000);
    await world.greet();
    assert.equal(world.socket.asked('qr.open'), undefined, 'one at a time');
    fail(DEAD);
    for (let n = 0; n < 5; n += 1) await settle();
    await world.socket.ok('qr.open', OPENED);
    assert.deepEqual([last().state, last().transport], ['waiting', 'websocket']);
    login.cancel();
  });

  test('while a proxy holds that: before the gateway closes a socket that says nothing', async (t) => {
    let clock;
    t.mock.method(AbortSignal, 'timeout', (ms) => {
      const abort = new AbortController();
      clock?.set(() => abort.abort(new DOMException('late', 'TimeoutError')), ms);
      return abort.signal;
    });
    const { world, last, login } = await around((world) => {
      clock = world.clock;
      world.answer('/v1/qr', ({ signal }) => new Promise((_, reject) => { signal.addEventListener('abort', () => reject(signal.reason)); }));
    });
    await world.clock.advance(2_000);
    await world.greet();
    await world.clock.advance(9_000);
    await world.socket.ok('qr.open', OPENED);
    assert.equal(last().state, 'waiting');
    login.cancel();
  });

  test('and is lost before it answered: asked for again over HTTP', async () => {
    let fail;
    const { world, last, login } = await around((world) => {
      make_stream(world);
      world.answer('/v1/qr', () => new Promise((_, reject) => { fail = reject; }));
    });
    await world.clock.advance(2_000);
    await world.greet();
    fail(DEAD);
    for (let n = 0; n < 5; n += 1) await settle();
    assert.ok(world.socket.asked('qr.open'));
    world.answer('/v1/qr', { status: 201, body: OPENED });
    await world.socket.drop();
    await world.clock.advance(BOUNDS.socket_patience_ms);
    for (let n = 0; n < 5; n += 1) await settle();
    assert.equal(last().state, 'waiting');
    login.cancel();
  });

  test('after a reload, while the kept code is watched over HTTP in vain: it is taken up by the socket', async () => {
    const world = make_world();
    let fail;
    world.answer('/v1/qr/q1', () => new Promise((_, reject) => { fail = reject; }));
    world.client.open().catch(() => {});
    const reachable = new Promise((resolve) => { world.client.on('reachable', resolve); });
    await assert.rejects(world.client.resumeAttempt({ qr_id: 'q1', claim: 'c1' }), { code: 'disconnected' });
    await world.clock.advance(BOUNDS.socket_patience_ms);
    await reachable;
    const resumed = world.client.resumeAttempt({ qr_id: 'q1', claim: 'c1' });
    await world.greet();
    await world.socket.ok('qr.watch', { state: 'waiting', expires_in_ms: 300_000 });
    fail(DEAD);
    for (let n = 0; n < 5; n += 1) await settle();
    await world.socket.ok('qr.watch', { state: 'waiting', expires_in_ms: 300_000 });
    assert.equal((await resumed).qr_id, 'q1');
    world.client.close();
  });

  test('while it redeems over HTTP: the socket is signed in as well', async () => {
    let stream;
    let give;
    const { world, login } = await around((world) => {
      stream = make_stream(world);
      world.answer('/v1/qr/q1/redeem', () => new Promise((resolve) => { give = resolve; }));
    });
    await stream.say(CONFIRMED);
    await world.clock.advance(2_000);
    await world.greet();
    await world.socket.ok('qr.watch', { state: 'redeemed', expires_in_ms: 0 });
    assert.equal(world.socket.asked('qr.redeem'), undefined, 'one at a time');
    give({ body: TOKENS });
    for (let n = 0; n < 5; n += 1) await settle();
    assert.equal((await world.socket.ok('auth')).token, 'access-1');
    assert.equal((await login.session).session, 's_1');
    assert.equal(login.client.state, 'connected');
  });
});

describe('somebody signs in with a password instead', () => {
  const by_password = (world) => world.answer('/v1/login', { body: TOKENS });

  test('without a socket: the code is cancelled over HTTP, and not taken up by the next socket', async () => {
    let stream;
    const { world, login } = await around((world) => { stream = make_stream(world); });
    await stream.say();
    assert.equal(login.client.transport, 'events');
    by_password(world);
    await login.client.login({ user_id: 'alice', password: 'secret' });
    const [cancel] = asked(world, 'DELETE', '/v1/qr/q1');
    assert.equal(cancel.headers.Authorization, 'Claim c1');
    assert.deepEqual([stream.aborted, login.client.transport], [true, null]);
    await world.clock.advance(2_000);
    await world.greet();
    await world.socket.ok('auth');
    assert.deepEqual([login.client.state, world.socket.asked('qr.watch')], ['connected', undefined]);
    world.socket.say(CONFIRMED);
    await settle();
    assert.equal(world.socket.asked('qr.redeem'), undefined);
    login.client.close();
    assert.equal(world.clock.waiting, 0);
  });

  test('while the code is asked for: it is cancelled when it comes', async () => {
    let give;
    const { world, login } = await around((world) => {
      world.answer('/v1/qr', () => new Promise((resolve) => { give = resolve; }));
      make_stream(world);
    });
    by_password(world);
    await login.client.login({ user_id: 'alice', password: 'secret' });
    give({ status: 201, body: OPENED });
    for (let n = 0; n < 5; n += 1) await settle();
    assert.equal(asked(world, 'DELETE', '/v1/qr/q1').length, 1);
    await world.clock.advance(2_000);
    await world.greet();
    await world.socket.ok('auth');
    assert.deepEqual([login.client.state, world.socket.asked('qr.watch')], ['connected', undefined]);
    login.client.close();
  });

  test('while it redeems: the session that is there stays', async () => {
    let stream;
    let give;
    const { world, login } = await around((world) => {
      stream = make_stream(world);
      world.answer('/v1/qr/q1/redeem', () => new Promise((resolve) => { give = resolve; }));
    });
    await stream.say(CONFIRMED);
    by_password(world);
    await login.client.login({ user_id: 'alice', password: 'secret' });
    give({ body: { ...TOKENS, access_token: 'access-2', user: { id: 'mallory' } } });
    for (let n = 0; n < 5; n += 1) await settle();
    assert.deepEqual([login.client.user.id, login.client.session.access_token], ['alice', 'access-1']);
    login.client.close();
  });

  test('with a socket: the code is cancelled there, once', async () => {
    const world = await make_world().connected();
    const opened = world.client.openAttempt();
    await world.socket.ok('qr.open', OPENED);
    await opened;
    by_password(world);
    const entered = world.client.login({ user_id: 'alice', password: 'secret' });
    for (let n = 0; n < 5; n += 1) await settle();
    await world.socket.ok('auth');
    await entered;
    const cancel = await world.socket.ok('qr.cancel');
    assert.deepEqual([cancel.qr_id, cancel.claim, world.socket.asked('qr.cancel')], ['q1', 'c1', undefined]);
    assert.equal(world.client.transport, 'websocket');
    world.client.close();
  });
});
