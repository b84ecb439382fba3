import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { behind, goes_by, LONG_MS, phone_of, POLL, room_comes_back, signs_in } from './support/behind.mjs';
import { fresh } from './support/browser.mjs';
import { shows } from './support/eventually.mjs';
import { listen } from './support/said.mjs';
import { number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage();

describe('WebSockets do not get through', () => {
  for (const [how, upgrade] of [
    ['answered with 400', 400], ['answered with 502', 502], ['never answered', 'hang'],
    ['cut before the first frame', 'cut'], ['open and silent', 'mute'],
  ]) {
    test(`the upgrade is ${how}: by an event stream from the code to the session`, async (t) => {
      const { proxy, pc, forgive } = await behind(on, t, { upgrade });
      await goes_by(pc, 'events', LONG_MS);
      await shows(pc.at('connection'), 'Connected over HTTP');
      await signs_in(pc, await phone_of(on, pc), 'Around');
      const until = proxy.asked.slice(0, proxy.asked.findIndex((line) => /redeem$/.test(line)));
      assert.deepEqual(until.filter((line) => POLL.test(line)), []);
      assert.equal(proxy.times(/^POST \/v1\/qr$/), 1);
      assert.equal(proxy.times(/^POST .*redeem$/), 1);
      await room_comes_back(pc, proxy);
      forgive();
    });
  }

  test('the same words in the same order as by a socket, each once', async (t) => {
    const { pc, forgive } = await behind(on, t, { upgrade: 502 });
    await goes_by(pc, 'events', LONG_MS);
    const phone = await phone_of(on, pc);
    const heard = await listen(pc, 'qr-announce');
    await scan(phone, fresh('aloud'), 'Aloud');
    const number = await number_of(pc);
    await phone.at('choose-deny').click();
    await shows(pc.at('qr-end'), 'Denied');
    assert.deepEqual(await heard(), [
      'Waiting for a phone to scan the code.',
      `Aloud scanned the code. Type ${number} on the phone.`,
      'Denied. The phone said no. If that was a slip, start again with a new code.',
    ]);
    // And another one, the same way.
    await pc.at('qr-again').click();
    await signs_in(pc, await phone_of(on, pc), 'Second');
    forgive();
  });

  test('cancelled on the PC: the phone is told', async (t) => {
    const { pc, forgive } = await behind(on, t, { upgrade: 400 });
    const phone = await phone_of(on, pc);
    await scan(phone, fresh('cancel'), 'Cancel');
    await number_of(pc);
    await pc.at('qr-cancel').click();
    await shows(pc.at('qr-end'), 'Cancelled');
    await shows(phone.at('result-title'), 'Cancelled on the other screen');
    forgive();
  });

  test('a reload takes the code up where it was', async (t) => {
    const { pc, forgive } = await behind(on, t, { upgrade: 502 });
    const phone = await phone_of(on, pc);
    await scan(phone, fresh('reload'), 'Reload');
    const number = await number_of(pc);
    await pc.page.reload();
    await shows(pc.at('qr-number'), number, LONG_MS);
    await type_number(phone, number);
    await pc.at('room').waitFor({ timeout: LONG_MS });
    forgive();
  });
});
