import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { KEY, TOP } from './support/console.mjs';
import { shows } from './support/eventually.mjs';
import { code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage('', TOP);

/** What an operator does. @param {'lock' | 'unlock'} verb */
async function operator(verb, user_id) {
  const answer = await fetch(`${on.operator}/users/${user_id}/${verb}`, { method: 'POST', headers: { Authorization: `Bearer ${KEY}` } });
  assert.equal(answer.status, 200);
}

/** A PC, and a phone that has scanned its code. */
async function scanned(word, options) {
  const pc = await (await on.somebody()).tab(on.url);
  const { url } = await code_of(pc);
  const person = await on.somebody(options);
  const phone = await person.tab(on.reach(url));
  const user_id = fresh(word);
  await scan(phone, user_id, word);
  return { pc, person, phone, user_id };
}

describe('an account that an operator has locked', () => {
  test('while its phone decides: both screens say so, and signing in again says why it cannot', async () => {
    const { pc, phone, user_id } = await scanned('decides');
    await operator('lock', user_id);
    await shows(phone.at('result-title'), 'This account is locked');
    await shows(phone.at('result-text'), /ask them\.$/);
    await shows(pc.at('qr-end'), 'Denied');

    await phone.at('result-again').click();
    await fill_account(phone, { user_id, password: 'not the password at all' });
    await shows(phone.at('account-error'), 'User id or password is wrong.');
    await fill_account(phone, { user_id });
    await shows(phone.at('account-error'), 'This account is locked. Ask the people who run this service.');
    await operator('unlock', user_id);
    await fill_account(phone, { user_id });
    await phone.at('in-front').waitFor();
  });

  test('confirm is what tells it, and the next scan where nothing was scanned', async () => {
    const { pc, person, phone, user_id } = await scanned('confirms');
    // The page that asks how it ends is not answered, and hears of the lock by its own call.
    await person.context.route('**/outcome', () => {});
    await phone.page.reload();
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    const second = await person.tab(phone.page.url());
    await fill_account(second, { user_id });
    await second.at('in-front').waitFor();
    const number = await number_of(pc);
    await operator('lock', user_id);
    await type_number(phone, number);
    await shows(phone.at('result-title'), 'This account is locked');
    await second.at('in-front').click();
    await shows(second.at('result-title'), 'This account is locked');
    await pc.at('qr-end').waitFor();
    assert.equal(await pc.at('room').isVisible(), false);
  });

  test('in Chinese', async () => {
    const { phone, user_id } = await scanned('zhongwen', { locale: 'zh-CN' });
    await operator('lock', user_id);
    await shows(phone.at('result-title'), '此账号已被锁定');
    await phone.at('result-again').click();
    await fill_account(phone, { user_id });
    await shows(phone.at('account-error'), '此账号已被锁定，请联系服务的管理者。');
  });
});

describe('where accounts are given', () => {
  const closed = stage('[accounts]\nopen_registration = false\n');

  test('who makes one is told to ask', async () => {
    const { at } = await (await closed.somebody()).tab(closed.url);
    await at('password-open').click();
    await fill_account({ at }, { user_id: fresh('newcomer'), name: 'Newcomer' });
    await shows(at('account-error'), /^New accounts are not open to everybody here/);
  });
});
