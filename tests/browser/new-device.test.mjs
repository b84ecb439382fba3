import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start_app } from './support/app.mjs';
import { fill_account, fresh, PASSWORD } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { faint, fits, watch_shifts } from './support/look.mjs';
import { listen } from './support/said.mjs';
import { joined, keys_of, raw_socket, said, say, stage } from './support/stage.mjs';

const on = stage('[clients.reader]\nname = "Reader"\nscopes = ["openid"]\n');
const NARROW = { width: 360, height: 740 };
/** More than a notice that passes would stand. */
const LATER_MS = 60_000;

/** Somebody new in a room of their own. */
async function here(word, options) {
  const person = await on.somebody(options);
  const room = fresh('chat:notice');
  const tab = await person.tab(`${on.url}/?room=${room}`);
  const user_id = fresh(word);
  await tab.at('password-open').click();
  await fill_account(tab, { user_id, name: word });
  await joined(tab);
  return { ...tab, person, room, user_id };
}

/** The same account, signed in somewhere else as a person does it. */
async function also(user_id) {
  const tab = await (await on.somebody()).tab(on.url);
  await tab.at('password-open').click();
  await fill_account(tab, { user_id });
  await tab.at('room').waitFor();
  return tab;
}

/** The same, without a browser. @returns {Promise<string>} the token */
async function signs_in(user_id, device) {
  const body = JSON.stringify({ user_id, password: PASSWORD, device });
  const answer = await fetch(`${on.url}/v1/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  assert.equal(answer.status, 200);
  return (await answer.json()).access_token;
}

const me = async (token, device) => (await fetch(`${on.url}/v1/me`, { headers: { Authorization: `Bearer ${token}`, 'Countersign-Device': device.id } })).status;
const stand = (tab, count) => eventually(async () => assert.equal(await tab.at('new-device').count(), count));
const focused = ({ page }) => page.evaluate(() => document.activeElement.dataset.testid ?? document.activeElement.tagName);

for (const [colorScheme, locale] of [['light', 'en-GB'], ['dark', 'zh-CN']]) {
  test(`who signed in and where stays told at 360 px until one tap ends that session, ${colorScheme}, ${locale}`, async () => {
    const zh = locale === 'zh-CN';
    const person = { viewport: NARROW, colorScheme, locale };
    const ann = await here('ann', person);
    // More than there is room for, and the newest in sight.
    const long = { text: 'line\n'.repeat(60) };
    await raw_socket(ann, [{ type: 'auth', ...await keys_of(ann) }, { type: 'join', room: ann.room }, { type: 'send', room: ann.room, body: long }]);
    await say(ann, 'the newest');
    await eventually(async () => assert.equal((await said(ann)).at(-1), 'the newest'));
    await ann.at('composer-text').fill('half a sent');
    // From here on its clock can be moved.
    await ann.page.clock.install();
    const heard = await listen(ann, 'new-devices-said');
    const shifts = await watch_shifts(ann);
    const places = () => Promise.all(['room-title', 'like', 'composer-text', 'composer-send'].map((id) => ann.at(id).boundingBox()));
    const before = await places();

    const other = await also(ann.user_id);
    await shows(ann.at('new-device-name'), 'Chrome on Linux');
    const notice = ann.at('new-device');
    assert.match(await notice.innerText(), zh ? /^您的账号有新的登录\s[\s\S]*浏览器 · 来自 127\.0\.0\.1 · \d+:\d\d/ : /^New sign-in to your account\s[\s\S]*browser · from 127\.0\.0\.1 · \d+:\d\d/);
    assert.deepEqual((await heard()).map((words) => words.includes('Chrome on Linux') && words.includes('127.0.0.1')), [true]);
    assert.equal(await ann.at('new-devices-said').getAttribute('role'), 'alert');

    // Nothing moved, nothing was taken from whoever writes, and the newest message is still in sight.
    assert.deepEqual(await places(), before);
    assert.deepEqual(await shifts(), []);
    assert.equal(await focused(ann), 'composer-text');
    const [newest, above] = [await ann.at('message-body').last().boundingBox(), await notice.boundingBox()];
    assert.ok(newest.y + newest.height <= above.y, `${newest.y} + ${newest.height} is below ${above.y}`);
    await fits(ann, 'notice');
    assert.deepEqual(await faint(ann), []);

    // What the page could have been waiting for has come by then.
    await ann.page.evaluate((ms) => { setTimeout(() => { window.later = true; }, ms - 1); }, LATER_MS);
    await ann.page.clock.fastForward(LATER_MS);
    assert.equal(await ann.page.evaluate(() => window.later), true);
    assert.equal(await notice.isVisible(), true);
    assert.equal(await other.at('room').isVisible(), true);

    await ann.at('new-device-end').click();
    await other.at('sign-in').waitFor();
    await shows(other.at('notice'), /ended elsewhere/);
    await shows(ann.at('new-device-done'), zh ? 'Chrome on Linux 已退出登录。' : 'Chrome on Linux is signed out.');
    assert.match((await heard()).at(-1), zh ? /修改密码/ : /change your password/);
    assert.deepEqual(await faint(ann), []);
    await ann.at('new-device-close').click();
    await ann.at('new-devices').waitFor({ state: 'hidden' });
    assert.deepEqual(await places(), before);
    assert.equal(await ann.at('composer-text').inputValue(), 'half a sent');
  });
}

test('by keyboard: reached before the message field, dismissed one after the other, the focus goes back', async () => {
  const ben = await here('ben');
  await signs_in(ben.user_id, { id: fresh('tv'), name: 'Living room', kind: 'tv' });
  await signs_in(ben.user_id, { id: fresh('pc') });
  await stand(ben, 2);
  assert.deepEqual(await ben.at('new-device-name').allInnerTexts(), ['Unnamed device', 'Living room']);
  await ben.at('composer-text').focus();
  await ben.page.keyboard.press('Shift+Tab');
  assert.equal(await focused(ben), 'new-device-mine');
  // Each button says of which sign-in it is.
  const about = await ben.at('new-device-mine').last().getAttribute('aria-describedby');
  assert.match(await ben.page.locator(`#${about}`).innerText(), /Living room\s+TV · from 127\.0\.0\.1/);
  await ben.page.keyboard.press('Enter');
  await stand(ben, 1);
  assert.equal(await focused(ben), 'new-device');
  await ben.page.keyboard.press('Tab');
  assert.equal(await focused(ben), 'new-device-end');
  await ben.page.keyboard.press('Tab');
  await ben.page.keyboard.press('Space');
  await stand(ben, 0);
  assert.equal(await ben.at('new-devices').isVisible(), false);
  assert.equal(await focused(ben), 'composer-text');
});

