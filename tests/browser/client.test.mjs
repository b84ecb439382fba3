import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reconnects, uuid } from '../../web/client.js';
import { HELLO, joined, make_room, make_world, message, settle, TOKENS } from './support/fake.mjs';

const last = (list) => list.at(-1);

/** Rejects with this code; returns the error. */
async function refusal(promise, code) {
  const error = await promise.then(() => assert.fail('it was not refused'), (reason) => reason);
  assert.equal(error.code, code);
  return error;
}

describe('connection', () => {
  test('close codes fall into the two bands of the contract', () => {
    const again = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4005, 4008, 4012, 4029, 4499];
    const never = [1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4503, 4504, 4505, 4507, 4999];
    for (const code of again) assert.equal(reconnects(code), true, `${code}`);
    for (const code of never) assert.equal(reconnects(code), false, `${code}`);
  });

  test('connects to the socket of its origin with the sub-protocol and is ready after hello', async () => {
    const world = make_world();
    const opened = world.client.open();
    await settle();
    assert.equal(world.socket.url, 'wss://gateway.test/v1/ws');
    assert.equal(world.socket.protocol, 'countersign.v1.json');
    assert.equal(world.client.state, 'connecting');
    await world.greet();
    await opened;
    assert.equal(world.client.state, 'connected');
    assert.deepEqual(world.client.limits, HELLO.limits);
  });

  for (const code of [1002, 1003, 1007, 1008, 1009, 4501, 4502, 4504, 4505, 4507]) {
    test(`stays closed after ${code}`, async () => {
      const world = await make_world().connected();
      await world.socket.drop(code, 'why');
      assert.deepEqual(last(world.states), { state: 'closed', code, reason: 'why' });
      assert.equal(world.clock.waiting, 0);
      assert.equal(world.sockets.length, 1);
    });
  }

  for (const code of [1001, 1006, 1011, 1012, 4008, 4012]) {
    test(`comes back after ${code}`, async () => {
      const world = await make_world().connected();
      await world.socket.drop(code);
      assert.equal(world.client.state, 'reconnecting');
      await world.clock.advance(500);
      assert.equal(world.sockets.length, 2);
      await world.greet();
      assert.equal(world.client.state, 'connected');
    });
  }

  test('backs off exponentially with full jitter, up to a cap', async () => {
    const world = await make_world().connected();
    const waits = [];
    for (let n = 0; n < 9; n += 1) {
      await world.socket.drop();
      waits.push(last(world.states).wait_ms);
      await world.clock.advance(waits.at(-1) - 1);
      const before = world.sockets.length;
      await world.clock.advance(1);
      assert.equal(world.sockets.length, before + 1);
    }
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    world.random = 0;
    await world.socket.drop();
    assert.equal(last(world.states).wait_ms, 0);
  });

  test('a connection that lasted starts the backoff anew, a flapping one does not', async () => {
    const world = await make_world().connected();
    await world.socket.drop();
    await world.clock.advance(250);
    await world.greet();
    await world.clock.advance(1_000);
    await world.socket.drop();
    assert.equal(last(world.states).wait_ms, 500);
    await world.clock.advance(500);
    await world.greet();
    await world.clock.advance(5_000);
    await world.socket.drop();
    assert.equal(last(world.states).wait_ms, 250);
  });

  test('over capacity and rate limited wait longer', async () => {
    for (const code of [1013, 4029]) {
      const world = await make_world().connected();
      await world.socket.drop(code);
      assert.equal(last(world.states).wait_ms, 2_000);
    }
  });

  test('a reconnect push moves it at the told moment, to the millisecond', async () => {
    const world = await make_world().connected();
    world.socket.say({ type: 'reconnect', after_ms: 740 });
    await world.clock.advance(739);
    assert.equal(world.client.state, 'connected');
    await world.clock.advance(1);
    assert.equal(world.sockets.length, 2);
    assert.equal(world.sockets[0].readyState, 3);
  });

  test('a socket closed before the told moment still waits for it', async () => {
    const world = await make_world().connected();
    world.socket.say({ type: 'reconnect', after_ms: 5_000 });
    await world.clock.advance(1_000);
    await world.socket.drop(1012, 'draining');
    await world.clock.advance(3_999);
    assert.equal(world.sockets.length, 1);
    await world.clock.advance(1);
    assert.equal(world.sockets.length, 2);
  });

  test('a socket that never says hello is given up', async () => {
    const world = make_world();
    world.client.open().catch(() => {});
    await settle();
    world.socket.accept();
    await world.clock.advance(10_000);
    assert.equal(world.client.state, 'reconnecting');
    assert.equal(world.socket.readyState, 3);
  });

  test('replies find their commands in any order', async () => {
    const world = await make_world().connected();
    const first = world.client.call('ping');
    const second = world.client.call('members', { room: 'chat:a' });
    const [a, b] = world.socket.sent;
    assert.deepEqual(b, { id: a.id + 1, type: 'members', room: 'chat:a' });
    world.socket.say({ id: b.id, type: 'ok', total: 3 });
    world.socket.say({ id: a.id, type: 'ok' });
    assert.equal((await second).total, 3);
    await first;
  });

  test('an error reply, a missing reply and a lost socket are refusals with their codes', async () => {
    const world = await make_world().connected();
    const limited = refusal(world.client.call('like', {}), 'rate_limited');
    await world.socket.refuse('like', 'rate_limited', { retry: true, after_ms: 180 });
    const error = await limited;
    assert.equal(error.retry, true);
    assert.equal(error.after_ms, 180);

    const late = world.client.call('history', {});
    world.clock.advance(10_000);
    await refusal(late, 'timeout');

    const lost = world.client.call('history', {});
    world.socket.drop();
    await refusal(lost, 'disconnected');
    await refusal(world.client.call('ping'), 'disconnected');
  });

  test('asks after a silent interval; traffic counts as an answer; silence after asking reconnects', async () => {
    const world = await make_world().connected();
    await world.clock.advance(20_000);
    world.socket.say({ type: 'something', new: true });
    await world.clock.advance(24_999);
    assert.equal(world.socket.asked('ping'), undefined);
    await world.clock.advance(1);
    await world.socket.ok('ping');
    await world.clock.advance(25_000);
    assert.ok(world.socket.asked('ping'));
    await world.clock.advance(9_999);
    assert.equal(world.client.state, 'connected');
    await world.clock.advance(1);
    assert.equal(world.client.state, 'reconnecting');
    assert.equal(last(world.states).reason, 'no answer to a ping');
  });

  test('a nudge redials at once, or asks at once', async () => {
    const world = await make_world().connected();
    world.client.nudge();
    await world.socket.ok('ping');
    await world.socket.drop();
    world.client.nudge();
    await settle();
    assert.equal(world.sockets.length, 2);
    await world.clock.advance(1_000);
    assert.equal(world.sockets.length, 2);
  });

  test('frames and closes of a socket already given up are ignored', async () => {
    const world = await make_world().connected();
    const old = world.socket;
    await old.drop();
    await world.clock.advance(500);
    await world.greet();
    const pushes = [];
    world.client.on('push', (frame) => pushes.push(frame));
    old.say({ type: 'message', room: 'chat:a', offset: 1 });
    await old.drop(4503);
    assert.equal(world.client.state, 'connected');
    assert.equal(pushes.length, 0);
  });

  test('close is final and leaves no timer behind', async () => {
    const world = await make_world().connected();
    world.client.close();
    assert.equal(world.client.state, 'closed');
    assert.equal(world.socket.closed_with, 1000);
    assert.equal(world.clock.waiting, 0);
  });
});

