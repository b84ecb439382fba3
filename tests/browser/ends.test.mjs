import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fill_account, fresh, PASSWORD } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { listen } from './support/said.mjs';
import { another, code_of, keys_of, number_of, scan, stage, type_number } from './support/stage.mjs';

/** A PC that shows a code, and a phone that has scanned it. */
async function scanned(on, word, { phone_options, phone_url = on.url } = {}) {
  const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:ends')}`);
  const { url, qr_id } = await code_of(pc);
  const phone_person = await on.somebody(phone_options);
  const phone = await phone_person.tab(phone_url + new URL(url).pathname);
  const user_id = fresh(word);
  await scan(phone, user_id, word);
  return { pc, phone, phone_person, user_id, qr_id };
}

/** The device's first answer to calls on this path never arrives; the gateway heard the call. */
async function lose_first(person, path) {
  let asked = 0;
  await person.context.route(path, async (route) => {
    asked += 1;
    const first = asked === 1;
    const answer = await route.fetch();
    if (first) await route.abort('connectionreset');
    else await route.fulfill({ response: answer });
  });
  return () => asked;
}

/** A dead wire is told by the browser itself. */
const forget_resets = (person) => {
  const kept = person.faults.filter((fault) => !/ERR_(CONNECTION_RESET|INTERNET_DISCONNECTED)/.test(fault));
  person.faults.splice(0, person.faults.length, ...kept);
};

