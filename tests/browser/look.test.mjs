import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { fits } from './support/look.mjs';
import { code_of, number_of, stage, type_number } from './support/stage.mjs';

const on = stage();
const NARROW = { width: 360, height: 740 };

for (const locale of ['en-GB', 'zh-CN']) {
  test(`nothing is wider than 360 px, on either side of a login, ${locale}`, async () => {
    const pc = await (await on.somebody({ viewport: NARROW, locale })).tab(`${on.url}/?room=${fresh('chat:narrow')}`);
    const { url } = await code_of(pc);
    const height = (await pc.at('qr').boundingBox()).height;
    await fits(pc, 'code');
    const phone = await (await on.somebody({ viewport: NARROW, locale })).tab(on.reach(url));
    await fits(phone, 'sign in');
    await fill_account(phone, { user_id: fresh('narrow'), name: 'A name that is about as long as names are let be' });
    await phone.at('in-front').waitFor();
    await fits(phone, 'ready');
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    await fits(phone, 'request');
    const number = await number_of(pc);
    await fits(pc, 'number');
    assert.equal((await pc.at('qr').boundingBox()).height, height, 'the card keeps its size');
    await type_number(phone, number);
    await phone.at('result-end').waitFor();
    await fits(phone, 'result');
    await pc.at('room').waitFor();
    await fits(pc, 'room');
    for (const tab of [pc, phone]) {
      await tab.at('devices-open').click();
      await eventually(async () => assert.equal(await tab.at('device').count(), 2));
      await fits(tab, 'devices');
      await tab.at('device-end').last().click();
      await fits(tab, 'question');
    }
  });
}

test('Chinese by the browser, another language by the switch, kept for the next page', async () => {
  const person = await on.somebody({ locale: 'zh-CN' });
  const pc = await person.tab(on.url);
  const { url } = await code_of(pc);
  assert.equal(await pc.page.locator('html').getAttribute('lang'), 'zh-Hans');
  await shows(pc.at('qr-status'), '等待手机扫描二维码。');
  const phone = await (await on.somebody({ locale: 'zh-TW' })).tab(on.reach(url));
  await fill_account(phone, { user_id: fresh('zh'), name: '李雷' });
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  const number = await number_of(pc);
  await shows(pc.at('qr-status'), `李雷 已扫描二维码。 请在手机上输入 ${number}。`);

  // The switch loads the page again; the code is where it was.
  await shows(pc.at('language-en'), 'English');
  await pc.at('language-en').click();
  await shows(pc.at('qr-status'), `李雷 scanned the code. Type ${number} on the phone.`);
  assert.equal(await pc.page.locator('html').getAttribute('lang'), 'en');
  await type_number(phone, number);
  await shows(phone.at('result-title'), /^已在 Chrome on Linux 上登录$/);
  await pc.at('room').waitFor();
  const again = await person.tab(on.url);
  await shows(again.at('language-zh-Hans'), '中文');
});

test('without scripts a page says so, in both languages', async () => {
  const person = await on.somebody({ javaScriptEnabled: false });
  for (const path of ['/', '/q', `/q/${'A'.repeat(22)}`]) {
    const { page } = await person.tab(on.url + path);
    for (const [lang, words] of [['en', 'This page needs JavaScript.'], ['zh-Hans', '此页面需要 JavaScript。']]) {
      await shows(page.locator(`.notice [lang="${lang}"]`), words);
    }
  }
});

test('the ring runs down with the time', async () => {
  const pc = await (await on.somebody({ colorScheme: 'dark' })).tab(on.url);
  await code_of(pc);
  const left = () => pc.page.locator('#qr-ring-left').getAttribute('stroke-dasharray').then(parseFloat);
  const first = await left();
  assert.ok(first > 0);
  await eventually(async () => assert.ok(await left() < first));
  await pc.at('qr-cancel').click();
  await shows(pc.at('qr-end'), 'Cancelled');
  assert.notEqual(await pc.at('qr-ring').getAttribute('data-off'), null);
});

test('who scanned is shown with their picture, which is told nothing about this page', async () => {
  const pc_person = await on.somebody();
  let asked = null;
  await pc_person.context.route('https://pictures.invalid/**', (route) => {
    asked = route.request().headers();
    return route.fulfill({ contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>' });
  });
  const pc = await pc_person.tab(on.url);
  const { url } = await code_of(pc);
  const phone = await (await on.somebody()).tab(on.reach(url));
  const user_id = fresh('pictured');
  await phone.page.evaluate(async (id) => {
    const body = { user_id: id, password: 'correct horse battery staple', name: 'Pictured', avatar: 'https://pictures.invalid/me.svg' };
    const answer = await fetch('/v1/accounts', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    if (answer.status !== 201) throw new Error(`${answer.status}`);
  }, user_id);
  await fill_account(phone, { user_id });
  await phone.at('in-front').click();
  await number_of(pc);
  const image = pc.at('qr-who').locator('img');
  await eventually(async () => assert.equal(await image.evaluate((img) => img.complete && img.naturalWidth), 9));
  assert.equal(asked.referer, undefined);
});
