import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import {
  another, code_of, guest, joined, keys_of, number_of, raw_socket, said, say, scan, stage, type_number,
} from './support/stage.mjs';

const on = stage();

/** Nothing runs, loads or is asked that is not the gateway's own; avatars alone come from elsewhere. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https:; "
  + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

test('a newcomer: code, scan, number, signed in by push on one socket, chat, counts, a cut wire, nothing lost', async () => {
  const proxy = await on.proxy();
  const room = fresh('chat:story');
  const pc_person = await on.somebody({ viewport: { width: 1280, height: 800 } });
  const phone_person = await on.somebody({ viewport: { width: 360, height: 740 } });
  const user_id = fresh('alice');

  // The PC shows a code.
  const pc = await pc_person.tab(`${proxy.url}/?room=${room}`);
  assert.equal(pc.answer.headers()['content-security-policy'], POLICY);
  const { url, qr_id } = await code_of(pc);
  const card = await pc.at('qr').boundingBox();
  await shows(pc.at('qr-time'), /^Valid for \d:\d\d/);

  // Opening its address on the phone changes nothing.
  const phone = await phone_person.tab(on.reach(url));
  assert.equal(phone.answer.headers()['content-security-policy'], POLICY);
  await phone.at('step-sign-in').waitFor();
  await shows(pc.at('qr-status'), /^Waiting/);

  // Scanned: the PC is told who, the phone is told what asks.
  await scan(phone, user_id, 'Alice');
  await shows(pc.at('qr-who-name'), 'Alice');
  await shows(phone.at('fact-device'), /Chrome on Linux \(browser\)/);
  await shows(phone.at('fact-ip'), /^127\.0\.0\.1/);
  await shows(phone.at('fact-network'), 'not known to be this phone’s');
  const number = await number_of(pc);
  assert.equal((await pc.at('qr').boundingBox()).height, card.height, 'the card keeps its size');

  // Yes and no are equally easy to say.
  const [yes, no] = await Promise.all(['choose-confirm', 'choose-deny'].map((id) => phone.at(id).boundingBox()));
  assert.deepEqual([yes.width, yes.height], [no.width, no.height]);

  // A wrong number, then the right one.
  await type_number(phone, another(number));
  await shows(phone.at('decide-error'), /not the number.*2 more tries/);
  await shows(pc.at('qr-number'), number);
  await type_number(phone, number);
  await shows(phone.at('result-title'), 'Signed in on Chrome on Linux');

  // The PC is signed in: pushed, on the socket it had, with no request but for the picture.
  await pc.at('room').waitFor();
  await shows(pc.at('account-id'), user_id);
  assert.equal(pc.sockets.length, 1);
  assert.deepEqual(pc.requests.filter((request) => request.includes(' /v1/')), [`GET /v1/qr/${qr_id}.svg`]);

  // The phone's browser comes into the room with the session it has.
  await joined(pc);
  await shows(pc.at('count-viewers'), '1');
  await phone.page.goto(`${on.url}/?room=${room}`);
  await phone.at('room').waitFor();
  await shows(pc.at('count-viewers'), '2');
  await shows(pc.at('count-members'), '1');

  // Chat both ways.
  await say(pc, 'from the PC');
  await say(phone, 'from the phone');
  for (const tab of [pc, phone]) {
    await eventually(async () => assert.deepEqual((await said(tab)).toSorted(), ['from the PC', 'from the phone']));
    assert.deepEqual(new Set(await tab.at('message-id').allInnerTexts()), new Set([user_id]));
  }
  await phone.at('like').click();
  await shows(pc.at('count-likes'), '1');

  // The wire is cut; the phone goes on talking, and so does the PC.
  proxy.cut();
  await shows(pc.at('connection'), 'Reconnecting…');
  const missed = Array.from({ length: 8 }, (_, n) => `while away ${n}`);
  for (const text of missed) await say(phone, text);
  await eventually(async () => assert.equal((await said(phone)).length, 2 + missed.length));
  await shows(phone.at('count-viewers'), '1');
  await say(pc, 'into the void');
  await pc.at('pending').waitFor();

  // Mended: nothing lost, nothing doubled, the same for both.
  proxy.mend();
  await shows(pc.at('connection'), 'Connected');
  await eventually(async () => assert.equal((await said(pc)).length, 3 + missed.length));
  const all = await said(pc);
  assert.deepEqual(all.slice(2), [...missed, 'into the void']);
  await eventually(async () => assert.deepEqual(await said(phone), all));
  assert.equal(await pc.at('pending').count(), 0);
  assert.equal(await pc.at('break').count(), 0);
  await shows(phone.at('count-viewers'), '2');

  // The phone leaves; the counts follow.
  await phone.page.close();
  await shows(pc.at('count-viewers'), '1');
});

test('a photographed code is powerless without the claim', async () => {
  const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:photo')}`);
  const { url, qr_id } = await code_of(pc);
  const phone = await (await on.somebody()).tab(on.reach(url));
  const thief = await (await on.somebody()).tab(on.reach(url));
  const claim = 'A'.repeat(43);
  const device = fresh('thief');
  const watch = { type: 'qr.watch', qr_id, claim, device };
  const attack = async () => {
    const replies = await raw_socket(thief, [
      watch,
      { type: 'qr.redeem', qr_id, claim, ticket: 'A'.repeat(43) },
      { type: 'qr.cancel', qr_id, claim },
      { ...watch, qr_id: 'AAAAAAAAAAAAAAAAAAAAAA' },
    ]);
    for (const reply of replies) assert.deepEqual([reply.type, reply.code], ['error', 'not_found']);
    // An id that exists and one that does not are answered alike, whatever is asked.
    assert.equal(new Set(replies.map(({ message }) => message)).size, 1);
  };
  await attack();
  const status = await thief.page.evaluate(async ([id, wrong, device_id]) => {
    const headers = { Authorization: `Claim ${wrong}`, 'Countersign-Device': device_id };
    return (await fetch(`/v1/qr/${id}`, { headers })).status;
  }, [qr_id, claim, device]);
  assert.ok([404, 405, 501].includes(status), `answered ${status}`);

  // After the rightful phone scanned it, another one is too late and cannot get in between.
  await scan(phone, fresh('rightful'), 'Rightful');
  await attack();
  await fill_account(thief, { user_id: fresh('thief'), name: 'Thief' });
  await thief.at('in-front').click();
  await shows(thief.at('result-title'), 'Somebody else scanned this code first');

  await type_number(phone, await number_of(pc));
  await pc.at('room').waitFor();
  await attack();
});

test('a forged sender is powerless, in the command and in the body', async () => {
  const room = fresh('chat:forge');
  const ann = await guest(on, 'ann', { room });
  const mallory = await guest(on, 'mallory', { room });
  const { token, device } = await keys_of(mallory);
  const forged = { id: ann.user_id, name: 'ann', role: 'owner' };
  const aliases = { from: forged, sender: forged, user: forged, user_id: ann.user_id, author: forged, source: 'server', as: ann.user_id };
  const replies = await raw_socket(mallory, [
    { type: 'auth', token, device },
    { type: 'join', room },
    { type: 'send', room, ...aliases, body: { text: 'I am ann', ...aliases } },
    { type: 'send', room, body: { text: 'me too', __proto__: null, from: forged } },
  ]);
  assert.deepEqual(replies.map(({ type }) => type), ['ok', 'ok', 'ok', 'ok']);
  await eventually(async () => assert.deepEqual(await said(ann), ['I am ann', 'me too']));
  assert.deepEqual(await ann.at('message-id').allInnerTexts(), [mallory.user_id, mallory.user_id]);
  assert.deepEqual(await ann.at('message-name').allInnerTexts(), ['mallory', 'mallory']);

  // Somebody else's token from another device, and no token at all, get nowhere.
  const anonymous = await raw_socket(mallory, [
    { type: 'auth', token, device: fresh('other') },
    { type: 'join', room },
    { type: 'send', room, body: { text: 'nobody' }, from: forged },
  ]);
  assert.deepEqual(anonymous.map(({ type, code }) => code ?? type), ['device_mismatch', 'ok', 'unauthenticated']);
  assert.deepEqual(await said(ann), ['I am ann', 'me too']);
});

test('the policy of the pages holds: nothing put into them runs, and nobody frames them', async (t) => {
  const person = await on.somebody();
  let html = '';
  const elsewhere = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end(html)).listen(0, '127.0.0.1');
  t.after(() => elsewhere.close());
  await once(elsewhere, 'listening');
  for (const path of ['/', '/q', '/q/AAAAAAAAAAAAAAAAAAAAAA']) {
    const { page, answer } = await person.tab(on.url + path);
    const headers = answer.headers();
    assert.equal(headers['content-security-policy'], POLICY);
    assert.equal(headers['x-frame-options'], 'DENY');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.deepEqual(person.faults, [], 'the page itself keeps to it');
    const outcome = await page.evaluate(async () => {
      const script = document.createElement('script');
      script.textContent = 'window.ran = true';
      document.body.append(script);
      document.body.setAttribute('onclick', 'window.ran = true');
      document.body.click();
      document.body.setAttribute('style', 'color: red');
      const fetched = await fetch('https://elsewhere.invalid/').then(() => true, () => false);
      return { ran: window.ran ?? false, fetched, styled: getComputedStyle(document.body).color === 'rgb(255, 0, 0)' };
    });
    assert.deepEqual(outcome, { ran: false, fetched: false, styled: false });
    const kinds = ['script-src-elem', 'script-src-attr', 'style-src-attr', 'connect-src'];
    await eventually(() => {
      for (const kind of kinds) assert.ok(person.faults.some((fault) => fault.startsWith(`content security policy: ${kind}`)), kind);
    });
    await page.close();
    person.faults.length = 0;

    // Beside it something that may be framed: it is the policy that keeps the page out.
    const harmless = `${on.url}/.well-known/jwks.json`;
    html = `<link rel="icon" href="data:,"><iframe src="${on.url}${path}"></iframe><iframe src="${harmless}"></iframe>`;
    const framer = await person.tab(`http://127.0.0.1:${elsewhere.address().port}/`);
    const framed = framer.page.frames().slice(1).map((frame) => frame.url());
    assert.deepEqual(framed, ['chrome-error://chromewebdata/', harmless]);
    await framer.page.close();
    person.faults.length = 0;
  }
});
