import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { listen } from './support/said.mjs';
import { code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage();

/** Of a command on the page's connection that the page did not make. */
const FOREIGN_ID = 1_000_000;

/** What the phone's last page offers. @returns {Promise<string[]>} */
const offered = async (phone) => {
  const ids = ['result-again', 'result-code', 'result-end', 'result-devices', 'result-room'];
  const seen = await Promise.all(ids.map((id) => phone.at(id).isVisible()));
  return ids.filter((_, n) => seen[n]);
};

test('another code is asked for on the connection of the PC: it says that the shown one is replaced, and gets a new one', async () => {
  const person = await on.somebody();
  let ask = null;
  await person.context.routeWebSocket(/\/v1\/ws$/, (near) => {
    const far = near.connectToServer();
    near.onMessage((frame) => {
      const { type, device } = JSON.parse(frame);
      if (type === 'qr.open') ask = () => far.send(JSON.stringify({ id: FOREIGN_ID, type, device }));
      far.send(frame);
    });
    far.onMessage((frame) => near.send(frame));
  });
  const pc = await person.tab(`${on.url}/?room=${fresh('chat:overtaken')}`);
  const { url, qr_id } = await code_of(pc);
  const phone = await (await on.somebody()).tab(on.reach(url));
  await scan(phone, fresh('replaced'), 'Replaced');
  await number_of(pc);
  const heard = await listen(pc, 'qr-announce');
  ask();
  await shows(pc.at('qr-end'), 'Cancelled');
  await shows(pc.at('qr-status'), 'A newer code has taken its place. Nobody was signed in.');
  assert.equal((await heard()).at(-1), 'Cancelled. A newer code has taken its place. Nobody was signed in.');
  await shows(phone.at('result-title'), 'The other screen shows a newer code');
  await shows(phone.at('result-text'), 'Nobody was signed in with this one. Use the new code.');

  await pc.at('qr-again').click();
  const again = await eventually(async () => {
    const code = await code_of(pc);
    assert.notEqual(code.qr_id, qr_id);
    return code;
  });
  await phone.page.goto(on.reach(again.url));
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  await type_number(phone, await number_of(pc));
  await pc.at('room').waitFor();
});

test('the code was opened again in another window of the phone: the first one is out of date, and starts again', async () => {
  const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:overtaken')}`);
  const { url } = await code_of(pc);
  const person = await on.somebody();
  const first = await person.tab(on.reach(url));
  const user_id = fresh('windows');
  await scan(first, user_id, 'Windows');
  const number = await number_of(pc);
  // A window that a page opens gets a copy of its session storage, as a duplicated tab does.
  const [page] = await Promise.all([
    person.context.waitForEvent('page'),
    first.page.evaluate(() => { window.open(location.href); }),
  ]);
  const second = { page, at: (id) => page.getByTestId(id) };
  await second.at('in-front').click();
  await second.at('step-request').waitFor();

  await type_number(first, number);
  await shows(first.at('result-title'), 'This page is out of date');
  await shows(first.at('result-text'), 'The code was opened again in another window or by another sign-in. Go on there, or start again here.');
  assert.deepEqual(await offered(first), ['result-again']);
  await shows(first.at('result-again'), 'Start again');
  // It cost no try, and the PC shows what it showed.
  await shows(pc.at('qr-number'), number);

  await first.at('result-again').click();
  await first.at('in-front').click();
  await first.at('step-request').waitFor();
  // Now the other one is.
  await second.at('choose-deny').click();
  await shows(second.at('result-title'), 'This page is out of date');
  await type_number(first, number);
  await shows(first.at('result-title'), /^Signed in on/);
  await pc.at('room').waitFor();
  await shows(pc.at('account-id'), user_id);
});

test('a code that has signed a device in: whoever scans it is told that it is used, and what there is instead', async () => {
  const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:overtaken')}`);
  const { url } = await code_of(pc);
  const late = await (await on.somebody()).tab(on.reach(url));
  await fill_account(late, { user_id: fresh('late'), name: 'Late' });
  await late.at('in-front').waitFor();
  const phone = await (await on.somebody()).tab(on.reach(url));
  await scan(phone, fresh('used'), 'Used');
  await type_number(phone, await number_of(pc));
  await shows(phone.at('result-title'), /^Signed in on/);

  await late.at('in-front').click();
  await shows(late.at('result-title'), 'Already used');
  await shows(late.at('result-text'), 'This code has signed in a device. To sign in another, get a new code there.');
  assert.equal(await late.at('step-result').getAttribute('data-kind'), 'bad');
  // Its device is somebody else's: there is nothing here to end it with.
  assert.deepEqual(await offered(late), ['result-devices', 'result-room']);
  await late.at('result-devices').click();
  await eventually(async () => assert.equal(await late.at('device').count(), 1));
});
