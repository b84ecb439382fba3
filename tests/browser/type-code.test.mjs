import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { faint, fits } from './support/look.mjs';
import { stage } from './support/stage.mjs';

const on = stage();
const NARROW = { width: 360, height: 740 };
/** Wrong codes that an account may type (`limits.user_code_account_rate`). */
const WRONG_MAX = 5;

/** The page where codes are typed, signed in. */
async function typing(word, options, path = '/q') {
  const person = await on.somebody(options);
  const phone = await person.tab(on.url + path);
  const user_id = fresh(word);
  await fill_account(phone, { user_id, name: word });
  await phone.at('type-code').waitFor();
  return { ...phone, person, user_id };
}

const value_of = (phone) => phone.at('typed-code').inputValue();
const asked = (phone) => phone.requests.filter((request) => request === 'POST /v1/qr/scan').length;

test('it is under the policy of the confirm page, asks for a sign-in first, and begins at its heading', async () => {
  const phone = await (await on.somebody()).tab(`${on.url}/q`);
  const other = await (await on.somebody()).tab(`${on.url}/q/AAAAAAAAAAAAAAAAAAAAAA`);
  for (const header of ['content-security-policy', 'x-frame-options', 'referrer-policy', 'x-content-type-options', 'cache-control']) {
    assert.ok(phone.answer.headers()[header], header);
    assert.equal(phone.answer.headers()[header], other.answer.headers()[header], header);
  }
  await shows(phone.at('sign-in-why'), /^Sign in here first\. Then you type the code/);
  await shows(other.at('sign-in-why'), /^Sign in here first\. Nothing happens to the code/);
  assert.equal(await phone.at('type-code').isVisible(), false);
  await fill_account(phone, { user_id: fresh('first'), name: 'First' });
  await phone.at('type-code').waitFor();
  assert.match(await phone.page.evaluate(() => `${document.activeElement.tagName} ${document.activeElement.textContent}`), /^H1 Type the code/);
  assert.deepEqual(phone.requests.filter((request) => request.includes('/v1/qr')), []);
});

test('nothing in the address fills the field', async () => {
  const phone = await typing('prefill', {}, '/q?user_code=BCDF-GHJK#user_code=BCDF-GHJK');
  assert.equal(await value_of(phone), '');
  assert.equal(asked(phone), 0);
});

test('the field groups the letters while they are typed, deleted and pasted, and the caret stays where it is', async () => {
  const phone = await typing('format');
  const keys = async (...names) => { for (const name of names) await phone.page.keyboard.press(name); };
  const caret = () => phone.at('typed-code').evaluate((field) => field.selectionStart);
  for (const [name, expected] of Object.entries({
    inputmode: 'text', autocomplete: 'off', autocapitalize: 'characters', spellcheck: 'false',
  })) assert.equal(await phone.at('typed-code').getAttribute(name), expected, name);

  await phone.at('typed-code').focus();
  await phone.page.keyboard.type('bcdf');
  assert.equal(await value_of(phone), 'BCDF');
  await phone.page.keyboard.type('-gh jk');
  assert.equal(await value_of(phone), 'BCDF-GHJK');
  await keys('Backspace', 'Backspace', 'Backspace', 'Backspace');
  assert.equal(await value_of(phone), 'BCDF');
  await phone.page.keyboard.type('ghjk');
  // In the middle: a letter out, another one in, over the hyphen in either direction.
  await keys('Home', 'ArrowRight', 'Delete');
  assert.deepEqual([await value_of(phone), await caret()], ['BDFG-HJK', 1]);
  await phone.page.keyboard.type('c');
  assert.deepEqual([await value_of(phone), await caret()], ['BCDF-GHJK', 2]);
  await keys('ArrowRight', 'ArrowRight', 'Delete');
  assert.deepEqual([await value_of(phone), await caret()], ['BCDF-GHJK', 5]);
  await keys('Delete');
  assert.deepEqual([await value_of(phone), await caret()], ['BCDF-HJK', 5]);
  await keys('Backspace', 'Backspace');
  assert.deepEqual([await value_of(phone), await caret()], ['BCDH-JK', 3]);

  // Pasted, as it was copied from wherever.
  for (const pasted of ['bcdf ghjk', ' BCDF-GHJK\n', 'b c d f – g h j k']) {
    await phone.at('typed-code').fill('');
    await phone.page.evaluate((words) => {
      document.getElementById('typed-code').focus();
      document.execCommand('insertText', false, words);
    }, pasted);
    assert.equal(await value_of(phone), 'BCDF-GHJK', pasted);
  }
});

test('an input method is left alone until it is done', async () => {
  const phone = await typing('composed');
  const wire = await phone.person.context.newCDPSession(phone.page);
  await phone.at('typed-code').focus();
  await wire.send('Input.imeSetComposition', { text: 'ｂｃｄｆｇ', selectionStart: 5, selectionEnd: 5 });
  assert.equal(await value_of(phone), 'ｂｃｄｆｇ');
  await wire.send('Input.insertText', { text: 'ｂｃｄｆｇ' });
  await eventually(async () => assert.equal(await value_of(phone), 'BCDF-G'));
});