test('many at once: three stand, the others are counted and are in the list of devices', async () => {
  const cleo = await here('cleo', { viewport: NARROW });
  const devices = Array.from({ length: 5 }, (_, n) => ({ id: fresh('many'), name: `Device ${n}`, kind: 'other' }));
  const tokens = [];
  for (const device of devices) tokens.push(await signs_in(cleo.user_id, device));
  await shows(cleo.at('new-devices-earlier').locator('p'), '2 more new sign-ins, before these.');
  assert.deepEqual(await cleo.at('new-device-name').allInnerTexts(), ['Device 4', 'Device 3', 'Device 2']);
  await fits(cleo, 'many');
  // There is room to read and to write all the same.
  const [list, room, composer] = await Promise.all(['new-devices', 'messages', 'composer'].map((id) => cleo.at(id).boundingBox()));
  assert.ok(list.height <= NARROW.height / 2 && room.height > 100 && composer.y + composer.height <= NARROW.height, JSON.stringify([list, room, composer]));

  // The session that is ended is the one of its notice.
  await cleo.at('new-device-end').nth(1).click();
  await shows(cleo.at('new-device-done'), 'Device 3 is signed out.');
  assert.deepEqual(await Promise.all(tokens.map((token, n) => me(token, devices[n]))), [200, 200, 200, 401, 200]);

  await cleo.at('new-devices-look').click();
  await eventually(async () => assert.equal(await cleo.at('device').count(), 5));
  await cleo.at('devices-close').click();
  assert.equal(await cleo.at('new-devices-earlier').count(), 0);
  await stand(cleo, 3);

  // They are this account's: whoever comes next is not told.
  await cleo.at('sign-out').click();
  await cleo.at('password-open').click();
  await fill_account(cleo, { user_id: fresh('dan'), name: 'Dan' });
  await joined(cleo);
  await stand(cleo, 0);
});

test('an app that was let in is told by its name, and is ended the same way', async () => {
  const eve = await here('eve');
  const phone = await (await on.somebody()).tab(`${on.url}/q`);
  const app = await start_app(on.url, { client_id: 'reader', scope: 'openid', device_name: 'Living room', device_kind: 'tv' });
  await fill_account(phone, { user_id: eve.user_id });
  await phone.at('typed-code').fill(app.user_code);
  await phone.at('type-code-send').click();
  await phone.at('choose-confirm').click();
  await app.tokens();
  await stand(eve, 2);
  const notice = eve.at('new-device').first();
  await shows(notice.getByTestId('new-device-name'), 'Reader on Living room');
  await notice.getByTestId('new-device-end').click();
  await shows(eve.at('new-device-done'), 'Reader on Living room is signed out.');
  await eve.at('devices-open').click();
  await eventually(async () => assert.deepEqual(await eve.at('device-app').count(), 0));
});

test('an end that is refused says why and can be tried again; one whose answer is lost is one', async () => {
  const fay = await here('fay');
  const device = { id: fresh('lost'), name: 'Lost', kind: 'pc' };
  const token = await signs_in(fay.user_id, device);
  await stand(fay, 1);
  const path = '**/v1/sessions/*';
  await fay.person.context.route(path, (route) => route.fulfill({ status: 403, json: { code: 'not_allowed' } }));
  const heard = await listen(fay, 'new-devices-said');
  await fay.at('new-device-end').focus();
  await fay.page.keyboard.press('Enter');
  await shows(fay.at('new-device-error'), 'That did not work: you may not do that here.');
  assert.equal((await heard()).at(-1), 'That did not work: you may not do that here.');
  assert.equal(await focused(fay), 'new-device-end');
  assert.equal(await me(token, device), 200);

  await fay.person.context.unroute(path);
  let asked = 0;
  await fay.person.context.route(path, async (route) => {
    asked += 1;
    const answer = await route.fetch();
    if (asked === 1) await route.abort('connectionreset');
    else await route.fulfill({ response: answer });
  });
  await fay.page.keyboard.press('Enter');
  await shows(fay.at('new-device-done'), 'Lost is signed out.');
  assert.equal(asked, 2);
  assert.equal(await me(token, device), 401);
  assert.equal(await focused(fay), 'new-device-close');
  fay.person.faults.splice(0, fay.person.faults.length, ...fay.person.faults.filter((fault) => !/ERR_CONNECTION_RESET/.test(fault)));
});
