/**
 * Pictures of the states of a QR login, and of the operator's console, at three sizes: `node screenshots.mjs [folder] [all]`, by default those that
 * docs/screenshots keeps, into that folder. They are taken from gateways of their own.
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start_app } from './support/app.mjs';
import { fill_account, PASSWORD, somebody, start_browser } from './support/browser.mjs';
import { row_of, signed_in, stuck, TOP } from './support/console.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { start_gateway } from './support/gateway.mjs';
import { code_of, guest, joined, keys_of, number_of, raw_socket, say, scan, type_number } from './support/stage.mjs';

const SIZES = { 360: { width: 360, height: 740 }, 768: { width: 768, height: 1024 }, 1280: { width: 1280, height: 800 } };
const STATES = [
  'pc-waiting', 'pc-scanned', 'pc-signed-in', 'pc-denied', 'pc-cancelled', 'pc-expired', 'new-device',
  'phone-request', 'phone-done', 'phone-code', 'phone-client', 'devices', 'console',
];
/** Light at every size; dark where somebody would meet it. */
const KEPT = [
  ...STATES.flatMap((state) => Object.keys(SIZES).map((size) => `${state}-${size}-light`)),
  'pc-waiting-1280-dark', 'pc-scanned-1280-dark', 'phone-request-360-dark', 'console-1280-dark',
];
const AVATAR = 'https://pictures.invalid/alice.svg';
const PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><rect width="48" height="48" fill="#f0b45c"/>'
  + '<circle cx="24" cy="19" r="9" fill="#fff5e3"/><path d="M6 48a18 16 0 0 1 36 0z" fill="#0f766e"/></svg>';
/** What the two say they are. */
const PC = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';
const PHONE = 'Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36';

/** An app of somebody else. */
const CLIENTS = '[clients.reader]\nname = "Reader"\nscopes = ["openid", "profile"]\nthird_party = true\n';

const [folder = fileURLToPath(new URL('../../docs/screenshots', import.meta.url)), which] = process.argv.slice(2);
const out = resolve(folder);
mkdirSync(out, { recursive: true });
const browser = await start_browser();
let taken = 0;
try {
  for (const size of Object.keys(SIZES)) {
    for (const scheme of ['light', 'dark']) {
      // A new one each time: nobody is signed in anywhere yet.
      const gateway = await start_gateway(CLIENTS);
      try {
        await story(gateway.url, size, scheme);
        await app_story(gateway.url, size, scheme);
      } finally {
        await gateway.stop();
      }
    }
  }
  await out_of_time();
  await operated();
} finally {
  await browser.close();
}
console.log(`${taken} pictures in ${out}`);

