import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { behind, goes_by, LONG_MS, phone_of, POLL, room_comes_back, signs_in } from './support/behind.mjs';
import { stage } from './support/stage.mjs';

const on = stage();

describe('event streams do not get through either', () => {
  for (const [how, events] of [['held back', 'hold'], ['answered with 502', 502]]) {
    test(`${how}: by polling, at the allowed rate`, async (t) => {
      const { proxy, pc, forgive } = await behind(on, t, { upgrade: 400, events });
      await goes_by(pc, 'polling', LONG_MS);
      await signs_in(pc, await phone_of(on, pc), 'Polled');
      assert.ok(proxy.times(POLL) >= 2);
      assert.doesNotMatch(pc.requests.join('\n'), /\/v1\/qr\/[\w-]+\.svg[^]*\/v1\/qr\/[\w-]+\.svg/, 'one picture for one code');
      await room_comes_back(pc, proxy);
      forgive();
    });
  }

  test('the beginning comes through and nothing after: noticed in time for the confirmation', async (t) => {
    const { pc, forgive } = await behind(on, t, { upgrade: 400, events: 'first' });
    await goes_by(pc, 'events', LONG_MS);
    const phone = await phone_of(on, pc);
    await goes_by(pc, 'polling', LONG_MS);
    await signs_in(pc, phone, 'First');
    forgive();
  });
});
