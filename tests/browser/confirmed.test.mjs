import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fresh, PASSWORD } from './support/browser.mjs';
import { KEY, TOP } from './support/console.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { listen } from './support/said.mjs';
import { code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

/**
 * A phone that has confirmed, and the PC whose wish for its tokens is held on the way. `line.drops` says what the gateway says
 * that does not reach the PC; `line.release` lets the wish go on, `line.answer` has it answered without the gateway.
 */
async function confirmed(on, word) {
  const person = await on.somebody();
  const line = { held: null, drops: () => false, release: null, answer: null };
  await person.context.routeWebSocket(/\/v1\/ws$/, (near) => {
    const far = near.connectToServer();
    near.onMessage((frame) => {
      if (!frame.includes('"qr.redeem"')) return far.send(frame);
      line.held = JSON.parse(frame);
      line.release = () => far.send(frame);
      line.answer = (fields) => near.send(JSON.stringify({ id: line.held.id, ...fields }));
      return undefined;
    });
    far.onMessage((frame) => { if (!line.drops(frame)) near.send(frame); });
  });
  const pc = await person.tab(`${on.url}/?room=${fresh('chat:confirmed')}`);
  const { url, qr_id } = await code_of(pc);
  const phone = await (await on.somebody()).tab(on.reach(url));
  const user_id = fresh(word);
  await scan(phone, user_id, word);
  await type_number(phone, await number_of(pc));
  await eventually(() => assert.ok(line.held));
  return { pc, phone, user_id, qr_id, line };
}

/** Nobody is signed in there, and a new code is offered, which works. */
async function begins_anew(pc, qr_id) {
  assert.equal(await pc.at('room').isVisible(), false);
  assert.equal(await pc.at('qr-cancel').isVisible(), false);
  await shows(pc.at('qr-again'), 'New code');
  await pc.at('qr-again').click();
  await shows(pc.at('qr-status'), 'Waiting for a phone to scan the code.');
  await eventually(async () => assert.notEqual((await code_of(pc)).qr_id, qr_id));
}

/** The same account, from elsewhere, signs out every device but its own. */
async function ends_the_others(url, user_id) {
  const device = { id: fresh('elsewhere') };
  const body = JSON.stringify({ user_id, password: PASSWORD, device });
  const login = await fetch(`${url}/v1/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  assert.equal(login.status, 200);
  const { access_token } = await login.json();
  const headers = { Authorization: `Bearer ${access_token}`, 'Countersign-Device': device.id };
  assert.equal((await fetch(`${url}/v1/sessions?except=current`, { method: 'DELETE', headers })).status, 204);
}

describe('confirmed, and not picked up in time', () => {
  const on = stage('[qr]\nconfirmed_ms = 2_000\n');

  test('the PC says that it was too late and offers a new code; the phone says that nobody was signed in', async () => {
    const { pc, phone, qr_id, line } = await confirmed(on, 'late');
    const heard = await listen(pc, 'qr-announce');
    await shows(pc.at('qr-end'), 'Expired');
    const words = 'The confirmation came, but this page could not pick it up in time. Start again with a new code.';
    await shows(pc.at('qr-status'), words);
    assert.equal((await heard()).at(-1), `Expired. ${words}`);
    await shows(phone.at('result-title'), 'The other screen did not come back in time');
    await shows(phone.at('result-text'), 'You confirmed, but nobody was signed in. Check the connection there, then use a new code.');
    // The wish that arrives after the end changes nothing.
    line.release();
    await begins_anew(pc, qr_id);
  });

  test('where the wish is what is told first: the same words', async () => {
    const { pc, phone, qr_id, line } = await confirmed(on, 'later');
    line.drops = (frame) => frame.includes('"unredeemed"') && !frame.includes('"error"');
    await shows(phone.at('result-title'), 'The other screen did not come back in time');
    line.release();
    await shows(pc.at('qr-end'), 'Expired');
    await shows(pc.at('qr-status'), /could not pick it up in time/);
    await begins_anew(pc, qr_id);
  });
});

describe('confirmed, and then nobody any more who could have', () => {
  const on = stage('', TOP);

  async function lock(user_id) {
    const answer = await fetch(`${on.operator}/users/${user_id}/lock`, { method: 'POST', headers: { Authorization: `Bearer ${KEY}` } });
    assert.equal(answer.status, 200);
  }

  test('the phone is signed out from elsewhere: both sides say so, and what each can do', async () => {
    const { pc, phone, user_id, qr_id } = await confirmed(on, 'revoked');
    await ends_the_others(on.url, user_id);
    await shows(pc.at('qr-end'), 'Denied');
    await shows(pc.at('qr-status'), 'The phone’s own session was ended meanwhile. Sign in on the phone, then use a new code.');
    await shows(phone.at('result-title'), 'This phone was signed out');
    await shows(phone.at('result-text'), /^Its session was ended meanwhile, so nobody was signed in/);
    await shows(phone.at('result-again'), 'Sign in');
    await phone.at('result-again').click();
    await phone.at('step-sign-in').waitFor();
    await begins_anew(pc, qr_id);
  });

  test('the PC hears of it only by asking for its tokens: it was denied, and not out of time', async () => {
    const { pc, user_id, qr_id, line } = await confirmed(on, 'refused');
    line.drops = (frame) => frame.includes('"denied"') && !frame.includes('"error"');
    await ends_the_others(on.url, user_id);
    line.release();
    await shows(pc.at('qr-end'), 'Denied');
    await shows(pc.at('qr-status'), /^The phone’s own session was ended meanwhile/);
    await begins_anew(pc, qr_id);
  });

  test('the account is locked: the PC is denied, the phone says why and to ask', async () => {
    const { pc, phone, user_id, qr_id } = await confirmed(on, 'locked');
    await lock(user_id);
    await shows(pc.at('qr-end'), 'Denied');
    await shows(phone.at('result-title'), 'This account is locked');
    await shows(phone.at('result-text'), /it can sign in nowhere, and no other device with it: ask them\.$/);
    await begins_anew(pc, qr_id);
  });

  test('the lock comes between the ticket and its tokens: the PC says that the account is locked', async () => {
    const { pc, qr_id, line } = await confirmed(on, 'raced');
    // A window of microseconds, which tests/lock.rs finds; here it is the gateway's words for it that are sent.
    line.answer({ type: 'error', code: 'account_locked', message: 'this account is locked', retry: false });
    await shows(pc.at('qr-end'), 'Account locked');
    await shows(pc.at('qr-status'), 'The account that confirmed is locked by the people who run this service. Nobody was signed in.');
    await begins_anew(pc, qr_id);
  });
});