describe('session', () => {
  const renewed = { access_token: 'access-2', refresh_token: 'refresh-2', token_type: 'Bearer', expires_in_ms: 900_000 };

  async function authenticated(options) {
    const world = make_world({ signed_in: true, ...options });
    await world.connected();
    return world;
  }

  test('signs in first on every socket, with the device the token is bound to', async () => {
    const world = await authenticated();
    assert.deepEqual(world.socket.sent.map(({ type, token, device }) => ({ type, token, device })), [{ type: 'auth', token: 'access-1', device: 'd_1' }]);
    assert.equal(world.client.state, 'connecting');
    await world.socket.ok('auth', { user: TOKENS.user });
    assert.equal(world.client.state, 'connected');
    await world.socket.drop();
    await world.clock.advance(500);
    await world.greet();
    assert.equal(world.socket.asked('auth').token, 'access-1');
  });

  test('after 4005 it gets a new token before it opens the next socket', async () => {
    const world = await authenticated();
    await world.socket.ok('auth');
    world.answer('/v1/refresh', { body: renewed });
    await world.socket.drop(4005, 'session_expired');
    assert.equal(world.fetched.length, 0);
    await world.clock.advance(500);
    assert.deepEqual(world.fetched.map(({ path, body, headers }) => [path, body.refresh_token, headers['Countersign-Device']]), [['/v1/refresh', 'refresh-1', 'd_1']]);
    await world.greet();
    assert.equal(world.socket.asked('auth').token, 'access-2');
    assert.equal(last(world.sessions).session.refresh_token, 'refresh-2');
    assert.equal(last(world.sessions).session.user.id, 'alice');
  });

  test('a token that ran out meanwhile is renewed once, however many ask', async () => {
    const world = make_world({ signed_in: true, expires_in_ms: 0 });
    world.answer('/v1/refresh', { body: renewed });
    world.answer('/v1/me', { body: { user: TOKENS.user } });
    world.client.open().catch(() => {});
    await Promise.all([world.client.request('GET', '/v1/me'), world.client.request('GET', '/v1/me')]);
    assert.equal(world.fetched.filter(({ path }) => path === '/v1/refresh').length, 1);
    assert.equal(last(world.fetched).headers.Authorization, 'Bearer access-2');
  });

  test('while the gateway cannot refresh, no socket is opened and nobody is signed out', async () => {
    const world = make_world({ signed_in: true, expires_in_ms: 0 });
    world.answer('/v1/refresh', new TypeError('no network'));
    world.client.open().catch(() => {});
    await settle();
    assert.equal(world.sockets.length, 0);
    assert.equal(world.client.state, 'reconnecting');
    world.answer('/v1/refresh', { status: 503, body: { code: 'unavailable' } });
    await world.clock.advance(250);
    assert.equal(world.sockets.length, 0);
    world.answer('/v1/refresh', { body: renewed });
    await world.clock.advance(500);
    assert.equal(world.sockets.length, 1);
    assert.equal(world.client.user.id, 'alice');
  });

  test('a refresh whose answer is lost is asked once more, while the gateway still gives the same pair', async (t) => {
    const world = make_world({ signed_in: true, expires_in_ms: 0 });
    const bounds = [];
    t.mock.method(AbortSignal, 'timeout', (ms) => {
      bounds.push(ms);
      const silent = new AbortController();
      // The first answer never comes.
      if (bounds.length === 1) setImmediate(() => silent.abort(new DOMException('', 'TimeoutError')));
      return silent.signal;
    });
    world.answer('/v1/refresh', ({ signal }) => (world.fetched.length > 1 ? { body: renewed } : new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    })));
    world.client.open().catch(() => {});
    await settle();
    await settle();
    assert.deepEqual(world.fetched.map(({ path, body }) => [path, body.refresh_token]), Array(2).fill(['/v1/refresh', 'refresh-1']));
    const [before_the_last, last_of_all] = bounds;
    assert.ok(before_the_last + 5_000 < 10_000, 'within tokens.refresh_grace_ms, also for a tab that has waited for another');
    assert.ok(last_of_all >= 10_000, 'a slow answer is waited for');
    assert.equal(last(world.sessions).session.refresh_token, 'refresh-2');
    assert.equal(world.sockets.length, 1);
  });

  test('a refused refresh signs out and goes on as nobody', async () => {
    const world = make_world({ signed_in: true, expires_in_ms: 0 });
    world.answer('/v1/refresh', { status: 401, body: { code: 'invalid_token' } });
    await world.connected();
    assert.deepEqual(world.sessions, [{ session: null, why: 'refused' }]);
    assert.equal(world.client.state, 'connected');
    assert.deepEqual(world.socket.sent, []);
  });

  test('a token refused by auth is renewed and tried once more, never a third time', async () => {
    const world = await authenticated();
    world.answer('/v1/refresh', { body: renewed });
    await world.socket.refuse('auth', 'invalid_token');
    assert.equal(world.socket.asked('auth').token, 'access-2');
    await world.socket.refuse('auth', 'invalid_token');
    assert.equal(world.socket.asked('auth'), undefined);
    assert.deepEqual(last(world.sessions), { session: null, why: 'refused' });
  });

  test('a locked account is told as such, by the socket and by HTTP, and is not asked for again', async () => {
    const by_socket = await authenticated();
    await by_socket.socket.refuse('auth', 'account_locked');
    assert.equal(by_socket.socket.asked('auth'), undefined);
    const by_http = make_world({ signed_in: true });
    by_http.answer('/v1/me', { status: 403, body: { code: 'account_locked' } });
    await refusal(by_http.client.request('GET', '/v1/me'), 'account_locked');
    assert.equal(by_http.fetched.length, 1);
    for (const world of [by_socket, by_http]) assert.deepEqual(last(world.sessions), { session: null, why: 'locked' });
  });

  test('an expiring session is renewed on the same socket', async () => {
    const world = await authenticated();
    await world.socket.ok('auth');
    world.answer('/v1/refresh', { body: renewed });
    world.socket.say({ type: 'session', state: 'expiring', after_ms: 60_000 });
    await settle();
    await settle();
    assert.equal(world.socket.asked('refresh').token, 'access-2');
    assert.equal(world.sockets.length, 1);
  });

  for (const [code, why] of [[4503, 'revoked'], [4500, 'refused']]) {
    test(`${code} ends the session, and the client can be opened again as nobody`, async () => {
      const world = await authenticated();
      await world.socket.ok('auth');
      world.client.on('session', (session) => { if (!session) world.client.open().catch(() => {}); });
      await world.socket.drop(code);
      assert.deepEqual(last(world.sessions), { session: null, why });
      await world.greet();
      assert.equal(world.client.state, 'connected');
      assert.deepEqual(world.socket.sent, []);
    });
  }

  test('a login signs the present connection in before it is announced', async () => {
    const world = await make_world().connected();
    world.answer('/v1/login', { body: TOKENS });
    const done = world.client.login({ user_id: 'alice', password: 'secret' });
    await settle();
    await settle();
    assert.deepEqual(world.sessions, []);
    assert.equal(world.socket.asked('auth').token, 'access-1');
    await world.socket.ok('auth');
    await done;
    assert.equal(last(world.sessions).why, 'login');
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(world.fetched[0].body, { user_id: 'alice', password: 'secret', device: { id: 'd_1', name: 'Test', kind: 'web' } });
  });

  test('a refused login says so and changes nothing', async () => {
    const world = await make_world().connected();
    world.answer('/v1/login', { status: 429, body: { code: 'rate_limited', detail: 'slow down' }, headers: { 'Retry-After': '7' } });
    const error = await refusal(world.client.login({ user_id: 'a', password: 'b' }), 'rate_limited');
    assert.equal(error.after_ms, 7_000);
    assert.equal(error.status, 429);
    assert.deepEqual(world.sessions, []);
  });

  test('logout closes the socket, forgets the tokens and tells the gateway', async () => {
    const world = await authenticated();
    await world.socket.ok('auth');
    world.answer('/v1/logout', { status: 204 });
    await world.client.logout();
    assert.equal(world.client.state, 'closed');
    assert.equal(world.client.user, null);
    assert.deepEqual(world.fetched.map(({ path, headers }) => [path, headers.Authorization]), [['/v1/logout', 'Bearer access-1']]);
  });

  test('an HTTP call refused twice ends the session; a refusal for another reason does not', async () => {
    const world = make_world({ signed_in: true });
    world.answer('/v1/qr/x/scan', { status: 409, body: { code: 'already_scanned' } });
    await refusal(world.client.request('POST', '/v1/qr/x/scan', {}), 'already_scanned');
    assert.deepEqual(world.sessions, []);
    world.answer('/v1/qr/x/scan', { status: 401, body: { code: 'device_mismatch' } });
    world.answer('/v1/refresh', { body: renewed });
    await refusal(world.client.request('POST', '/v1/qr/x/scan', {}), 'device_mismatch');
    assert.deepEqual(last(world.sessions), { session: null, why: 'refused' });
  });
});

