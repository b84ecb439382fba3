import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { start_app } from './support/app.mjs';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { faint, fits } from './support/look.mjs';
import { code_of, number_of, stage, type_number } from './support/stage.mjs';

const NARROW = { width: 360, height: 740 };
/** What would run if a page took it for markup. */
const MARKUP = '<img src=x onerror=alert(1)>';
const SCOPE = '<script>alert(1)</script>';

/** The page of a registered client, on an origin of its own. */
const site = createServer((_, answer) => {
  answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>A shop</title><link rel="icon" href="data:,">');
}).listen(0, '127.0.0.1');
await once(site, 'listening');
after(() => new Promise((resolve) => { site.close(resolve).closeAllConnections(); }));
const SHOP = `http://127.0.0.1:${site.address().port}`;

const on = stage(`
[clients.reader]
name = "Reader"
scopes = ["openid", "profile", "notes.read"]
[clients.shop]
name = "Shop"
origins = ["${SHOP}"]
[clients.picky]
name = "Picky"
users = ["somebody-else"]
[clients.odd]
name = '${MARKUP}'
scopes = ["${SCOPE}"]
[clients.long]
name = "An app with a name that is as long as the names of apps may bee"
scopes = ["openid", "profile", "a.scope.of.this.service.that.is.as.long.as.scopes.may.be.at.all1"]
`);

const TV = { client_id: 'reader', scope: 'openid profile notes.read', device_name: 'Living room', device_kind: 'tv' };

/** Somebody signed in where codes are typed. */
async function person_at(path, word, options) {
  const person = await on.somebody(options);
  const phone = await person.tab(on.url + path);
  const user_id = fresh(word);
  await fill_account(phone, { user_id, name: word });
  return { ...phone, person, user_id };
}

async function type_code(phone, user_code) {
  await phone.at('typed-code').fill(user_code);
  await phone.at('type-code-send').click();
}

/** An app, and a phone on which its code has been typed. */
async function typed(word, form = TV, { device, ...options } = {}) {
  const app = await start_app(on.url, form, device);
  const phone = await person_at('/q', word, options);
  await type_code(phone, app.user_code);
  await phone.at('step-request').waitFor();
  return { app, phone };
}

const wants = (phone) => phone.at('want').allInnerTexts();
const refused = async (answer, code) => assert.deepEqual([(await answer).status, (await answer).body.error], [400, code]);
/** Once it is not asked too often. */
const comes_to = (app, code) => eventually(() => refused(app.token(), code));

