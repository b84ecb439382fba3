import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { guest, joined, keys_of, raw_socket, said, say, stage } from './support/stage.mjs';

const on = stage();

const sees = (tab, texts) => eventually(async () => assert.deepEqual(await said(tab), texts));
const people = (tab) => tab.at('member').evaluateAll((all) => all.map((one) => one.dataset.userId).toSorted());

test('people come and go: counts and member list follow', async () => {
  const room = fresh('chat:counts');
  const ann = await guest(on, 'ann', { room });
  await shows(ann.at('count-viewers'), '1');
  await shows(ann.at('count-members'), '1');
  const ben = await guest(on, 'ben', { room });
  await shows(ann.at('count-viewers'), '2');
  await shows(ann.at('count-members'), '2');
  await eventually(async () => assert.deepEqual(await people(ann), [ann.user_id, ben.user_id].toSorted()));
  await eventually(async () => assert.deepEqual(await people(ben), [ann.user_id, ben.user_id].toSorted()));
  // A second window of the same person is one more viewer and no more members.
  const second = await ben.person.context.newPage();
  await second.goto(`${on.url}/?room=${room}`);
  await second.getByTestId('password-open').click();
  await second.getByTestId('account-user').fill(ben.user_id);
  await second.getByTestId('account-password').fill('correct horse battery staple');
  await second.getByTestId('account-submit').click();
  await shows(ann.at('count-viewers'), '3');
  await shows(ann.at('count-members'), '2');
  await second.close();
  await shows(ann.at('count-viewers'), '2');
  await ben.page.close();
  await shows(ann.at('count-viewers'), '1');
  await shows(ann.at('count-members'), '1');
  await eventually(async () => assert.deepEqual(await people(ann), [ann.user_id]));
});

test('everybody reads the same in the same order, with the sender the gateway vouches for', async () => {
  const room = fresh('chat:both');
  const ann = await guest(on, 'ann', { room });
  const ben = await guest(on, 'ben', { room });
  await say(ann, 'one');
  await sees(ben, ['one']);
  await say(ben, 'two');
  await sees(ann, ['one', 'two']);
  await sees(ben, ['one', 'two']);
  for (const tab of [ann, ben]) {
    assert.deepEqual(await tab.at('message-id').allInnerTexts(), [ann.user_id, ben.user_id]);
    assert.deepEqual(await tab.at('message-name').allInnerTexts(), ['ann', 'ben']);
  }
  assert.equal(await ann.at('pending').count(), 0);
});

test('likes of everybody add up', async () => {
  const room = fresh('chat:likes');
  const ann = await guest(on, 'ann', { room });
  const ben = await guest(on, 'ben', { room });
  for (let n = 0; n < 3; n += 1) await ann.at('like').click();
  await shows(ben.at('count-likes'), '3');
  await ben.at('like').click();
  await shows(ann.at('count-likes'), '4');
});

test('the wire is cut while others speak: all of it arrives, once, in order', async () => {
  const proxy = await on.proxy();
  const room = fresh('chat:cut');
  const ann = await guest(on, 'ann', { room, url: proxy.url });
  const ben = await guest(on, 'ben', { room });
  await say(ann, 'before');
  await sees(ben, ['before']);
  const expected = ['before'];
  for (let round = 0; round < 3; round += 1) {
    proxy.cut();
    await shows(ann.at('connection'), 'Reconnecting…');
    for (let n = 0; n < 4; n += 1) {
      expected.push(`round ${round} word ${n}`);
      await say(ben, expected.at(-1));
    }
    await sees(ben, expected);
    proxy.mend();
    await sees(ann, expected);
    await shows(ann.at('connection'), 'Connected');
  }
  assert.equal(await ann.at('break').count(), 0);
});

test('the answer to a message is lost: it is sent again and counts once', async () => {
  const proxy = await on.proxy();
  const room = fresh('chat:lost');
  const ann = await guest(on, 'ann', { room, url: proxy.url });
  const ben = await guest(on, 'ben', { room });
  proxy.deafen();
  await say(ann, 'said once');
  await sees(ben, ['said once']);
  await shows(ann.at('pending'), /said once/);
  assert.deepEqual(await said(ann), []);
  proxy.cut();
  await shows(ann.at('connection'), 'Reconnecting…');
  proxy.mend();
  await sees(ann, ['said once']);
  await eventually(async () => assert.equal(await ann.at('pending').count(), 0));
  await say(ben, 'and after');
  await sees(ann, ['said once', 'and after']);
  await sees(ben, ['said once', 'and after']);
});