describe('qr login', () => {
  const OPENED = { qr_id: 'q1', claim: 'k', url: 'https://gateway.test/q/q1', expires_in_ms: 300_000, rotate_in_ms: 45_000, seq: 1, state: 'waiting' };
  const CONFIRMED = { type: 'qr', qr_id: 'q2', seq: 4, state: 'confirmed', ticket: 't', expires_in_ms: 30_000 };

  async function opened() {
    const world = await make_world().connected();
    const promise = world.client.openAttempt();
    await world.socket.ok('qr.open', OPENED);
    const attempt = await promise;
    const seen = [];
    attempt.on('change', () => seen.push([attempt.seq, attempt.state]));
    return { world, attempt, seen };
  }

  async function scanned() {
    const all = await opened();
    all.world.socket.say({ type: 'qr', qr_id: 'q2', seq: 2, state: 'waiting', url: 'https://gateway.test/q/q2', rotate_in_ms: 45_000, expires_in_ms: 255_000 });
    all.world.socket.say({ type: 'qr', qr_id: 'q2', seq: 3, state: 'scanned', user: { name: 'Alice' }, match: { mode: 'phone_types', code: '47' }, expires_in_ms: 60_000 });
    return all;
  }

  test('follows rotation and scan, each event once', async () => {
    const { world, attempt, seen } = await scanned();
    world.socket.say({ type: 'qr', qr_id: 'q2', seq: 2, state: 'waiting', url: 'old' });
    assert.deepEqual(seen, [[2, 'waiting'], [3, 'scanned']]);
    assert.equal(attempt.qr_id, 'q2');
    assert.equal(attempt.match.code, '47');
    assert.equal(attempt.user.name, 'Alice');
    assert.equal(attempt.expires_at_ms, world.clock.now() + 60_000);
    assert.equal(attempt.rotates_at_ms, null);
  });

  test('a confirmation is redeemed on the same socket and signs in', async () => {
    const { world, attempt } = await scanned();
    world.socket.say(CONFIRMED);
    const asked = await world.socket.ok('qr.redeem', TOKENS);
    assert.deepEqual([asked.qr_id, asked.claim, asked.ticket], ['q2', 'k', 't']);
    assert.equal(attempt.signed_in, true);
    assert.equal(world.client.user.id, 'alice');
    assert.equal(last(world.sessions).why, 'qr');
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(world.fetched, []);
  });

  test('a lost socket is resumed from the last event seen', async () => {
    const { world, attempt } = await scanned();
    await world.socket.drop();
    await world.clock.advance(500);
    await world.greet();
    assert.equal(world.client.state, 'reconnecting');
    const asked = await world.socket.ok('qr.watch', { state: 'confirmed', expires_in_ms: 20_000 });
    assert.deepEqual([asked.qr_id, asked.claim, asked.device, asked.after_seq], ['q2', 'k', 'd_1', 3]);
    assert.equal(world.client.state, 'connected');
    world.socket.say(CONFIRMED);
    await world.socket.ok('qr.redeem', TOKENS);
    assert.equal(attempt.signed_in, true);
  });

  test('a lost reply to redeem is asked for again with the same ticket', async () => {
    const { world, attempt } = await scanned();
    world.socket.say(CONFIRMED);
    world.socket.say({ type: 'qr', qr_id: 'q2', seq: 5, state: 'redeemed' });
    await world.socket.drop();
    assert.equal(attempt.signed_in, false);
    await world.clock.advance(500);
    await world.greet();
    await world.socket.ok('qr.watch', { state: 'redeemed', expires_in_ms: 0 });
    const asked = await world.socket.ok('qr.redeem', TOKENS);
    assert.equal(asked.ticket, 't');
    assert.equal(attempt.signed_in, true);
    assert.equal(world.client.user.id, 'alice');
  });

  for (const [state, reason] of [['denied', 'match_failed'], ['cancelled', undefined], ['expired', 'unconfirmed']]) {
    test(`${state} is the end`, async () => {
      const { world, attempt, seen } = await scanned();
      world.socket.say({ type: 'qr', qr_id: 'q2', seq: 4, state, reason });
      world.socket.say({ type: 'qr', qr_id: 'q2', seq: 5, state: 'confirmed', ticket: 't' });
      assert.deepEqual(last(seen), [4, state]);
      assert.equal(attempt.final, true);
      assert.equal(attempt.reason, reason ?? null);
      assert.equal(world.socket.asked('qr.redeem'), undefined);
      await world.socket.drop();
      await world.clock.advance(500);
      await world.greet();
      assert.equal(world.socket.asked('qr.watch'), undefined);
    });
  }

  test('an attempt the gateway no longer knows has expired', async () => {
    const { world, attempt } = await opened();
    await world.socket.drop();
    await world.clock.advance(500);
    await world.greet();
    await world.socket.refuse('qr.watch', 'not_found');
    assert.deepEqual([attempt.state, attempt.reason], ['expired', 'lost']);
    assert.equal(world.client.state, 'connected');
  });

  test('a redeem that comes too late has expired', async () => {
    const { world, attempt } = await scanned();
    world.socket.say(CONFIRMED);
    await world.socket.refuse('qr.redeem', 'already_final', { state: 'expired', reason: 'unredeemed' });
    assert.deepEqual([attempt.state, attempt.reason], ['expired', 'unredeemed']);
    assert.equal(world.client.user, null);
  });

  test('a redeem that is refused because of the end tells the end that there was', async () => {
    for (const [state, reason, told] of [['denied', 'revoked', 'denied'], ['cancelled', 'user', 'cancelled'], ['redeemed', undefined, 'expired']]) {
      const { world, attempt } = await scanned();
      world.socket.say(CONFIRMED);
      await world.socket.refuse('qr.redeem', 'already_final', { state, reason });
      assert.deepEqual([attempt.state, attempt.reason], [told, reason ?? 'already_final']);
      assert.equal(world.client.user, null);
    }
  });

  test('the end of a code that was replaced is not the end of the new one', async () => {
    const { world } = await opened();
    const promise = world.client.openAttempt();
    await world.socket.ok('qr.open', { ...OPENED, qr_id: 'q9' });
    const attempt = await promise;
    world.socket.say({ type: 'qr', qr_id: 'q1', seq: 2, state: 'cancelled', reason: 'superseded' });
    assert.equal(attempt.state, 'waiting');
  });

  test('an attempt kept across a reload is taken up again, or found to be over', async () => {
    const { world: before, attempt: old } = await scanned();
    const kept = JSON.parse(JSON.stringify(old));
    before.client.close();

    const world = await make_world().connected();
    const promise = world.client.resumeAttempt(kept);
    const asked = await world.socket.ok('qr.watch', { state: 'scanned', expires_in_ms: 50_000 });
    assert.equal('after_seq' in asked, false);
    const attempt = await promise;
    world.socket.say({ type: 'qr', qr_id: 'q2', seq: 3, state: 'scanned', user: { name: 'Alice' }, match: { mode: 'phone_types', code: '47' }, expires_in_ms: 50_000 });
    assert.equal(attempt.match.code, '47');

    const over = world.client.resumeAttempt(kept);
    await world.socket.ok('qr.watch', { state: 'cancelled', expires_in_ms: 0 });
    assert.equal(await over, null);
  });

  test('what happened to a kept attempt under ids nobody here has seen is taken up too', async () => {
    const { world: before, attempt: old } = await scanned();
    const kept = JSON.parse(JSON.stringify(old));
    before.client.close();
    const world = await make_world().connected();
    const promise = world.client.resumeAttempt(kept);
    await world.socket.ok('qr.watch', { state: 'scanned', expires_in_ms: 50_000 });
    const attempt = await promise;
    world.socket.say({ type: 'qr', qr_id: 'q7', seq: 8, state: 'scanned', user: { name: 'Alice' }, match: { mode: 'phone_types', code: '47' }, expires_in_ms: 50_000 });
    assert.deepEqual([attempt.state, attempt.match.code], ['scanned', '47']);
    world.socket.say({ type: 'qr', qr_id: 'q1', seq: 9, state: 'cancelled', reason: 'superseded' });
    assert.equal(attempt.state, 'scanned');
  });

  test('cancel proves whose attempt it is', async () => {
    const { world, attempt } = await opened();
    const done = attempt.cancel();
    const asked = await world.socket.ok('qr.cancel');
    assert.deepEqual([asked.qr_id, asked.claim], ['q1', 'k']);
    await done;
  });
});

