import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

/** The gateway may be tried for a while at longer and longer intervals before it is found again. */
const LONG_MS = 60_000;

/** The wire comes back, and the page is told to look at once. */
async function mend(proxy, pc) {
  proxy.mend();
  await pc.page.evaluate(() => dispatchEvent(new Event('online')));
}

/** What a browser writes about a dead wire is no fault of the page. */
const forgive = (person) => {
  const kept = person.faults.filter((fault) => !/net::ERR_/.test(fault));
  person.faults.splice(0, person.faults.length, ...kept);
};

describe('everything between PC and gateway is cut', () => {
  const on = stage();

  async function behind_a_wire() {
    const proxy = await on.proxy();
    const person = await on.somebody();
    const pc = await person.tab(`${proxy.url}/?room=${fresh('chat:lost')}`);
    const code = await code_of(pc);
    const phone = await (await on.somebody()).tab(on.reach(code.url));
    return { proxy, person, pc, phone, ...code };
  }

  test('while it waits: the scan that nobody could tell is told when it is back', async () => {
    const { proxy, person, pc, phone } = await behind_a_wire();
    proxy.cut();
    await shows(pc.at('connection'), 'Reconnecting…');
    const user_id = fresh('waiting');
    await scan(phone, user_id, 'Waiting');
    await shows(pc.at('qr-status'), /^Waiting for a phone/);
    await mend(proxy, pc);
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor({ timeout: LONG_MS });
    await shows(pc.at('account-id'), user_id);
    forgive(person);
  });

  test('while it is scanned: the denial that nobody could tell is told when it is back', async () => {
    const { proxy, person, pc, phone } = await behind_a_wire();
    await scan(phone, fresh('scanned'), 'Scanned');
    await number_of(pc);
    proxy.cut();
    await shows(pc.at('connection'), 'Reconnecting…');
    await phone.at('choose-deny').click();
    await shows(phone.at('result-title'), 'Denied');
    await mend(proxy, pc);
    await shows(pc.at('qr-end'), 'Denied', LONG_MS);
    forgive(person);
  });

  test('while it waits, and the gateway is replaced meanwhile: the code is over, and a new one is offered', async () => {
    const { proxy, person, pc, qr_id } = await behind_a_wire();
    // The gateway is another one when the wire is mended: it knows nothing of the code.
    proxy.cut();
    await shows(pc.at('connection'), 'Reconnecting…');
    await on.replace();
    await mend(proxy, pc);
    await shows(pc.at('qr-end'), 'Expired', LONG_MS);
    await pc.at('qr-again').click();
    await eventually(async () => assert.notEqual((await code_of(pc)).qr_id, qr_id));
    forgive(person);
  });
});

describe('the socket is lost', () => {
  const on = stage();

  test('when it is confirmed: the wish for the tokens never left, and leaves with the next one', async () => {
    const person = await on.somebody();
    let lost = 0;
    await person.context.routeWebSocket(/\/v1\/ws$/, (near) => {
      const far = near.connectToServer();
      near.onMessage((frame) => {
        if (!frame.includes('"qr.redeem"') || lost === 2) return far.send(frame);
        lost += 1;
        return near.close({ code: 1011 });
      });
    });
    const pc = await person.tab(`${on.url}/?room=${fresh('chat:lost')}`);
    const phone = await (await on.somebody()).tab(on.reach((await code_of(pc)).url));
    const user_id = fresh('confirmed');
    await scan(phone, user_id, 'Confirmed');
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor({ timeout: LONG_MS });
    await shows(pc.at('account-id'), user_id);
    await shows(phone.at('result-title'), /^Signed in on/);
    assert.equal(lost, 2);
  });
});

describe('a code rotates while somebody signs in on the phone', () => {
  const on = stage('[qr]\nrotate_ms = 19_000\n');

  test('once: what the phone opened still works, and the PC shows who scanned', async () => {
    const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:rotated')}`);
    const { url, qr_id } = await code_of(pc);
    const phone = await (await on.somebody()).tab(on.reach(url));
    const user_id = fresh('rotated');
    await phone.at('account-form').waitFor();
    await eventually(async () => {
      assert.notEqual(await pc.at('qr-image').getAttribute('data-qr-id', { timeout: 1_000 }), qr_id);
    }, LONG_MS);
    await fill_account(phone, { user_id, name: 'Rotated' });
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    await shows(pc.at('qr-who-name'), 'Rotated');
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
  });

  test('twice: it says to scan again, nothing has happened, and the newest one works', async () => {
    const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:rotated')}`);
    const { url, qr_id } = await code_of(pc);
    const phone = await (await on.somebody()).tab(on.reach(url));
    await phone.at('account-form').waitFor();
    const seen = new Set([qr_id]);
    while (seen.size < 3) {
      await eventually(async () => {
        const now = await pc.at('qr-image').getAttribute('data-qr-id', { timeout: 1_000 });
        assert.ok(!seen.has(now));
        seen.add(now);
      }, LONG_MS);
    }
    const user_id = fresh('rotated');
    await fill_account(phone, { user_id, name: 'Rotated' });
    await phone.at('in-front').click();
    await shows(phone.at('result-title'), 'This code is no longer valid');
    await shows(pc.at('qr-status'), /^Waiting/);
    await phone.page.goto(on.reach((await code_of(pc)).url));
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
  });
});
