import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { qrLogin } from '../../web/client.js';
import { make_world, settle, TOKENS } from './support/fake.mjs';

const OPENED = { qr_id: 'q1', claim: 'c1', url: 'https://gateway.test/q/q1', expires_in_ms: 300_000, rotate_in_ms: 45_000, seq: 1, state: 'waiting' };
const SCANNED = { type: 'qr', qr_id: 'q1', seq: 2, state: 'scanned', user: { name: 'Alice' }, match: { mode: 'phone_types', code: '47' }, expires_in_ms: 60_000 };
const CONFIRMED = { type: 'qr', qr_id: 'q1', seq: 3, state: 'confirmed', ticket: 't1', expires_in_ms: 30_000 };

/** A login of a page, with every view written down. */
function begin(more = {}) {
  const world = make_world();
  const views = [];
  const login = qrLogin({ url: 'https://gateway.test', device: { id: 'd_1', name: 'Shop' }, ...more, client: world.platform, onChange: (view) => views.push(view) });
  return { world, views, login, last: () => views.at(-1) };
}

/** One whose code is shown. */
async function waiting() {
  const begun = begin();
  await settle();
  await begun.world.greet();
  await begun.world.socket.ok('qr.open', OPENED);
  return begun;
}

async function ended(login) {
  return login.session.then(() => assert.fail('it was no failure'), (error) => error);
}

