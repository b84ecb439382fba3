import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { code_of, number_of, stage, type_number } from './support/stage.mjs';

/** Codes rotate often enough to be waited for. */
const on = stage('[qr]\nrotate_ms = 8_000\nlifetime_ms = 120_000\n');
/** Rotation, what is given for it to come late, and a busy machine. */
const LATE_MS = 60_000;
/** A tab that nobody told looks 30 s after the scan; one that was told, within 5 s. */
const SOON_MS = 25_000;

/** A tab with a code, and its copy, which has taken the watch over. */
async function duplicated() {
  const person = await on.somebody();
  const first = await person.tab(`${on.url}/?room=${fresh('chat:tabs')}`);
  await code_of(first);
  const { second, frames } = await copy_of(first, person);
  const taken = await code_of(second);
  took_over(frames);
  return { first, second, taken };
}

/** A tab that was scanned and shows the number, and its copy, which has taken the watch over. */
async function duplicated_late(word) {
  const person = await on.somebody();
  const first = await person.tab(`${on.url}/?room=${fresh('chat:tabs')}`);
  const phone = await scan_of(first, word);
  const number = await number_of(first);
  const { second, frames } = await copy_of(first, person);
  await shows(second.at('qr-number'), number);
  took_over(frames);
  return { first, second, phone, number };
}

async function copy_of(first, person) {
  const frames = [];
  person.context.on('page', (page) => page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => frames.push(payload))));
  // A window that a page opens gets a copy of its session storage, as a duplicated tab does.
  const [page] = await Promise.all([
    person.context.waitForEvent('page'),
    first.page.evaluate(() => { window.open(location.href); }),
  ]);
  return { second: { page, at: (id) => page.getByTestId(id) }, frames };
}

function took_over(frames) {
  assert.ok(frames.some((frame) => frame.includes('"qr.watch"')) && !frames.some((frame) => frame.includes('"qr.open"')), 'the same attempt');
}

/** A phone that is signed in and has scanned what the tab shows: at once, before that is another code. */
async function scan_of(tab, word) {
  const phone = await (await on.somebody()).tab(`${on.url}/q/${'A'.repeat(22)}`);
  await fill_account(phone, { user_id: fresh(word), name: word });
  await phone.at('in-front').waitFor();
  await phone.page.goto(on.reach((await code_of(tab)).url));
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  return phone;
}

test('both tabs show the code as it rotates, who scanned it, and the end', async () => {
  const { first, second, taken } = await duplicated();
  await eventually(async () => {
    const shown = (await code_of(first)).qr_id;
    assert.ok(shown !== taken.qr_id && shown === (await code_of(second)).qr_id);
  }, LATE_MS);
  const phone = await scan_of(first, 'Twice');
  const number = await number_of(second);
  await shows(first.at('qr-number'), number, LATE_MS);
  await shows(first.at('qr-who-name'), 'Twice');
  await phone.at('choose-deny').click();
  for (const tab of [second, first]) await shows(tab.at('qr-end'), 'Denied', LATE_MS);
});

test('one of them is signed in; the other says so and has a new code when asked', async () => {
  const { first, second } = await duplicated();
  const phone = await scan_of(second, 'One');
  await type_number(phone, await number_of(second));
  await second.at('room').waitFor();
  await shows(first.at('qr-end'), 'Signed in in another window', LATE_MS);
  assert.equal(await first.at('room').isVisible(), false);
  await phone.at('result-devices').click();
  await eventually(async () => assert.equal(await phone.at('device').count(), 2), LATE_MS);
  await first.at('qr-again').click();
  await code_of(first);
});

test('the copy is closed: the one that is left is signed in', async () => {
  const { first, second } = await duplicated();
  const phone = await scan_of(second, 'Left');
  const number = await number_of(second);
  await second.page.close();
  await shows(first.at('qr-number'), number, LATE_MS);
  await type_number(phone, number);
  await first.at('room').waitFor({ timeout: LATE_MS });
  await shows(phone.at('result-title'), /^Signed in on/);
});

test('taken over after the scan, and denied: the first one says so too', async () => {
  const { first, second, phone, number } = await duplicated_late('No');
  await shows(first.at('qr-number'), number);
  await phone.at('choose-deny').click();
  for (const tab of [second, first]) {
    await shows(tab.at('qr-end'), 'Denied', SOON_MS);
    assert.equal(await tab.at('qr-number').isVisible(), false);
  }
  await shows(first.at('qr-status'), /^The phone said no\./);
});

test('taken over after the scan, and signed in there: the first one says that it was in another window', async () => {
  const { first, second, phone, number } = await duplicated_late('Yes');
  await type_number(phone, number);
  await second.at('room').waitFor();
  await shows(first.at('qr-end'), 'Signed in in another window', SOON_MS);
  assert.equal(await first.at('room').isVisible(), false);
  await shows(phone.at('result-title'), /^Signed in on/);
});
