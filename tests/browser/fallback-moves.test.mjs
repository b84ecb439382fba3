import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { behind, climbs, goes_by, LONG_MS, phone_of, room_comes_back, signs_in } from './support/behind.mjs';
import { fresh } from './support/browser.mjs';
import { shows } from './support/eventually.mjs';
import { listen } from './support/said.mjs';
import { code_of, joined, number_of, scan, stage, type_number } from './support/stage.mjs';

/** A code that stays: what is looked at is the way, and each new code fetches a picture. */
const on = stage('[qr]\nrotate_ms = 300_000\n');

describe('the way changes in the middle', () => {
  test('the socket is cut for good while the code waits: goes on without, nothing lost', async (t) => {
    const { proxy, pc, forgive } = await behind(on, t, {});
    await goes_by(pc, 'websocket');
    const phone = await phone_of(on, pc);
    proxy.upgrade = 502;
    proxy.cut_sockets();
    await goes_by(pc, 'events', LONG_MS);
    await signs_in(pc, phone, 'Middle');
    await room_comes_back(pc, proxy);
    forgive();
  });

  test('the socket is cut after the scan: the number stays, the confirmation arrives', async (t) => {
    const { proxy, pc, forgive } = await behind(on, t, {});
    const phone = await phone_of(on, pc);
    const user_id = fresh('scanned');
    await scan(phone, user_id, 'Scanned');
    const number = await number_of(pc);
    const heard = await listen(pc, 'qr-announce');
    proxy.upgrade = 'hang';
    proxy.cut_sockets();
    await type_number(phone, number);
    await shows(phone.at('result-title'), /^Signed in on/, LONG_MS);
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
    assert.deepEqual((await heard()).slice(0, 2), [`Scanned scanned the code. Type ${number} on the phone.`, 'Confirmed. Signing in…']);
    forgive();
  });

  test('WebSockets come back: climbs, keeps the code, and is told the rest by the socket', async (t) => {
    const { proxy, pc, forgive } = await behind(on, t, { upgrade: 502 });
    await goes_by(pc, 'events', LONG_MS);
    const { url, qr_id } = await code_of(pc);
    const phone = await (await on.somebody()).tab(on.reach(url));
    await climbs(pc, proxy);
    await shows(pc.at('connection'), 'Connected');
    assert.equal((await code_of(pc)).qr_id, qr_id);
    const before = proxy.asked.length;
    await signs_in(pc, phone, 'Climbed');
    const after = proxy.asked.slice(before).filter((line) => line.includes('/v1/'));
    assert.deepEqual(after, [], 'everything by the socket');
    await joined(pc);
    forgive();
  });

  test('WebSockets come back, and nobody says so: the page dials again by itself, and keeps the code', async (t) => {
    const { proxy, pc, forgive } = await behind(on, t, { upgrade: 502 });
    await goes_by(pc, 'events', LONG_MS);
    const { qr_id } = await code_of(pc);
    // It waits 30 s at most between two.
    proxy.upgrade = 'pass';
    await goes_by(pc, 'websocket', LONG_MS);
    assert.equal((await code_of(pc)).qr_id, qr_id);
    await signs_in(pc, await phone_of(on, pc), 'Dialled');
    assert.equal(proxy.times(/^POST \/v1\/qr$/), 1);
    forgive();
  });

  test('up and down and up while the phone decides: one attempt, one claim, signed in', async (t) => {
    const { proxy, pc, forgive } = await behind(on, t, { upgrade: 400, events: 502 });
    await goes_by(pc, 'polling', LONG_MS);
    const phone = await phone_of(on, pc);
    await scan(phone, fresh('moving'), 'Moving');
    const number = await number_of(pc);
    await climbs(pc, proxy);
    proxy.upgrade = 400;
    proxy.events = 'pass';
    proxy.cut_sockets();
    await goes_by(pc, 'events', LONG_MS);
    await shows(pc.at('qr-number'), number);
    await type_number(phone, number);
    await pc.at('room').waitFor({ timeout: LONG_MS });
    assert.equal(proxy.times(/^POST \/v1\/qr$/), 1);
    forgive();
  });
});