async function make_account(url) {
  const body = JSON.stringify({ user_id: 'alice', password: PASSWORD, name: 'Alice', avatar: AVATAR });
  const answer = await fetch(`${url}/v1/accounts`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  if (answer.status !== 201) throw new Error(`no account: ${answer.status}`);
}

/** A code that nobody scans, at each size at once: its end is waited for. */
async function out_of_time() {
  const gateway = await start_gateway('[qr]\nlifetime_ms = 5_000\n');
  try {
    await Promise.all(Object.keys(SIZES).flatMap((size) => ['light', 'dark'].map(async (scheme) => {
      const person = await somebody(browser, { ...options_of(size, scheme), userAgent: PC });
      const pc = await person.tab(gateway.url);
      await shows(pc.at('qr-end'), 'Expired');
      await take(pc, `pc-expired-${size}-${scheme}`);
      await person.close();
    })));
  } finally {
    await gateway.stop();
  }
}

/** The same account signs in on a device more. */
async function signs_in_elsewhere(url) {
  const device = { id: 'elsewhere', name: 'Firefox on Windows', kind: 'web' };
  const body = JSON.stringify({ user_id: 'alice', password: PASSWORD, device });
  const answer = await fetch(`${url}/v1/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  if (answer.status !== 200) throw new Error(`not signed in: ${answer.status}`);
}

/** Says so many long things, more than somebody can miss who does not read. */
async function talks(tab, n) {
  const [room, body] = ['chat:lobby', { text: 'and so on '.repeat(1_500) }];
  await raw_socket(tab, [{ type: 'auth', ...await keys_of(tab) }, { type: 'join', room }, ...Array.from({ length: n }, () => ({ type: 'send', room, body }))]);
}

/** A busy quarter of a minute as the operator sees it, at each size. */
async function operated() {
  const gateway = await start_gateway('[limits]\nwrite_ms = 600_000\n', TOP);
  const present = [];
  const on = {
    url: gateway.url,
    somebody: async (options) => {
      present.push(await somebody(browser, { userAgent: PC, ...options }));
      return present.at(-1);
    },
  };
  try {
    const people = [];
    for (const [word, room] of [['ann', 'chat:lobby'], ['ben', 'chat:lobby'], ['cleo', 'chat:lobby'], ['dan', 'chat:help'], ['eve', 'chat:help']]) {
      people.push(await guest(on, word, { room, name: word[0].toUpperCase() + word.slice(1) }));
    }
    const consoles = [];
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of ['light', 'dark']) {
        const person = await on.somebody({ viewport, colorScheme, locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce' });
        consoles.push({ tab: await signed_in(person, gateway.operator), name: `console-${size}-${colorScheme}` });
      }
    }
    const slow = await stuck(gateway.url, 'chat:lobby');
    const pc = await (await on.somebody()).tab(gateway.url);
    const phone = await (await on.somebody()).tab((await code_of(pc)).url);
    await (await on.somebody()).tab(gateway.url);
    await talks(people[0], 25);
    await scan(phone, 'frank', 'Frank');
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor();
    await talks(people[0], 25);
    await people.pop().page.close();
    for (const { tab, name } of consoles) {
      await row_of(tab, 'closes', 'Eve').waitFor();
      await tab.page.bringToFront();
      await take(tab, name, { fullPage: true });
    }
    slow.leave();
  } finally {
    for (const person of present) await person.close();
    await gateway.stop();
  }
}

function options_of(size, scheme) {
  return { viewport: SIZES[size], colorScheme: scheme, locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce' };
}

/** @param {{fullPage?: boolean}} [more] */
async function take(tab, name, more) {
  if (which !== 'all' && !KEPT.includes(name)) return;
  await tab.page.mouse.move(0, 0);
  await tab.page.evaluate(() => {
    // The name of the other language would be boxes on a machine without its letters.
    document.getElementById('languages').style.visibility = 'hidden';
    // What helps under a name that no phone can open is not there under the one that a gateway has in earnest.
    document.getElementById('reach')?.setAttribute('hidden', '');
  });
  await tab.page.screenshot({ path: join(out, `${name}.png`), animations: 'disabled', caret: 'hide', ...more });
  taken += 1;
}

/** The code of an app, typed by somebody who is signed in already. */
async function app_story(url, size, scheme) {
  const person = await somebody(browser, { ...options_of(size, scheme), userAgent: PHONE });
  const app = await start_app(url, { client_id: 'reader', scope: 'openid profile', device_name: 'Living room', device_kind: 'tv' });
  const phone = await person.tab(`${url}/q`);
  await fill_account(phone, { user_id: 'alice' });
  await phone.at('typed-code').fill('bcdfghjk');
  await take(phone, `phone-code-${size}-${scheme}`);
  await phone.at('typed-code').fill(app.user_code);
  await phone.at('type-code-send').click();
  await phone.at('step-request').waitFor();
  await take(phone, `phone-client-${size}-${scheme}`, { fullPage: true });
  await person.close();
}

/** One login seen from both sides, and one that is denied. */
async function story(url, size, scheme) {
  const options = options_of(size, scheme);
  const shot = (tab, state) => take(tab, `${state}-${size}-${scheme}`);
  await make_account(url);
  const people = [await somebody(browser, { ...options, userAgent: PC }), await somebody(browser, { ...options, userAgent: PHONE })];
  for (const { context } of people) {
    await context.route(AVATAR, (route) => route.fulfill({ contentType: 'image/svg+xml', body: PICTURE }));
  }
  const pc = await people[0].tab(url);
  const phone = await people[1].tab((await code_of(pc)).url);
  await shot(pc, 'pc-waiting');
  await shot(phone, 'phone-sign-in');
  await fill_account(phone, { user_id: 'alice' });
  await phone.at('in-front').waitFor();
  await shot(phone, 'phone-ready');
  await ask(phone);
  await with_picture(pc);
  await shot(pc, 'pc-scanned');
  await phone.at('choose-deny').click();
  await shows(pc.at('qr-end'), 'Denied');
  await shot(pc, 'pc-denied');
  await phone.at('step-result').waitFor();
  await shot(phone, 'phone-denied');

  await pc.at('qr-again').click();
  await shows(pc.at('qr-status'), /^Waiting/);
  await pc.at('qr-cancel').click();
  await shows(pc.at('qr-end'), 'Cancelled');
  await shot(pc, 'pc-cancelled');

  await pc.at('qr-again').click();
  await shows(pc.at('qr-status'), /^Waiting/);
  await phone.page.goto((await code_of(pc)).url);
  await ask(phone);
  const number = await number_of(pc);
  await phone.at('number').fill(number);
  await shot(phone, 'phone-request');
  await type_number(phone, String((Number(number) + 1) % 100).padStart(2, '0'));
  await shows(phone.at('decide-error'), /2 more tries/);
  await shot(phone, 'phone-wrong');
  await type_number(phone, number);
  await shows(pc.at('notice'), 'Signed in as Alice.');
  await joined(pc);
  await pc.at('members').locator('li').waitFor();
  await shot(pc, 'pc-signed-in');
  await phone.at('result-end').waitFor();
  await shot(phone, 'phone-done');
  await phone.at('result-devices').click();
  await eventually(async () => { if ((await phone.at('device').count()) < 2) throw new Error('no list yet'); });
  await shot(phone, 'devices');
  await phone.at('device-end').last().click();
  await shot(phone, 'devices-question');
  await phone.at('device-yes').click();
  await shows(phone.at('devices-status'), /signed out/);
  await phone.at('devices-close').click();
  await shot(pc, 'pc-ended');
  await notice_story(url, size, scheme);
  for (const person of people) await person.close();
}

/** Somebody who is in the room when their account signs in elsewhere. */
async function notice_story(url, size, scheme) {
  const person = await somebody(browser, { ...options_of(size, scheme), userAgent: PC });
  await person.context.route(AVATAR, (route) => route.fulfill({ contentType: 'image/svg+xml', body: PICTURE }));
  const tab = await person.tab(url);
  await tab.at('password-open').click();
  await fill_account(tab, { user_id: 'alice' });
  await joined(tab);
  await say(tab, 'Hello everybody');
  await tab.at('message').waitFor();
  await tab.at('notice').waitFor({ state: 'hidden' });
  await signs_in_elsewhere(url);
  await tab.at('new-device').waitFor();
  await take(tab, `new-device-${size}-${scheme}`);
  await person.close();
}

async function ask(phone) {
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
}

/** The scanner's picture has been fetched. */
async function with_picture(pc) {
  await number_of(pc);
  await eventually(async () => {
    if (!(await pc.at('qr-who').locator('img').evaluate((image) => image.complete && image.naturalWidth > 0))) throw new Error('no picture yet');
  });
}
