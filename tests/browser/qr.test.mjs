import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { another, code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage();

/** A PC that shows a code, and a phone on which its address was opened. */
async function pc_and_phone({ url = on.url, pc_person } = {}) {
  const pc = await (pc_person ?? (await on.somebody())).tab(`${url}/?room=${fresh('chat:qr')}`);
  const code = await code_of(pc);
  const phone = await (await on.somebody()).tab(on.reach(code.url));
  return { pc, phone, ...code };
}

test('three wrong numbers end it on both sides', async () => {
  const { pc, phone } = await pc_and_phone();
  await scan(phone, fresh('wrong'), 'Wrong');
  const wrong = another(await number_of(pc));
  await type_number(phone, wrong);
  await shows(phone.at('decide-error'), /2 more tries/);
  await type_number(phone, wrong);
  await shows(phone.at('decide-error'), /One more try/);
  await type_number(phone, wrong);
  await shows(phone.at('result-title'), 'Denied: three wrong numbers');
  await shows(pc.at('qr-end'), 'Denied');
  await shows(pc.at('qr-status'), /wrong number/);
});

test('a missing number is asked for and is not a try', async () => {
  const { pc, phone } = await pc_and_phone();
  await scan(phone, fresh('missing'), 'Missing');
  const number = await number_of(pc);
  await type_number(phone, '');
  await shows(phone.at('decide-error'), /number is missing/);
  await type_number(phone, another(number));
  await shows(phone.at('decide-error'), /2 more tries/);
});

test('denied on the phone: the PC says so and offers a new code, which works', async () => {
  const { pc, phone, qr_id } = await pc_and_phone();
  const user_id = fresh('deny');
  await scan(phone, user_id, 'Deny');
  await number_of(pc);
  await phone.at('choose-deny').click();
  await shows(phone.at('result-title'), 'Denied');
  await shows(pc.at('qr-end'), 'Denied');
  assert.equal(await pc.at('room').isVisible(), false);

  await pc.at('qr-again').click();
  const second = await eventually(async () => {
    const code = await code_of(pc);
    assert.notEqual(code.qr_id, qr_id);
    return code;
  });
  await phone.page.goto(on.reach(second.url));
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  await type_number(phone, await number_of(pc));
  await pc.at('room').waitFor();
  await shows(pc.at('account-id'), user_id);
  assert.equal(pc.sockets.length, 1);
});

test('cancelled on the PC: the phone, which was deciding, is told at once', async () => {
  const { pc, phone } = await pc_and_phone();
  await scan(phone, fresh('cancel'), 'Cancel');
  await number_of(pc);
  await pc.at('qr-cancel').click();
  await shows(pc.at('qr-end'), 'Cancelled');
  await shows(phone.at('result-title'), 'Cancelled on the other screen');
  assert.equal(await pc.at('room').isVisible(), false);
});

test('an address that is no code, or no longer one, is explained', async () => {
  const phone = await (await on.somebody()).tab(`${on.url}/q/AAAAAAAAAAAAAAAAAAAAAA`);
  await fill_account(phone, { user_id: fresh('nocode'), name: 'No Code' });
  await phone.at('in-front').click();
  await shows(phone.at('result-title'), 'This code is no longer valid');
  await shows(phone.at('result-text'), /Use the one that the other screen shows now\.$/);
});

test('somebody who was sent the code can stop without anything happening', async () => {
  const { pc, phone } = await pc_and_phone();
  await fill_account(phone, { user_id: fresh('stop'), name: 'Stop' });
  await phone.at('not-in-front').click();
  await shows(phone.at('result-title'), 'Nothing happened');
  assert.deepEqual(phone.requests.filter((request) => request.includes('/v1/qr/')), []);
  await shows(pc.at('qr-status'), /^Waiting/);
});

test('wrong password and taken user id are told at the form', async () => {
  const { phone } = await pc_and_phone();
  const user_id = fresh('taken');
  await fill_account(phone, { user_id, name: 'Taken' });
  await phone.at('in-front').waitFor();
  await phone.at('sign-out').click();
  await phone.at('step-sign-in').waitFor();
  await fill_account(phone, { user_id, password: 'not the password at all' });
  await shows(phone.at('account-error'), /wrong/);
  await fill_account(phone, { user_id, name: 'Again' });
  await shows(phone.at('account-error'), /taken/);
  await fill_account(phone, { user_id });
  await phone.at('in-front').waitFor();
});

test('the wire is cut between scan and confirmation: the PC still ends signed in', async () => {
  const proxy = await on.proxy();
  const { pc, phone } = await pc_and_phone({ url: proxy.url });
  const user_id = fresh('cut');
  await scan(phone, user_id, 'Cut');
  const number = await number_of(pc);
  proxy.cut();
  await shows(pc.at('connection'), 'Reconnecting…');
  await type_number(phone, number);
  await shows(phone.at('result-title'), /^Confirmed/);
  proxy.mend();
  await pc.at('room').waitFor();
  await shows(phone.at('result-title'), /^Signed in on/);
  await shows(pc.at('account-id'), user_id);
  await shows(pc.at('connection'), 'Connected');
});

test('the answer to redeem is lost: it is asked for again and the PC is signed in', async () => {
  const pc_person = await on.somebody();
  let redeems = 0;
  await pc_person.context.routeWebSocket(/\/v1\/ws$/, (near) => {
    const far = near.connectToServer();
    let lost = false;
    near.onMessage((frame) => {
      if (frame.includes('"qr.redeem"')) lost = ++redeems === 1;
      far.send(frame);
    });
    far.onMessage((frame) => {
      if (!lost) near.send(frame);
      else near.close({ code: 1011 });
    });
  });
  const { pc, phone } = await pc_and_phone({ pc_person });
  const user_id = fresh('lost');
  await scan(phone, user_id, 'Lost');
  await type_number(phone, await number_of(pc));
  await shows(phone.at('result-title'), /^Signed in on/);
  await pc.at('room').waitFor();
  await shows(pc.at('account-id'), user_id);
  assert.equal(redeems, 2);
});

test('a reload of the PC takes the code up where it was', async () => {
  const { pc, phone } = await pc_and_phone();
  const user_id = fresh('reload');
  await scan(phone, user_id, 'Reload');
  const number = await number_of(pc);
  await pc.page.reload();
  assert.equal(await number_of(pc), number);
  await type_number(phone, number);
  await pc.at('room').waitFor();
  await shows(pc.at('account-id'), user_id);
});