describe('qrLogin', () => {
  test('from nothing to a session, every step shown', async () => {
    const { world, views, login, last } = await waiting();
    assert.deepEqual(world.socket.sent[0].device, { id: 'd_1', name: 'Shop' });
    assert.equal(last().picture, 'https://gateway.test/v1/qr/q1.svg');
    assert.equal(last().url, OPENED.url);
    assert.equal(last().rotates_at_ms - world.clock.now(), 45_000);
    world.socket.say({ ...OPENED, type: 'qr', qr_id: 'q2', seq: 2, url: 'https://gateway.test/q/q2' });
    assert.equal(last().picture, 'https://gateway.test/v1/qr/q2.svg');
    world.socket.say({ ...SCANNED, qr_id: 'q2', seq: 3 });
    assert.deepEqual([last().state, last().user, last().match.code, last().picture], ['scanned', { name: 'Alice' }, '47', null]);
    world.socket.say({ ...CONFIRMED, qr_id: 'q2', seq: 4 });
    await settle();
    const asked = await world.socket.ok('qr.redeem', TOKENS);
    assert.deepEqual([asked.ticket, asked.claim], ['t1', 'c1']);
    const session = await login.session;
    assert.deepEqual([session.user, session.session, session.access_token], [TOKENS.user, 's_1', 'access-1']);
    assert.deepEqual(login.client.user, TOKENS.user);
    assert.deepEqual([...new Set(views.map(({ state }) => state))], ['opening', 'waiting', 'scanned', 'confirmed', 'redeemed']);
    assert.equal(login.client.state, 'connected');
    login.cancel();
    assert.equal(login.client.state, 'connected', 'what is done is done');
  });

  test('a lost socket: says so, comes back and goes on where it was', async () => {
    const { world, login, last } = await waiting();
    await world.socket.drop();
    assert.deepEqual([last().connected, last().state], [false, 'waiting']);
    await world.clock.advance(500);
    await world.greet();
    const watched = await world.socket.ok('qr.watch', { state: 'scanned', expires_in_ms: 50_000 });
    assert.deepEqual([watched.qr_id, watched.claim, watched.after_seq], ['q1', 'c1', 1]);
    assert.equal(last().connected, true);
    world.socket.say(SCANNED);
    world.socket.say(CONFIRMED);
    await settle();
    // The reply to redeem is lost with the next socket; it is asked for again.
    await world.socket.drop();
    await world.clock.advance(1_000);
    await world.greet();
    await world.socket.ok('qr.watch', { state: 'redeemed', expires_in_ms: 0 });
    await world.socket.ok('qr.redeem', TOKENS);
    assert.equal((await login.session).session, 's_1');
  });

  test('lost while asking for a code: it is asked for on the next socket', async () => {
    const { world, last } = begin();
    await settle();
    await world.greet();
    assert.ok(world.socket.asked('qr.open'));
    await world.socket.drop();
    await world.clock.advance(500);
    await world.greet();
    await world.socket.ok('qr.open', OPENED);
    assert.equal(last().state, 'waiting');
  });

  test('too many codes: waits as told and asks again; what cannot succeed is a failure', async () => {
    const { world, login, last } = begin();
    await settle();
    await world.greet();
    await world.socket.refuse('qr.open', 'rate_limited', { retry: true, after_ms: 3_000 });
    assert.equal(last().state, 'opening');
    await world.clock.advance(2_999);
    assert.equal(world.socket.asked('qr.open'), undefined);
    await world.clock.advance(1);
    await world.socket.refuse('qr.open', 'bad_request');
    const error = await ended(login);
    assert.deepEqual([error.code, error.body.reason, last().state], ['failed', 'bad_request', 'failed']);
    assert.equal(login.client.state, 'closed');
  });

  test('in the name of a client: said with every code that is asked for; one that is not allowed is a failure', async () => {
    const { world, login, last } = begin({ clientId: 'shop' });
    await settle();
    await world.greet();
    assert.equal(world.socket.asked('qr.open').client_id, 'shop');
    await world.socket.refuse('qr.open', 'rate_limited', { retry: true, after_ms: 1_000 });
    await world.clock.advance(1_000);
    assert.equal(world.socket.asked('qr.open').client_id, 'shop');
    await world.socket.refuse('qr.open', 'not_allowed');
    const error = await ended(login);
    assert.deepEqual([error.code, error.body.reason, last().state], ['failed', 'not_allowed', 'failed']);
    assert.equal(world.clock.waiting, 0);
  });

  test('in no name: none is said', async () => {
    const { world } = begin();
    await settle();
    await world.greet();
    assert.equal(Object.hasOwn(world.socket.asked('qr.open'), 'client_id'), false);
  });

  for (const [state, reason] of [['denied', 'match_failed'], ['expired', 'unconfirmed'], ['cancelled', 'superseded']]) {
    test(`${state} (${reason}) is told with its reason, and nothing is left running`, async () => {
      const { world, login, last } = await waiting();
      world.socket.say(SCANNED);
      world.socket.say({ type: 'qr', qr_id: 'q1', seq: 3, state, reason });
      const error = await ended(login);
      assert.deepEqual([error.code, error.body.reason], [state, reason]);
      assert.deepEqual([last().state, last().reason, last().picture], [state, reason, null]);
      assert.equal(login.client.state, 'closed');
      assert.equal(world.clock.waiting, 0);
    });
  }

  test('cancelled by the page: the gateway is told, then it hangs up', async () => {
    const { world, login, last } = await waiting();
    login.cancel();
    login.cancel();
    assert.deepEqual([last().state, last().reason], ['cancelled', 'user']);
    assert.equal((await ended(login)).code, 'cancelled');
    const told = await world.socket.ok('qr.cancel');
    assert.deepEqual([told.qr_id, told.claim], ['q1', 'c1']);
    assert.equal(login.client.state, 'closed');
    assert.equal(world.clock.waiting, 0);
  });

  test('cancelled before there is a code: the code that still comes is cancelled too', async () => {
    const { world, login, views } = begin();
    await settle();
    await world.greet();
    login.cancel();
    assert.equal((await ended(login)).code, 'cancelled');
    assert.equal(views.at(-1).state, 'cancelled');
    await world.socket.ok('qr.open', OPENED);
    await world.socket.ok('qr.cancel');
    assert.equal(views.at(-1).state, 'cancelled');
    assert.equal(login.client.state, 'closed');
    assert.equal(world.clock.waiting, 0);
  });

  test('cancelled while the connection is away: nothing is left running', async () => {
    const { world, login } = await waiting();
    await world.socket.drop();
    login.cancel();
    assert.equal((await ended(login)).code, 'cancelled');
    assert.equal(login.client.state, 'closed');
    assert.equal(world.clock.waiting, 0);
  });

  test('closed for good by the gateway is a failure', async () => {
    const { world, login, last } = await waiting();
    await world.socket.drop(4507, 'not_allowed');
    const error = await ended(login);
    assert.deepEqual([error.code, last().state, last().reason], ['failed', 'failed', 'closed_4507']);
  });

  test('an answer: wrong with the tries left, right told by the gateway', async () => {
    const { world, login, last } = await waiting();
    const match = { mode: 'pc_types' };
    world.socket.say({ ...SCANNED, match });
    const wrong = login.answer('11').then(() => null, (error) => error);
    const asked = await world.socket.refuse('qr.answer', 'match_failed', { tries_left: 2 });
    assert.deepEqual([asked.code, asked.qr_id, asked.claim], ['11', 'q1', 'c1']);
    assert.deepEqual([(await wrong).code, (await wrong).body.tries_left], ['match_failed', 2]);
    const right = login.answer('47');
    await world.socket.ok('qr.answer');
    await right;
    world.socket.say({ ...SCANNED, match, matched: true, seq: 3 });
    assert.equal(last().matched, true);
  });

  test('an answer before there is a code is refused', async () => {
    const { login } = begin();
    await assert.rejects(login.answer('47'), { code: 'conflict' });
    login.cancel();
  });
});
