import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { another, code_of, joined, number_of, said, say, scan, stage, type_number } from './support/stage.mjs';

const on = stage();

test('a newcomer: code, scan, number, signed in by push on one socket, chat, counts, a cut wire, nothing lost', async () => {
  const proxy = await on.proxy();
  const room = fresh('chat:story');
  const pc_person = await on.somebody({ viewport: { width: 1280, height: 800 } });
  const phone_person = await on.somebody({ viewport: { width: 360, height: 740 } });
  const user_id = fresh('alice');

  // The PC shows a code.
  const pc = await pc_person.tab(`${proxy.url}/?room=${room}`);
  const { url, qr_id } = await code_of(pc);
  const card = await pc.at('qr').boundingBox();
  await shows(pc.at('qr-time'), /^Valid for \d:\d\d/);

  // Opening its address on the phone changes nothing.
  const phone = await phone_person.tab(on.reach(url));
  await phone.at('step-sign-in').waitFor();
  await shows(pc.at('qr-status'), /^Waiting/);

  // Scanned: the PC is told who, the phone is told what asks.
  await scan(phone, user_id, 'Alice');
  await shows(pc.at('qr-who-name'), 'Alice');
  await shows(phone.at('fact-device'), /Chrome on Linux \(browser\)/);
  await shows(phone.at('fact-ip'), /^127\.0\.0\.1/);
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
  await shows(phone.at('result-title'), /^Confirmed/);

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