test('a code that is typed: who asks and for what, nothing more to type, the app is signed in, its session can be ended', async () => {
  const app = await start_app(on.url, TV);
  assert.match(app.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
  assert.match(app.verification_uri, /\/q$/);
  const phone = await person_at(new URL(app.verification_uri).pathname, 'typed');
  // As people type it.
  await type_code(phone, ` ${app.user_code.toLowerCase().replace('-', ' ')} `);
  await phone.at('step-request').waitFor();
  await shows(phone.at('who-asks'), 'Reader asks to sign in as you');
  assert.equal(await phone.page.evaluate(() => document.activeElement.id), 'who-asks');
  assert.deepEqual(await wants(phone), ['know who you are', 'see your name and picture', 'do what it calls “notes.read”']);
  await shows(phone.at('fact-device'), 'Living room (TV)');
  for (const id of ['number', 'user-code', 'digits']) assert.equal(await phone.at(id).isVisible(), false, id);
  const [yes, no] = await Promise.all(['choose-confirm', 'choose-deny'].map((id) => phone.at(id).boundingBox()));
  assert.deepEqual([yes.width, yes.height], [no.width, no.height]);
  await refused(app.token(), 'authorization_pending');

  await phone.at('choose-confirm').click();
  await shows(phone.at('result-title'), /^Confirmed – waiting/);
  const tokens = await app.tokens();
  await shows(phone.at('result-title'), 'Reader is signed in');
  const told = await fetch(`${on.url}/oauth/userinfo`, { headers: { Authorization: `Bearer ${tokens.access_token}` } });
  assert.deepEqual(await told.json(), { sub: phone.user_id, name: 'typed' });

  await phone.at('result-end').click();
  await shows(phone.at('result-title'), 'That session is ended');
  await refused(app.refresh(tokens.refresh_token), 'invalid_grant');
  // Another one can be typed.
  await phone.at('result-code').click();
  await phone.at('type-code').waitFor();
  assert.equal(new URL(phone.page.url()).pathname, '/q');
});

test('a code that is scanned: the letters are typed to confirm, a wrong one is told and can be put right', async () => {
  const app = await start_app(on.url, TV);
  const phone = await person_at(new URL(app.verification_uri_complete).pathname, 'scanned', { viewport: NARROW });
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  await shows(phone.at('who-asks'), 'Reader asks to sign in as you');
  assert.equal(await phone.at('number').isVisible(), false);
  const wrong = app.user_code.slice(0, 8) + (app.user_code.endsWith('B') ? 'C' : 'B');
  const confirm = async (letters) => {
    await phone.at('user-code').fill(letters);
    await phone.at('choose-confirm').click();
  };
  // On the page: it may have been scrolled to the field.
  const buttons = () => phone.page.evaluate(() => ['user-code', 'choose-confirm', 'choose-deny']
    .map((id) => document.getElementById(id).getBoundingClientRect()).map(({ left, top }) => [left, Math.round(top + scrollY)]));
  const places = await buttons();
  await confirm('bcd');
  await shows(phone.at('decide-error'), 'The code is missing. Type the eight letters on the other screen: no vowels, no digits.');
  await confirm(wrong.toLowerCase());
  await shows(phone.at('decide-error'), 'That is not the code. Compare the letters with the other screen again. 2 more tries.');
  assert.deepEqual(await buttons(), places, 'an error moves no button away from the finger');
  assert.equal(await phone.at('user-code').inputValue(), wrong);
  assert.equal(await phone.at('user-code').getAttribute('aria-invalid'), 'true');
  assert.equal(await phone.page.evaluate(() => document.activeElement.id), 'user-code');
  await confirm(app.user_code.replace('-', '').toLowerCase());
  await app.tokens();
  await shows(phone.at('result-title'), 'Reader is signed in');
  assert.equal(await phone.at('result-code').isVisible(), false);
});

test('three wrong codes end it', async () => {
  const app = await start_app(on.url, TV);
  const phone = await person_at(new URL(app.verification_uri_complete).pathname, 'guess');
  await phone.at('in-front').click();
  await phone.at('user-code').waitFor();
  const wrong = app.user_code.slice(0, 8) + (app.user_code.endsWith('B') ? 'C' : 'B');
  for (const left of [/2 more tries/, /One more try/]) {
    await phone.at('user-code').fill(wrong);
    await phone.at('choose-confirm').click();
    await shows(phone.at('decide-error'), left);
  }
  await phone.at('choose-confirm').click();
  await shows(phone.at('result-title'), 'Denied: three wrong codes');
  await comes_to(app, 'access_denied');
});

test('denied: nobody is signed in, and another code can be typed', async () => {
  const { app, phone } = await typed('deny');
  await phone.at('choose-deny').click();
  await shows(phone.at('result-title'), 'Denied');
  await shows(phone.at('result-text'), 'Reader was not signed in.');
  assert.equal(await phone.at('result-code').isVisible(), true);
  await comes_to(app, 'access_denied');
});

test('a device of this service: the phone is told that it could do everything, and it can', async () => {
  const device = fresh('tv');
  const { app, phone } = await typed('full', { ...TV, scope: 'openid' }, { device });
  assert.deepEqual(await wants(phone), ['do everything here that your own devices can', 'know who you are']);
  await phone.at('choose-confirm').click();
  const { access_token } = await app.tokens();
  const me = await fetch(`${on.url}/v1/me`, { headers: { Authorization: `Bearer ${access_token}`, 'Countersign-Device': device } });
  assert.equal((await me.json()).user.id, phone.user_id);
});

test('who asks for nothing is said to learn who it is', async () => {
  const { phone } = await typed('nothing', { client_id: 'reader' });
  assert.deepEqual(await wants(phone), ['know your user id, and nothing else']);
  await shows(phone.at('fact-device'), /^unnamed/);
});

test('the list of devices names the app, and signs it out', async () => {
  const { app, phone } = await typed('listed');
  await phone.at('choose-confirm').click();
  const tokens = await app.tokens();
  await shows(phone.at('result-title'), 'Reader is signed in');
  await phone.at('result-devices').click();
  await eventually(async () => assert.equal(await phone.at('device').count(), 2));
  const row = phone.at('device').filter({ has: phone.at('device-app') });
  await shows(row.getByTestId('device-name'), 'Reader on Living room app');
  assert.match(await row.innerText(), /TV · from 127\.0\.0\.1/);
  assert.equal(await phone.at('device-app').count(), 1);
  assert.equal(await row.getByTestId('device-end').getAttribute('aria-label'), 'Sign out Reader on Living room');
  await row.getByTestId('device-end').click();
  await phone.at('device-yes').click();
  await shows(phone.at('devices-status'), 'Reader on Living room is signed out.');
  await eventually(async () => assert.equal(await phone.at('device').count(), 1));
  await refused(app.refresh(tokens.refresh_token), 'invalid_grant');
});

test('a reload goes on where it was, while it is decided and when it is confirmed', async () => {
  const { app, phone } = await typed('reload');
  await phone.page.reload();
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  // It has been typed: that is not asked for again.
  assert.equal(await phone.at('user-code').isVisible(), false);
  await phone.at('choose-confirm').click();
  await shows(phone.at('result-title'), /^Confirmed – waiting/);
  await phone.page.reload();
  await shows(phone.at('result-title'), /^Confirmed – waiting/);
  await app.tokens();
  await shows(phone.at('result-title'), 'Reader is signed in');
});

test('somebody else was first; a code that ended is none', async () => {
  const { app, phone } = await typed('first');
  const late = await person_at('/q', 'late');
  await type_code(late, app.user_code);
  await shows(late.at('code-error'), /^Somebody else used this code first\./);
  await phone.at('choose-deny').click();
  await shows(phone.at('result-title'), 'Denied');
  await type_code(late, app.user_code);
  await shows(late.at('code-error'), /^(There is no such code|This code is used up)\./);
});

test('an account that the app does not admit is told so, typed or scanned', async () => {
  const app = await start_app(on.url, { client_id: 'picky' });
  const phone = await person_at('/q', 'denied');
  await type_code(phone, app.user_code);
  await shows(phone.at('result-title'), 'Not allowed');
  await shows(phone.at('result-text'), /^The people who run this service do not let this account sign in to this app\./);
  await phone.page.goto(on.reach(app.verification_uri_complete));
  await phone.at('in-front').click();
  await shows(phone.at('result-title'), 'Not allowed');
});

test('what a client and its device call themselves is text, wherever it stands', async () => {
  const form = { client_id: 'odd', scope: SCOPE, device_name: MARKUP };
  const { app, phone } = await typed('odd', form);
  const harmless = async () => {
    const made = await phone.page.evaluate(() => document.querySelectorAll('main img, main script, dialog img, dialog script, [onerror]').length);
    assert.equal(made, 0);
  };
  await shows(phone.at('who-asks'), `${MARKUP} asks to sign in as you`);
  assert.deepEqual(await wants(phone), [`do what it calls “${SCOPE}”`]);
  await shows(phone.at('fact-device'), `${MARKUP} (other)`);
  await harmless();
  await phone.at('choose-confirm').click();
  await app.tokens();
  await shows(phone.at('result-title'), `${MARKUP} is signed in`);
  await harmless();
  await phone.at('result-devices').click();
  const row = phone.at('device').filter({ has: phone.at('device-app') });
  await shows(row.getByTestId('device-name'), `${MARKUP} on ${MARKUP} app`);
  await harmless();
  await row.getByTestId('device-end').click();
  await phone.at('device-yes').click();
  await shows(phone.at('devices-status'), `${MARKUP} on ${MARKUP} is signed out.`);
  await harmless();
});

for (const colorScheme of ['light', 'dark']) {
  test(`long names fit 360 px and can be read, ${colorScheme}`, async () => {
    const scope = 'openid profile a.scope.of.this.service.that.is.as.long.as.scopes.may.be.at.all1';
    const form = { client_id: 'long', scope, device_name: 'a-device-with-a-name-that-is-as-long-as-the-names-of-devices-are' };
    const { app, phone } = await typed('long', form, { viewport: NARROW, colorScheme });
    await fits(phone, 'request');
    assert.deepEqual(await faint(phone), []);
    await phone.at('choose-confirm').click();
    await app.tokens();
    await shows(phone.at('result-title'), /is signed in$/);
    await fits(phone, 'result');
    assert.deepEqual(await faint(phone), []);
    await phone.at('result-devices').click();
    await phone.at('device-app').waitFor();
    await fits(phone, 'devices');
    assert.deepEqual(await faint(phone), []);
  });
}

test('in Chinese', async () => {
  const { app, phone } = await typed('zh', TV, { locale: 'zh-CN', viewport: NARROW });
  await shows(phone.at('who-asks'), 'Reader 请求以您的身份登录');
  assert.deepEqual(await wants(phone), ['知道您是谁', '看到您的名称和头像', '进行它称为“notes.read”的操作']);
  await fits(phone, 'request');
  await phone.at('choose-confirm').click();
  await app.tokens();
  await shows(phone.at('result-title'), 'Reader 已登录');
  await phone.at('result-devices').click();
  await shows(phone.at('device').filter({ has: phone.at('device-app') }).getByTestId('device-name'), 'Living room 上的 Reader 应用');
});

/** A page of the shop that asks for a code in this client's name. */
async function shop_page(clientId) {
  const page = await (await on.somebody()).tab(SHOP);
  await page.page.evaluate(async ([gateway, id]) => {
    const { qrLogin } = await import(`${gateway}/assets/client.js`);
    window.views = [];
    const login = qrLogin({ clientId: id, device: { name: 'Its till', kind: 'pc' }, onChange: (view) => window.views.push(view) });
    window.ended = login.session.then(({ user }) => user.id, (error) => `${error.code} ${error.body.reason}`);
  }, [on.url, clientId]);
  const view = (state) => eventually(async () => {
    const last = await page.page.evaluate(() => window.views.at(-1));
    assert.equal(last.state, state);
    return last;
  });
  return { ...page, view, ended: () => page.page.evaluate(() => window.ended) };
}

test('qrLogin in the name of a client: the phone is shown which, and that it could do everything', async () => {
  const shop = await shop_page('shop');
  const { url } = await shop.view('waiting');
  const phone = await person_at(new URL(url).pathname, 'shopper');
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  await shows(phone.at('who-asks'), 'Shop asks to sign in as you');
  assert.deepEqual(await wants(phone), ['do everything here that your own devices can']);
  await type_number(phone, (await shop.view('scanned')).match.code);
  await shows(phone.at('result-title'), 'Shop is signed in');
  assert.equal(await shop.ended(), phone.user_id);
  await phone.at('result-devices').click();
  await shows(phone.at('device').filter({ has: phone.at('device-app') }).getByTestId('device-name'), 'Shop on Its till app');
});

test('qrLogin in the name of a client that is not that page’s fails for good', async () => {
  for (const id of ['reader', 'nobody']) {
    const shop = await shop_page(id);
    assert.equal(await shop.ended(), 'failed not_allowed');
    await shop.view('failed');
  }
});

test('whoever asks in no name is no app: the phone is told of a device, and of nothing else', async () => {
  const pc = await (await on.somebody()).tab(on.url);
  const phone = await person_at(new URL((await code_of(pc)).url).pathname, 'plain');
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
  await shows(phone.at('who-asks'), 'This device asks to be signed in as you');
  assert.equal(await phone.at('wants').isVisible(), false);
  await type_number(phone, await number_of(pc));
  await shows(phone.at('result-title'), /^Signed in on /);
  await phone.at('result-devices').click();
  await eventually(async () => assert.equal(await phone.at('device').count(), 2));
  assert.equal(await phone.at('device-app').count(), 0);
});