describe('room', () => {
  async function resumed(world, reply) {
    await world.socket.drop();
    await world.clock.advance(500);
    await world.greet();
    return world.socket.ok('join', reply);
  }

  test('every message once and in order', async () => {
    const world = await make_world().connected();
    const { told } = await make_room(world);
    for (const offset of [11, 12, 12, 11, 13]) world.socket.say(message(offset));
    assert.deepEqual(told, [11, 12, 13]);
  });

  test('a first join delivers the newest messages without calling them a gap', async () => {
    const world = await make_world().connected();
    const room = world.client.room('chat:lobby');
    const told = [];
    room.on('message', ({ offset }) => told.push(offset));
    room.on('break', (broken) => told.push(broken));
    room.join();
    await world.socket.ok('join', joined(42, { messages: [message(41), message(42)] }));
    world.socket.say(message(43));
    assert.deepEqual(told, [41, 42, 43]);
  });

  test('after a lost socket it asks for what came after the last one seen', async () => {
    const world = await make_world().connected();
    const { told } = await make_room(world);
    world.socket.say(message(11));
    const asked = await resumed(world, joined(13, { recovered: true, messages: [message(12), message(13)] }));
    assert.deepEqual(asked.after, { epoch: 'e1', offset: 11 });
    world.socket.say(message(13));
    world.socket.say(message(14));
    assert.deepEqual(told, [11, 12, 13, 14]);
    assert.equal(world.client.state, 'connected');
  });

  test('what could not be recovered is a break with the missing offsets', async () => {
    const world = await make_world().connected();
    const { told } = await make_room(world);
    await resumed(world, joined(300, { recovered: false, messages: [message(299), message(300)] }));
    world.socket.say(message(301));
    assert.deepEqual(told, [{ reason: 'not_recovered', new_epoch: false, from: 11, to: 298 }, 299, 300, 301]);
  });

  test('a new epoch is a break without offsets, and counting starts over', async () => {
    const world = await make_world().connected();
    const { room, told } = await make_room(world);
    await resumed(world, joined(2, { epoch: 'e2', recovered: false, messages: [message(1), message(2)] }));
    world.socket.say(message(3));
    assert.deepEqual(told, [{ reason: 'not_recovered', new_epoch: true }, 1, 2, 3]);
    assert.equal(room.epoch, 'e2');
  });

  test('a told gap is a break, and the stream goes on behind it', async () => {
    const world = await make_world().connected();
    const { told } = await make_room(world);
    world.socket.say(message(11));
    world.socket.say({ type: 'gap', room: 'chat:lobby', from: 12, to: 20 });
    world.socket.say(message(21));
    assert.deepEqual(told, [11, { reason: 'gap', new_epoch: false, from: 12, to: 20 }, 21]);
  });

  test('a hole nobody told of is found by counting', async () => {
    const world = await make_world().connected();
    const { told } = await make_room(world);
    world.socket.say(message(14));
    assert.deepEqual(told, [{ reason: 'gap', new_epoch: false, from: 11, to: 13 }, 14]);
    await resumed(world, joined(17, { recovered: true, messages: [message(15)] }));
    assert.deepEqual(told.slice(2), [15, { reason: 'gap', new_epoch: false, from: 16, to: 17 }]);
  });

  test('what was missed is read page by page from history', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const missed = room.missed(12, 15);
    assert.equal((await world.socket.ok('history', { epoch: 'e1', messages: [message(12), message(13)] })).after, 11);
    assert.equal((await world.socket.ok('history', { epoch: 'e1', messages: [message(14), message(15), message(16)] })).after, 13);
    assert.deepEqual((await missed).map(({ offset }) => offset), [12, 13, 14, 15]);
  });

  test('counts: the latest version wins, and a join is a new base', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const counts = (version, viewers) => ({ type: 'counts', room: 'chat:lobby', version, viewers, members: 1, counters: {} });
    for (const push of [counts(5, 50), counts(4, 40), counts(5, 51)]) world.socket.say(push);
    assert.equal(room.counts.viewers, 50);
    await resumed(world, joined(10, { recovered: true, counts: { version: 2, viewers: 2, members: 1, counters: {} } }));
    assert.equal(room.counts.viewers, 2);
    world.socket.say(counts(3, 3));
    assert.equal(room.counts.viewers, 3);
  });

  test('pushes from before a join is answered or after leaving are dropped', async () => {
    const world = await make_world().connected();
    const { room, told } = await make_room(world);
    const left = room.leave();
    world.socket.say(message(11));
    await world.socket.ok('leave');
    await left;
    assert.deepEqual(told, [{ left: 'left by the client' }]);
    await world.socket.drop();
    await world.clock.advance(500);
    await world.greet();
    assert.equal(world.socket.asked('join'), undefined);
  });

  test('left by the gateway: not joined again by itself', async () => {
    const world = await make_world().connected();
    const { room, told } = await make_room(world);
    const lost = refusal(room.send({ text: 'x' }), 'not_joined');
    world.socket.say({ type: 'left', room: 'chat:lobby', reason: 'kicked' });
    await lost;
    assert.deepEqual(told, [{ left: 'kicked' }]);
    room.join();
    assert.equal('after' in world.socket.asked('join'), false);
  });

  test('a join refused for good is `left`; one refused for now is tried again when told', async () => {
    const world = await make_world().connected();
    const room = world.client.room('chat:lobby');
    const join = refusal(room.join(), 'banned');
    await world.socket.refuse('join', 'rate_limited', { retry: true, after_ms: 300 });
    assert.equal(world.socket.asked('join'), undefined);
    await world.clock.advance(300);
    await world.socket.refuse('join', 'banned');
    await join;
    assert.equal(room.state, 'left');
  });

  test('the page and a new connection asking at once join once', async () => {
    const world = make_world({ signed_in: true });
    const room = world.client.room('chat:lobby');
    room.join();
    await world.connected();
    room.join();
    await world.socket.ok('auth');
    assert.equal(world.socket.sent.filter(({ type }) => type === 'join').length, 1);
    await world.socket.ok('join', joined(0));
    assert.equal(room.state, 'joined');
    assert.equal(world.client.state, 'connected');
  });

  test('a name without a namespace is the one the gateway echoes', async () => {
    const world = await make_world().connected();
    const room = world.client.room('lobby');
    const told = [];
    room.on('message', ({ offset }) => told.push(offset));
    room.join();
    await world.socket.ok('join', joined(0, { room: 'default:lobby' }));
    world.socket.say(message(1, { room: 'default:lobby' }));
    assert.deepEqual(told, [1]);
    assert.equal(world.client.room('default:lobby'), room);
  });

  test('when the user is gone the rooms are left', async () => {
    const world = make_world({ signed_in: true });
    await world.connected();
    await world.socket.ok('auth');
    const { told } = await make_room(world);
    await world.socket.drop(4503);
    assert.deepEqual(told, [{ left: 'revoked' }]);
  });
});

