import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { behind, goes_by, LONG_MS, phone_of, POLL, room_comes_back, signs_in } from './support/behind.mjs';
import { fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { another, scan, stage } from './support/stage.mjs';

/** A code that stays, for each new one fetches a picture: how long the ways are tried is the machine's affair. */
const on = stage('[qr]\nrotate_ms = 300_000\n');

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

describe('neither gets through, and the PC types', () => {
  const typing = stage('[qr]\nmatch_mode = "pc_types"\n');

  test('a wrong answer is told with the tries left, the right one lets the phone confirm', async (t) => {
    const { pc, forgive } = await behind(typing, t, { upgrade: 502, events: 502 });
    await goes_by(pc, 'polling', LONG_MS);
    const phone = await phone_of(typing, pc);
    const user_id = fresh('typed');
    await scan(phone, user_id, 'Typed');
    const digits = await eventually(async () => {
      const shown = await phone.at('digits').innerText({ timeout: 1_000 });
      assert.match(shown, /^\d\d$/);
      return shown;
    });
    await pc.at('qr-answer').waitFor({ timeout: LONG_MS });
    const answer = async (typed) => {
      await pc.at('qr-answer-digits').fill(typed);
      await pc.page.keyboard.press('Enter');
    };
    await answer(another(digits));
    await shows(pc.at('qr-status'), /not the digits on the phone. 2 more tries/);
    await answer(digits);
    await shows(pc.at('qr-status'), 'Right. Now confirm on the phone.');
    await phone.at('choose-confirm').click();
    await pc.at('room').waitFor({ timeout: LONG_MS });
    await shows(pc.at('account-id'), user_id);
    forgive();
  });
});