describe('the phone knows the end', () => {
  const on = stage();

  test('signed in is told only when it is so; one tap ends that session, and the PC is back at a code', async () => {
    const { pc, phone, user_id } = await scanned(on, 'told');
    await type_number(phone, await number_of(pc));
    await shows(phone.at('result-title'), 'Signed in on Chrome on Linux');
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
    const heard = await listen(phone, 'result-title');

    await phone.at('result-end').click();
    await shows(phone.at('result-title'), 'That session is ended');
    assert.equal(await phone.at('result-end').isVisible(), false);
    assert.deepEqual(await heard(), ['Signed in on Chrome on Linux', 'That session is ended']);
    await shows(pc.at('notice'), /ended elsewhere/);
    await code_of(pc);
    assert.equal(await pc.at('room').isVisible(), false);
    // The phone's own session is another one.
    await phone.at('result-devices').click();
    await eventually(async () => assert.equal(await phone.at('device').count(), 1));
  });

  test('confirmed is not signed in: waiting is said, over a reload, and then that nobody was signed in', async () => {
    const pc_person = await on.somebody();
    await pc_person.context.routeWebSocket(/\/v1\/ws$/, (near) => {
      const far = near.connectToServer();
      // The PC's wish for its tokens never arrives.
      near.onMessage((frame) => { if (!frame.includes('"qr.redeem"')) far.send(frame); });
    });
    const pc = await pc_person.tab(on.url);
    const { url } = await code_of(pc);
    const phone = await (await on.somebody()).tab(on.reach(url));
    await scan(phone, fresh('slow'), 'Slow');
    const number = await number_of(pc);
    await type_number(phone, number);
    await shows(phone.at('result-title'), /^Confirmed – waiting/);
    // A reload of the phone goes on waiting, it does not ask whether to scan.
    await phone.page.reload();
    await shows(phone.at('result-title'), /^Confirmed – waiting/);
    const heard = await listen(phone, 'announce');
    await pc.at('qr-cancel').click();
    await shows(phone.at('result-title'), 'Cancelled on the other screen');
    assert.deepEqual(await heard(), ['Cancelled on the other screen. Nobody was signed in. Get a new code there to try again.']);
  });

  test('the answers to scan, confirm and end get lost: nothing is lost', async () => {
    const pc = await (await on.somebody()).tab(on.url);
    const { url } = await code_of(pc);
    const person = await on.somebody();
    const counts = [await lose_first(person, /\/v1\/qr\/.*\/scan$/), await lose_first(person, /\/v1\/qr\/.*\/confirm$/), await lose_first(person, /\/v1\/qr\/.*\/outcome$/)];
    const phone = await person.tab(on.reach(url));
    await scan(phone, fresh('lossy'), 'Lossy');
    await type_number(phone, await number_of(pc));
    await shows(phone.at('result-title'), /^Signed in on/);
    await pc.at('room').waitFor();
    assert.deepEqual(counts.slice(0, 2).map((count) => count()), [2, 2]);
    const ends = await lose_first(person, /\/v1\/sessions\/[^/]+$/);
    await phone.at('result-end').click();
    await shows(phone.at('result-title'), 'That session is ended');
    assert.equal(ends(), 2);
    await code_of(pc);
    forget_resets(person);
  });

  test('no network on the phone: said where it stands, and gone on with when it is back', async () => {
    const pc = await (await on.somebody()).tab(on.url);
    const { url } = await code_of(pc);
    const person = await on.somebody();
    const phone = await person.tab(on.reach(url));
    await fill_account(phone, { user_id: fresh('offline'), name: 'Offline' });
    await phone.at('in-front').waitFor();
    await person.context.setOffline(true);
    await phone.at('in-front').click();
    await shows(phone.at('ready-error'), /^The gateway did not answer. Check your connection/);
    await person.context.setOffline(false);
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    const number = await number_of(pc);

    await person.context.route('**/outcome', (route) => route.abort('internetdisconnected'));
    // The question that was on its way is asked again by the page that a reload makes.
    await phone.page.reload();
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    await type_number(phone, number);
    await shows(phone.at('result-error'), /goes on asking/);
    await shows(phone.at('result-title'), /^Confirmed/);
    await pc.at('room').waitFor();
    await person.context.unroute('**/outcome');
    await shows(phone.at('result-title'), /^Signed in on/);
    await shows(phone.at('result-error'), '');
    forget_resets(person);
  });

  test('the answer to deny gets lost: it is denied', async () => {
    const { pc, phone, phone_person } = await scanned(on, 'lostno');
    await number_of(pc);
    const asked = await lose_first(phone_person, /\/v1\/qr\/.*\/deny$/);
    await phone.at('choose-deny').click();
    await shows(phone.at('result-title'), 'Denied');
    await shows(pc.at('qr-end'), 'Denied');
    assert.ok(asked() >= 1);
    forget_resets(phone_person);
  });

  test('a scan again by the same phone goes on where it was', async () => {
    const { pc, phone } = await scanned(on, 'rescan');
    const number = await number_of(pc);
    await phone.page.reload();
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    await type_number(phone, another(number));
    await shows(phone.at('decide-error'), /2 more tries/);
    await type_number(phone, number);
    await shows(phone.at('result-title'), /^Signed in on/);
    await pc.at('room').waitFor();
  });

  test('the PC asks for another code meanwhile: the phone says so', async () => {
    const pc = await (await on.somebody()).tab(on.url);
    const { url } = await pc.page.evaluate(() => new Promise((resolve) => {
      const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/v1/ws`);
      window.open_code = (id) => socket.send(JSON.stringify({ id, type: 'qr.open', device: { id: 'pc-of-two-codes' } }));
      socket.onopen = () => window.open_code(1);
      socket.onmessage = ({ data }) => { if (JSON.parse(data).id === 1) resolve(JSON.parse(data)); };
    }));
    const phone = await (await on.somebody()).tab(on.reach(url));
    await scan(phone, fresh('newer'), 'Newer');
    await shows(phone.at('fact-device'), /^unnamed/);
    await pc.page.evaluate(() => window.open_code(2));
    await shows(phone.at('result-title'), 'The other screen shows a newer code');
  });

  test('the phone is signed out elsewhere while it decides: both sides say so', async () => {
    const { pc, phone, user_id } = await scanned(on, 'revoked');
    await number_of(pc);
    const other = await (await on.somebody()).tab(on.url);
    await other.at('password-open').click();
    await fill_account(other, { user_id });
    await other.at('room').waitFor();
    await other.at('devices-open').click();
    await other.at('devices-end-others').click();
    await other.at('device-yes').click();
    await shows(other.at('devices-status'), 'All other devices are signed out.');
    await shows(phone.at('result-title'), 'This phone was signed out');
    await shows(pc.at('qr-end'), 'Denied');
    await shows(pc.at('qr-status'), /own session was ended/);
  });

  test('what the PC does is announced, each change once', async () => {
    const pc = await (await on.somebody()).tab(on.url);
    const { url } = await code_of(pc);
    const heard = await listen(pc, 'qr-announce');
    const phone = await (await on.somebody()).tab(on.reach(url));
    await scan(phone, fresh('aloud'), 'Aloud');
    const number = await number_of(pc);
    await phone.at('choose-deny').click();
    await shows(pc.at('qr-end'), 'Denied');
    const words = await heard();
    assert.deepEqual(words, [
      'Waiting for a phone to scan the code.',
      `Aloud scanned the code. Type ${number} on the phone.`,
      'Denied. The phone said no. If that was a slip, start again with a new code.',
    ]);
    assert.equal(await pc.at('qr-announce').getAttribute('aria-live'), 'polite');
    // By keyboard alone: the button for a new code is reached, and works.
    await pc.at('qr-again').focus();
    await pc.page.keyboard.press('Enter');
    await code_of(pc);
  });
});

describe('where the PC types', () => {
  const on = stage('[qr]\nmatch_mode = "pc_types"\n');

  const digits_of = (phone) => eventually(async () => {
    const digits = await phone.at('digits').innerText({ timeout: 1_000 });
    assert.match(digits, /^\d\d$/);
    return digits;
  });
  const answer = async (pc, digits) => {
    await pc.at('qr-answer-digits').fill(digits);
    await pc.page.keyboard.press('Enter');
  };

  test('the phone shows the digits, the PC takes them, and only then the phone can confirm', async () => {
    const { pc, phone, user_id } = await scanned(on, 'typed');
    const digits = await digits_of(phone);
    await pc.at('qr-answer').waitFor();
    const size = await pc.at('qr').boundingBox();
    assert.equal(await pc.at('qr-number').isVisible(), false);
    assert.equal(await phone.at('number').isVisible(), false);

    await phone.at('choose-confirm').click();
    await shows(phone.at('decide-error'), /has not got the right digits yet/);
    await answer(pc, '7');
    await shows(pc.at('qr-status'), 'Type two digits.');
    await answer(pc, another(digits));
    await shows(pc.at('qr-status'), /not the digits on the phone. 2 more tries/);
    await phone.at('choose-confirm').click();
    await shows(phone.at('decide-error'), /has not got the right digits yet/);
    await answer(pc, digits);
    await shows(pc.at('qr-status'), 'Right. Now confirm on the phone.');
    assert.equal((await pc.at('qr').boundingBox()).height, size.height, 'the card keeps its size');
    await phone.at('choose-confirm').click();
    await shows(phone.at('result-title'), /^Signed in on/);
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
  });

  test('three wrong answers end it on both sides', async () => {
    const { pc, phone } = await scanned(on, 'guess');
    const wrong = another(await digits_of(phone));
    await answer(pc, wrong);
    await shows(pc.at('qr-status'), /2 more tries/);
    await answer(pc, wrong);
    await shows(pc.at('qr-status'), /One more try/);
    await answer(pc, wrong);
    await shows(pc.at('qr-end'), 'Denied');
    await shows(pc.at('qr-status'), /wrong number/);
    await shows(phone.at('result-title'), 'Denied: three wrong numbers');
  });
});

describe('where a confirmation takes the password', () => {
  const on = stage('[qr]\nstep_up = "always"\n');

  test('it is asked for in its place; a wrong one is told, the right one confirms', async () => {
    const { pc, phone, user_id } = await scanned(on, 'stepup');
    const number = await number_of(pc);
    assert.equal(await phone.at('password').isVisible(), false);
    await type_number(phone, number);
    await shows(phone.at('decide-error'), 'Type your password, then press Confirm again.');
    assert.equal(await phone.at('password').getAttribute('autocomplete'), 'current-password');
    await phone.at('password').fill('something else entirely');
    await phone.page.keyboard.press('Enter');
    await shows(phone.at('decide-error'), 'That is not your password. Try again.');
    await phone.at('choose-confirm').click();
    await shows(phone.at('decide-error'), 'Type your password, then press Confirm again.');
    await phone.at('password').fill(PASSWORD);
    await phone.at('choose-confirm').click();
    await shows(phone.at('result-title'), /^Signed in on/);
    await pc.at('room').waitFor();
    await shows(pc.at('account-id'), user_id);
  });
});

describe('an end that nobody waits for', () => {
  const on = stage('[qr]\nconfirmed_ms = 1_000\n');

  test('the PC has gone when the phone confirms: nobody was signed in, and the phone says so', async () => {
    const { pc, phone } = await scanned(on, 'gone');
    const number = await number_of(pc);
    await pc.page.close();
    await type_number(phone, number);
    await shows(phone.at('result-title'), 'The other screen did not come back in time');
    assert.ok((await keys_of(phone)).token, 'the phone stays signed in');
  });
});
