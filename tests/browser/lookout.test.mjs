import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { qrLogin } from '../../web/client.js';
import { BOUNDS } from '../../web/client/transport.js';
import { make_world, settle, TOKENS } from './support/fake.mjs';

// All within the silence after which a socket is asked whether it lives.
const ROTATES_MS = 4_000;
const OPENED = { qr_id: 'q1', claim: 'c1', url: 'https://gateway.test/q/q1', expires_in_ms: 12_000, rotate_in_ms: ROTATES_MS, seq: 1, state: 'waiting' };
const ROTATED = { type: 'qr', ...OPENED, claim: undefined, qr_id: 'q2', url: 'https://gateway.test/q/q2', seq: 2 };
const SCANNED = { type: 'qr', qr_id: 'q2', seq: 3, state: 'scanned', user: { name: 'Alice' }, match: { mode: 'phone_types', code: '47' }, expires_in_ms: 60_000 };
const CONFIRMED = { type: 'qr', qr_id: 'q2', seq: 4, state: 'confirmed', ticket: 't1', expires_in_ms: 30_000 };

/** A login by a socket on which nothing is heard after the code. */
async function unheard() {
  const world = make_world();
  const views = [];
  const login = qrLogin({ url: 'https://gateway.test', device: { id: 'd_1' }, client: world.platform, onChange: (view) => views.push(view) });
  await settle();
  await world.greet();
  await world.socket.ok('qr.open', OPENED);
  const looks = () => world.fetched.filter(({ method, path }) => method === 'GET' && /^\/v1\/qr\/q\d$/.test(path));
  const pass = async (ms) => {
    await world.clock.advance(ms);
    for (let n = 0; n < 5; n += 1) await settle();
  };
  const newest = (frame, path = '/v1/qr/q1') => world.answer(path, { body: frame });
  return { world, login, looks, pass, newest, last: () => views.at(-1) };
}

describe('an event that is late', () => {
  test('is looked for without taking the watch, and again at the same distance until the end', async () => {
    const { world, login, looks, pass, newest, last } = await unheard();
    newest(ROTATED);
    newest(SCANNED, '/v1/qr/q2');
    await pass(ROTATES_MS + BOUNDS.overdue_ms - 1);
    assert.equal(looks().length, 0, 'not before it is late');
    await pass(1);
    assert.deepEqual([looks().length, last().url], [1, 'https://gateway.test/q/q2']);
    assert.equal(looks()[0].headers.Authorization, 'Claim c1');
    await pass(BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().state, last().match.code], [2, 'scanned', '47']);
    newest({ type: 'qr', qr_id: 'q2', seq: 4, state: 'denied', reason: 'user' }, '/v1/qr/q2');
    await pass(BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().state, last().reason], [3, 'denied', 'user']);
    await assert.rejects(login.session, { code: 'denied' });
    assert.equal(world.socket.asked('qr.watch'), undefined);
    assert.equal(world.clock.waiting, 0, 'nothing is left to look for');
  });

  test('is not looked for when it comes in time, nor when the login is given up', async () => {
    const { world, login, looks, pass } = await unheard();
    await pass(ROTATES_MS + BOUNDS.overdue_ms - 1);
    world.socket.say(ROTATED);
    await pass(ROTATES_MS + BOUNDS.overdue_ms - 1);
    assert.equal(looks().length, 0);
    login.cancel();
    await settle();
    await world.socket.ok('qr.cancel');
    await pass(60_000);
    assert.deepEqual([looks().length, world.clock.waiting], [0, 0]);
  });

  test('does not get an answer: asked for later; no longer known is the end', async () => {
    const { world, looks, pass, last } = await unheard();
    const answers = [new TypeError('fetch failed'), { status: 404, body: {} }, { body: {} }];
    world.answer('/v1/qr/q1', () => answers.shift() ?? { status: 404, body: { code: 'not_found' } });
    await pass(ROTATES_MS + BOUNDS.overdue_ms);
    for (let n = 1; n <= 3; n += 1) {
      assert.deepEqual([looks().length, last().state, last().transport], [n, 'waiting', 'websocket']);
      world.socket.say({ type: 'pong' });
      await pass(BOUNDS.overdue_ms);
    }
    assert.deepEqual([last().state, last().reason, world.clock.waiting], ['expired', 'lost', 0]);
  });
});