const PAYLOADS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '"><iframe srcdoc="<script>alert(1)</script>">',
  "'-alert(1)-'",
  'javascript:alert(1)',
  '<a href="javascript:alert(1)">x</a>',
  '<style>*{background:url(//x.test/?c)}</style>',
  '<base href=//x.test>',
  '<form action=//x.test><button>x</button></form>',
  '${alert(1)} {{alert(1)}}',
  '</li></ol><h1>out</h1>',
  '<math><mi//xlink:href="data:x,<script>alert(1)</script>">',
  '&lt;img src=x onerror=alert(1)&gt;',
];

test('markup in messages and names is only text', async () => {
  const room = fresh('chat:xss');
  const ann = await guest(on, 'ann', { room });
  const name = '<img src=x onerror=alert(1)>';
  const mallory = await guest(on, 'mallory', { room, name });
  for (const payload of PAYLOADS) await say(mallory, payload);
  await sees(ann, PAYLOADS);
  await sees(mallory, PAYLOADS);
  assert.deepEqual(new Set(await ann.at('message-name').allInnerTexts()), new Set([name]));
  for (const tab of [ann, mallory]) {
    const foreign = await tab.page.evaluate(() => document.querySelectorAll(
      '#messages :is(script, svg, iframe, a, style, base, form, h1, math, img), #members :is(script, img, svg), base',
    ).length);
    assert.equal(foreign, 0);
    assert.equal(await tab.page.locator('h1:visible').count(), 1);
  }
  // Bodies that are no text are shown, not run and not trusted.
  const { token, device } = await keys_of(mallory);
  await raw_socket(mallory, [
    { type: 'auth', token, device },
    { type: 'join', room },
    ...[null, 7, ['<b>'], { text: { toString: 1 } }, '<img src=x onerror=alert(1)>'].map((body) => ({ type: 'send', room, body })),
  ]);
  await eventually(async () => assert.deepEqual((await said(ann)).slice(PAYLOADS.length), [
    'null', '7', '["<b>"]', '{"text":{"toString":1}}', '"<img src=x onerror=alert(1)>"',
  ]));
});

test('markup in what a device says about itself is only text on the phone', async () => {
  const room = fresh('chat:xss');
  const mallory = await guest(on, 'mallory', { room });
  const name = '<img src=x onerror=alert(1)>';
  // Its own socket ends here; the attempt it opened stays for a while.
  const [opened] = await raw_socket(mallory, [{ type: 'qr.open', device: { id: fresh('d'), name, kind: 'tv' } }]);
  assert.equal(opened.type, 'ok');
  const phone = await (await on.somebody()).tab(`${on.url}/q/${opened.qr_id}`);
  await phone.at('account-other').click();
  await phone.at('account-user').fill(fresh('victim'));
  await phone.at('account-shown-name').fill(name);
  await phone.at('account-password').fill('correct horse battery staple');
  await phone.at('account-submit').click();
  await phone.at('in-front').click();
  await shows(phone.at('fact-device'), `${name} (TV)`);
  assert.equal(await phone.page.locator('#facts img, #account img').count(), 0);
  await phone.at('choose-deny').click();
  await shows(phone.at('result-title'), 'Denied');
});

test('a reload stays signed in and in the room; signing out ends it', async () => {
  const room = fresh('chat:reload');
  const ann = await guest(on, 'ann', { room });
  await say(ann, 'still here');
  await sees(ann, ['still here']);
  await ann.page.reload();
  await ann.at('room').waitFor();
  await joined(ann);
  await shows(ann.at('account-id'), ann.user_id);
  const keys = await keys_of(ann);
  await ann.at('sign-out').click();
  await ann.at('qr-image').waitFor();
  assert.equal(await ann.at('room').isVisible(), false);
  assert.equal(await ann.page.evaluate(() => sessionStorage.getItem('countersign.session')), null);
  const [refused] = await raw_socket(ann, [{ type: 'auth', ...keys }]);
  assert.equal(refused.code, 'invalid_token');
});

test('a session ended elsewhere ends on the page, which says so', async () => {
  const ann = await guest(on, 'ann', { room: fresh('chat:revoked') });
  const status = await ann.page.evaluate(async ({ token, device }) => {
    const headers = { Authorization: `Bearer ${token}`, 'Countersign-Device': device };
    return (await fetch('/v1/logout', { method: 'POST', headers })).status;
  }, await keys_of(ann));
  assert.equal(status, 204);
  await shows(ann.at('notice'), /ended elsewhere/);
  await ann.at('qr-image').waitFor();
  assert.equal(await ann.at('room').isVisible(), false);
});

test('a room that cannot be is explained', async () => {
  const ann = await on.somebody();
  const tab = await ann.tab(`${on.url}/?room=${fresh('nowhere:x')}`);
  await tab.at('password-open').click();
  await tab.at('account-other').click();
  await tab.at('account-user').fill(fresh('ann'));
  await tab.at('account-password').fill('correct horse battery staple');
  await tab.at('account-submit').click();
  await shows(tab.at('room-left'), /no such room/);
});