describe('send', () => {
  test('carries a UUID made by the client and resolves with its place', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const sent = room.send({ text: 'hi' });
    const asked = await world.socket.ok('send', { offset: 11, at_ms: 5 });
    assert.match(asked.cid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual(asked.body, { text: 'hi' });
    assert.equal((await sent).offset, 11);
    assert.notEqual(uuid(), uuid());
  });

  test('an unanswered one is sent again after the reconnect with the same cid, in order, after the join', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const first = room.send({ text: 'first' });
    const second = room.send({ text: 'second' });
    const { cid } = world.socket.asked('send');
    await world.socket.drop();
    const third = room.send({ text: 'third' });
    await world.clock.advance(500);
    await world.greet();
    assert.equal(world.socket.asked('send'), undefined);
    await world.socket.ok('join', joined(11, { recovered: true, messages: [message(11, { cid })] }));
    await world.clock.advance(0);
    assert.equal(world.socket.asked('send').cid, cid);
    await world.socket.ok('send', { offset: 11, at_ms: 5, duplicate: true });
    assert.equal((await first).duplicate, true);
    assert.equal((await world.socket.ok('send', { offset: 12 })).body.text, 'second');
    assert.equal((await world.socket.ok('send', { offset: 13 })).body.text, 'third');
    assert.deepEqual([(await second).offset, (await third).offset], [12, 13]);
    const cids = world.sockets.flatMap(({ sent }) => sent).filter(({ type }) => type === 'send').map((frame) => frame.cid);
    assert.equal(new Set(cids).size, 3);
    assert.equal(cids.length, 4);
  });

  test('a reply that never comes is asked for again with the same cid', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const sent = room.send({ text: 'hi' });
    const { cid } = world.socket.asked('send');
    await world.clock.advance(11_000);
    const sends = world.socket.sent.filter(({ type }) => type === 'send');
    assert.deepEqual(sends.map((frame) => frame.cid), [cid, cid]);
    await world.socket.ok('send', { offset: 11, duplicate: true });
    await sent;
  });

  test('waits as long as told when too fast, and never lets one overtake another', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    room.send({ text: 'a' });
    room.send({ text: 'b' });
    const { cid } = await world.socket.refuse('send', 'rate_limited', { retry: true, after_ms: 180 });
    await world.clock.advance(179);
    assert.equal(world.socket.asked('send'), undefined);
    await world.clock.advance(1);
    assert.equal(world.socket.asked('send').cid, cid);
    await world.socket.ok('send', { offset: 11 });
    assert.equal(world.socket.asked('send').body.text, 'b');
  });

  for (const [code, more] of [['muted', {}], ['conflict', {}], ['slow_mode', { retry: true, after_ms: 60_000 }]]) {
    test(`${code} is reported, and the next one goes out`, async () => {
      const world = await make_world().connected();
      const { room } = await make_room(world);
      const reported = refusal(room.send({ text: 'a' }), code);
      room.send({ text: 'b' });
      await world.socket.refuse('send', code, more);
      const error = await reported;
      assert.equal(error.after_ms, more.after_ms);
      assert.equal(world.socket.asked('send').body.text, 'b');
    });
  }

  test('after the time in which the gateway knows its cid, it is not sent again but reported as uncertain', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const reported = refusal(room.send({ text: 'a' }), 'uncertain');
    await world.socket.drop();
    // Sockets that never say hello, until the window is over.
    await world.clock.advance(271_000);
    world.client.nudge();
    await settle();
    await world.greet();
    await world.socket.ok('join', joined(10, { recovered: true }));
    await reported;
    assert.equal(world.socket.asked('send'), undefined);
  });

  test('what is kept while away is bounded', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    await world.socket.drop();
    for (let n = 0; n < 100; n += 1) room.send(n).catch(() => {});
    await refusal(room.send('one too many'), 'limit_reached');
  });

  test('a like is never repeated', async () => {
    const world = await make_world().connected();
    const { room } = await make_room(world);
    const liked = room.like(3);
    assert.equal(world.socket.asked('like').n, 3);
    world.socket.drop();
    await refusal(liked, 'disconnected');
  });
});