describe('after a scan', () => {
  const SCANNED_FIRST = { ...SCANNED, qr_id: 'q1', seq: 2 };
  const DENIED = { type: 'qr', qr_id: 'q1', seq: 3, state: 'denied', reason: 'user' };

  /** Scanned, and heard of. */
  async function scanned() {
    const here = await unheard();
    here.world.socket.say(SCANNED_FIRST);
    here.newest(SCANNED_FIRST);
    /** The socket lives, and brings nothing. */
    here.wait = async (ms) => {
      for (let left = ms; left > 0; left -= 1_000) {
        here.world.socket.say({ type: 'pong' });
        await here.pass(Math.min(left, 1_000));
      }
    };
    return here;
  }

  test('a tab that was told that another one watches sees the end a few seconds after it', async () => {
    const { world, login, looks, wait, newest, last } = await scanned();
    world.tell({ taken: 'q1' });
    await wait(BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().match.code], [1, '47']);
    newest(DENIED);
    await wait(BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().state, last().reason], [2, 'denied', 'user']);
    await assert.rejects(login.session, { code: 'denied' });
    assert.equal(world.clock.waiting, 0);
  });

  test('and so does one that was told while it waited', async () => {
    const { world, looks, pass, newest, last } = await unheard();
    world.tell({ taken: 'q1' });
    newest(SCANNED_FIRST);
    await pass(BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().state], [1, 'scanned']);
    newest(DENIED);
    await pass(BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().state], [2, 'denied']);
  });

  test('one that could not be told looks while the end is still known', async () => {
    const { looks, wait, newest, last } = await scanned();
    newest(DENIED);
    await wait(BOUNDS.scanned_look_ms);
    assert.deepEqual([looks().length, last().state, last().reason], [1, 'denied', 'user']);
  });

  test('a look that finds what was not heard says that another one watches', async () => {
    const { looks, wait, newest } = await scanned();
    newest({ ...SCANNED_FIRST, seq: 3, matched: true });
    await wait(BOUNDS.scanned_look_ms + 2 * BOUNDS.overdue_ms);
    assert.equal(looks().length, 3);
  });

  test('nobody else watches: not looked for, or rarely where a person takes long', async () => {
    const quick = await scanned();
    await quick.wait(BOUNDS.scanned_look_ms - 1_000);
    quick.world.socket.say(DENIED);
    await quick.wait(60_000);
    assert.equal(quick.looks().length, 0);

    const slow = await scanned();
    await slow.wait(SCANNED.expires_in_ms);
    assert.equal(slow.looks().length, SCANNED.expires_in_ms / BOUNDS.scanned_look_ms);
  });

  test('an event that is heard, and a watch that is taken back, end the looking', async () => {
    const { world, looks, pass, newest } = await unheard();
    newest(OPENED);
    for (const not_ours of [{ taken: 'q9' }, { taken: 7 }, {}, null]) world.tell(not_ours);
    await pass(BOUNDS.overdue_ms);
    assert.equal(looks().length, 0, 'somebody else\'s attempt');
    world.tell({ taken: 'q1' });
    world.socket.say({ ...ROTATED, rotate_in_ms: 60_000, expires_in_ms: 60_000 });
    await pass(2 * BOUNDS.overdue_ms);
    assert.equal(looks().length, 0, 'heard');

    assert.deepEqual(world.told, [], 'who opens an attempt takes its watch from nobody');
    world.tell({ taken: 'q2' });
    await world.socket.drop();
    await world.clock.advance(1_000);
    await world.greet();
    await world.socket.ok('qr.watch', { state: 'waiting', expires_in_ms: 60_000 });
    assert.deepEqual(world.told, [{ taken: 'q2' }]);
    await pass(2 * BOUNDS.overdue_ms);
    assert.equal(looks().length, 0, 'taken back');
  });
});

describe('a confirmation that somebody else is told', () => {
  test('is theirs to redeem: the end is told here, and their tokens are not asked for', async () => {
    const { world, login, looks, pass, newest, last } = await unheard();
    newest(CONFIRMED);
    await pass(ROTATES_MS + BOUNDS.overdue_ms);
    assert.deepEqual([looks().length, last().state], [1, 'waiting']);
    newest({ type: 'qr', qr_id: 'q2', seq: 5, state: 'redeemed' });
    await pass(BOUNDS.overdue_ms);
    await assert.rejects(login.session, { code: 'failed' });
    assert.deepEqual([last().reason, world.socket.asked('qr.redeem')], ['redeemed_elsewhere', undefined]);
  });

  test('and is left there by the next look: redeemed here', async () => {
    const { world, login, pass, newest } = await unheard();
    newest(CONFIRMED);
    await pass(ROTATES_MS + BOUNDS.overdue_ms);
    assert.equal(world.socket.asked('qr.redeem'), undefined);
    await pass(BOUNDS.overdue_ms);
    assert.equal((await world.socket.ok('qr.redeem', TOKENS)).ticket, 't1');
    assert.equal((await login.session).session, 's_1');
    login.client.close();
    assert.equal(world.clock.waiting, 0);
  });
});