test('what can be no code is told in its place and costs no try; the field says that it is wrong', async () => {
  const phone = await typing('incomplete', { viewport: NARROW });
  const places = () => Promise.all(['typed-code', 'type-code-send', 'code-not-mine'].map((id) => phone.at(id).boundingBox()));
  const before = await places();
  for (const typed of ['', 'bcdf-gh', 'bcdf-gho0']) {
    await phone.at('typed-code').fill(typed);
    await phone.page.keyboard.press('Enter');
    await shows(phone.at('code-error'), 'That is not a whole code. It has eight letters: no vowels, no digits.');
    assert.equal(await phone.at('typed-code').getAttribute('aria-invalid'), 'true');
    assert.equal(await phone.page.evaluate(() => document.activeElement.id), 'typed-code');
    assert.equal(await phone.at('code-error').getAttribute('role'), 'alert');
  }
  assert.equal(await value_of(phone), 'BCDF-GHO0', 'what was typed is there to be put right');
  assert.deepEqual(await places(), before, 'an error moves nothing away from the finger');
  assert.equal(asked(phone), 0);
  await phone.page.keyboard.type('b');
  assert.equal(await phone.at('typed-code').getAttribute('aria-invalid'), null);
});

test('a code that nobody has is told; after some of them it has to wait, and is told how long', async () => {
  const phone = await typing('wrong', { viewport: NARROW });
  const places = () => Promise.all(['typed-code', 'type-code-send'].map((id) => phone.at(id).boundingBox()));
  const before = await places();
  for (let tried = 1; tried <= WRONG_MAX; tried += 1) {
    await phone.at('typed-code').fill(`zzzz zzz${'BCDFG'[tried - 1]}`);
    await phone.at('type-code-send').click();
    await eventually(() => assert.equal(asked(phone), tried));
    await shows(phone.at('code-error'), 'There is no such code. It ran out of time, or a letter is wrong: compare it with the device.');
    assert.equal(await phone.at('typed-code').getAttribute('aria-invalid'), 'true');
    // All of it is selected: what is typed next takes its place.
    assert.deepEqual(await phone.at('typed-code').evaluate((field) => [field.selectionStart, field.selectionEnd]), [0, 9]);
  }
  await phone.at('type-code-send').click();
  await shows(phone.at('code-error'), /^Too many tries\. Wait, then try again\. You can try again in (\d+ s|\d+ minutes)\.$/);
  assert.deepEqual(await places(), before, 'an error moves nothing away from the finger');
  assert.equal(await value_of(phone), 'ZZZZ-ZZZG');
});

test('somebody who was told a code can stop; nothing was asked', async () => {
  const phone = await typing('stop');
  await phone.at('typed-code').fill('bcdfghjk');
  await phone.at('code-not-mine').click();
  await shows(phone.at('result-title'), 'Nothing happened');
  await shows(phone.at('result-text'), /do not do what they say\.$/);
  assert.equal(asked(phone), 0);
});

test('without a network it says so, and what was typed is still there', async () => {
  const phone = await typing('offline');
  await phone.at('typed-code').fill('bcdfghjk');
  await phone.person.context.setOffline(true);
  await phone.at('type-code-send').click();
  await shows(phone.at('code-error'), /^The gateway did not answer\./);
  await phone.person.context.setOffline(false);
  await phone.at('type-code-send').click();
  await shows(phone.at('code-error'), /^There is no such code\./);
  assert.equal(await value_of(phone), 'BCDF-GHJK');
  const told = phone.person.faults.splice(0);
  assert.deepEqual(told.filter((fault) => !/ERR_INTERNET_DISCONNECTED/.test(fault)), []);
});

test('a session that ended elsewhere: signed in again, what was typed is still there', async () => {
  const phone = await typing('ended');
  const other = await (await on.somebody()).tab(on.url);
  await other.at('password-open').click();
  await fill_account(other, { user_id: phone.user_id });
  await other.at('devices-open').click();
  await other.at('devices-end-others').click();
  await other.at('device-yes').click();
  await shows(other.at('devices-status'), 'All other devices are signed out.');
  await phone.at('typed-code').fill('bcdfghjk');
  await phone.at('type-code-send').click();
  await phone.at('step-sign-in').waitFor();
  await fill_account(phone, { user_id: phone.user_id });
  await phone.at('type-code').waitFor();
  assert.equal(await value_of(phone), 'BCDF-GHJK');
});

for (const [locale, title] of [['en-GB', 'Type the code that the device shows'], ['zh-CN', '请输入设备上显示的代码']]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`it fits 360 px and can be read, ${locale}, ${colorScheme}`, async () => {
      const phone = await typing('look', { viewport: NARROW, locale, colorScheme });
      await shows(phone.page.locator('#step-code h1'), title);
      const nameless = await phone.page.locator('#step-code').locator('button, input').evaluateAll((all) => all
        .filter((at) => !at.textContent.trim() && ![...(at.labels ?? [])].some((label) => label.textContent)).length);
      assert.equal(nameless, 0);
      await phone.at('typed-code').fill('wwww-mmm');
      await phone.at('type-code-send').click();
      await eventually(async () => assert.notEqual(await phone.at('code-error').innerText(), ''));
      await fits(phone, 'type a code');
      assert.deepEqual(await faint(phone), []);
      const { scroll, client } = await phone.at('typed-code').evaluate((field) => {
        field.value = 'WWWW-MMMM';
        return { scroll: field.scrollWidth, client: field.clientWidth };
      });
      assert.ok(scroll <= client, `the widest code is ${scroll} px wide in ${client}`);
    });
  }
}

test('by keyboard alone: to the field, to both buttons', async () => {
  const phone = await typing('keys');
  const stops = [];
  for (let stop = 0; stop < 3; stop += 1) {
    await phone.page.keyboard.press('Tab');
    const { id, seen } = await phone.page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { id: document.activeElement.dataset.testid, seen: outlineStyle !== 'none' && outlineWidth !== '0px' };
    });
    assert.ok(seen, `the focus on ${id} cannot be seen`);
    stops.push(id);
  }
  assert.deepEqual(stops, ['typed-code', 'type-code-send', 'code-not-mine']);
});
