import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { code_of, guest, number_of, said, say, stage, type_number } from './support/stage.mjs';

/** The id in the picture on the PC, once it is another one than these. */
function next_picture(pc, ...seen) {
  return eventually(async () => {
    const id = await pc.at('qr-image').getAttribute('data-qr-id', { timeout: 1_000 });
    assert.ok(!seen.includes(id));
    return id;
  });
}

/** Scans the code the PC shows by now; one that rotated out under way is left for the next. */
function scan_newest(on, pc, phone) {
  return eventually(async () => {
    await phone.page.goto(on.reach((await code_of(pc)).url));
    await phone.at('in-front').click();
    await phone.page.locator('#step-request:visible, #step-result:visible').waitFor();
    assert.equal(await phone.at('confirm').getAttribute('data-step'), 'request');
  });
}

describe('codes that rotate', () => {
  const on = stage('[qr]\nlifetime_ms = 60_000\nrotate_ms = 4_000\n');

  test('the PC shows each new code on the socket it has; one rotated out is dead, the newest signs in', async () => {
    const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:rotate')}`);
    await shows(pc.at('qr-time'), /new picture in [1-4] s$/);
    // From here on the picture is never taken away.
    const first = await next_picture(pc);
    await pc.page.evaluate(() => {
      window.pictures = [];
      const note = () => window.pictures.push(document.querySelectorAll('#qr-picture img').length);
      new MutationObserver(note).observe(document.getElementById('qr-picture'), { childList: true });
    });
    const second = await next_picture(pc, first);
    await next_picture(pc, first, second);
    assert.deepEqual(new Set(await pc.page.evaluate(() => window.pictures)), new Set([1]));

    // Somebody photographed the first one.
    const user_id = fresh('late');
    const phone = await (await on.somebody()).tab(`${on.url}/q/${first}`);
    await fill_account(phone, { user_id, name: 'Late' });
    await phone.at('in-front').click();
    await shows(phone.at('result-title'), 'This code is no longer valid');
    // How long codes live is configured, and the page does not know it: it names no time.
    await shows(phone.at('result-text'), /^A code is good for a short time only\D*Use the one that the other screen shows now\.$/);

    await scan_newest(on, pc, phone);
    const number = await number_of(pc);
    // Scanned: no more rotation.
    assert.doesNotMatch(await pc.at('qr-time').innerText(), /new picture/);
    await type_number(phone, number);
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
    assert.equal(pc.sockets.length, 1);
    // One picture for each code, and no other request.
    const asked = pc.requests.filter((request) => request.includes(' /v1/'));
    assert.deepEqual(asked.filter((request) => !/^GET \/v1\/qr\/[\w-]{22}\.svg$/.test(request)), []);
    assert.equal(new Set(asked).size, asked.length);
  });

  test('a page that missed rotation and scan finds both after a reload', async () => {
    const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:rotate')}`);
    const first = await next_picture(pc);
    const kept = await pc.page.evaluate(() => sessionStorage.getItem('countersign.attempt'));
    const phone = await (await on.somebody()).tab(`${on.url}/q/${first}`);
    const user_id = fresh('away');
    await fill_account(phone, { user_id, name: 'Away' });
    await phone.at('in-front').waitFor();
    await next_picture(pc, first);
    await scan_newest(on, pc, phone);
    const number = await number_of(pc);
    await pc.page.evaluate((before) => sessionStorage.setItem('countersign.attempt', before), kept);
    await pc.page.reload();
    assert.equal(await number_of(pc), number);
    await type_number(phone, number);
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
  });
});

describe('waits that end', () => {
  const on = stage('[qr]\nlifetime_ms = 15_000\nrotate_ms = 3_000\nscanned_ms = 8_000\n');

  test('a code nobody scans rotates, expires, and a new one is offered on both sides', async () => {
    const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:expire')}`);
    const first = await next_picture(pc);
    const second = await next_picture(pc, first);
    await next_picture(pc, first, second);
    const size = await pc.at('qr').boundingBox();
    await shows(pc.at('qr-end'), 'Expired');
    await shows(pc.at('qr-status'), /^Nobody scanned this code in time/);
    assert.equal((await pc.at('qr').boundingBox()).height, size.height, 'the card keeps its size');
    assert.equal(await pc.at('qr-image').isVisible(), false);
    assert.equal(await pc.at('qr-url').getAttribute('href'), null);
    const last = await pc.at('qr-image').getAttribute('data-qr-id');

    const phone = await (await on.somebody()).tab(`${on.url}/q/${last}`);
    const user_id = fresh('expire');
    await fill_account(phone, { user_id, name: 'Expire' });
    await phone.at('in-front').click();
    await shows(phone.at('result-title'), 'This code ran out of time');

    await pc.at('qr-again').click();
    await next_picture(pc, last);
    await scan_newest(on, pc, phone);
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
    assert.equal(pc.sockets.length, 1);
  });

  test('scanned and not confirmed in time: both sides say so', async () => {
    const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:expire')}`);
    const phone = await (await on.somebody()).tab(on.reach((await code_of(pc)).url));
    await fill_account(phone, { user_id: fresh('slow'), name: 'Slow' });
    await phone.at('in-front').waitFor();
    await scan_newest(on, pc, phone);
    await number_of(pc);
    await shows(pc.at('qr-end'), 'Expired');
    await shows(pc.at('qr-status'), /did not confirm in time/);
    await shows(phone.at('result-title'), 'Not confirmed in time');
    assert.equal(await pc.at('room').isVisible(), false);
  });
});

describe('tokens that run out', () => {
  const on = stage('[tokens]\naccess_ms = 8_000\nexpiring_ms = 6_000\n');

  test('a page renews its own and stays on the socket it has', async () => {
    const room = fresh('chat:renew');
    const ann = await guest(on, 'ann', { room });
    const renewals = () => ann.requests.filter((request) => request === 'POST /v1/refresh').length;
    const sockets = ann.sockets.length;
    const once = renewals();
    // Twice more: the first token has long been over then.
    await eventually(() => assert.ok(renewals() >= once + 2, `${renewals()} renewals`));
    await say(ann, 'still here');
    await eventually(async () => assert.deepEqual(await said(ann), ['still here']));
    assert.equal(ann.sockets.length, sockets);
    await shows(ann.at('connection'), 'Connected');
  });
});
