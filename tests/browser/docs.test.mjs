import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fresh, start_browser, somebody } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { start_gateway } from './support/gateway.mjs';
import { start_shell } from './support/shell.mjs';
import { scan, type_number } from './support/stage.mjs';

const DOCUMENT = new URL('../../docs/qr-login.md', import.meta.url);
const MARKDOWN = readFileSync(DOCUMENT, 'utf8');
const [HTML, FORM] = blocks('html');
const [SCRIPT, ANSWER] = blocks('js');
const [POLICY] = blocks('text');
const [START, SERVE] = blocks('sh');
const PUBLIC = 'https://login.example';

/** The code blocks of this language, in their order. */
function blocks(language) {
  return [...MARKDOWN.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code);
}

/** A site of somebody else, on an origin of its own, that serves what the document says to serve. */
async function start_site() {
  const files = {};
  const site = createServer((request, answer) => {
    const file = files[request.url];
    if (!file) return answer.writeHead(404).end();
    answer.writeHead(200, { 'Content-Type': file.type, 'Content-Security-Policy': files.policy });
    return answer.end(file.text);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => { site.once('listening', resolve); });
  const url = `http://127.0.0.1:${site.address().port}`;
  const stop = () => new Promise((resolve) => { site.close(resolve).closeAllConnections(); });
  return { url, files, stop };
}

/** An address of the gateway that is known before it runs: its pages are of that origin for the phone. */
async function start_door() {
  const sockets = new Set();
  const door = { to: null };
  const server = net.createServer((near) => {
    const far = net.connect(Number(new URL(door.to).port), '127.0.0.1');
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => { sockets.delete(one); other.destroy(); }).pipe(other);
    }
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => { server.once('listening', resolve); });
  door.url = `http://127.0.0.1:${server.address().port}`;
  door.stop = () => new Promise((resolve) => {
    server.close(resolve);
    for (const socket of sockets) socket.destroy();
  });
  return door;
}

/** Gateway, site and browser; the gateway's address takes the place of the one in the document. */
function documented(config, { allowed = true, html = HTML, script = SCRIPT } = {}) {
  const on = {};
  before(async () => {
    on.site = await start_site();
    on.door = await start_door();
    const origins = [on.door.url, ...(allowed ? [on.site.url] : [])];
    on.gateway = await start_gateway(`${config}`, `public_origin = "${PUBLIC}"\nallowed_origins = ${JSON.stringify(origins)}\n`);
    on.door.to = on.gateway.url;
    const here = (text) => text.replaceAll(PUBLIC, on.gateway.url).replaceAll(PUBLIC.replace('https', 'wss'), on.gateway.url.replace('http', 'ws'));
    on.site.files['/'] = { type: 'text/html', text: here(html) };
    on.site.files['/login.js'] = { type: 'text/javascript', text: here(script) };
    on.site.files['/favicon.ico'] = { type: 'image/svg+xml', text: '<svg xmlns="http://www.w3.org/2000/svg"/>' };
    on.site.files.policy = here(POLICY).trim();
    on.browser = await start_browser();
  });
  after(async () => {
    await on.browser?.close();
    await on.gateway?.stop();
    await on.door?.stop();
    await on.site?.stop();
  });
  return on;
}

/** The page of the site, and a phone that opened what its code says. */
async function page_and_phone(on) {
  const [shop, person] = [await somebody(on.browser), await somebody(on.browser)];
  const tab = await shop.tab(`${on.site.url}/`);
  const at = (id) => tab.page.locator(`#${id}`);
  await shows(at('status'), 'Scan the code');
  await eventually(async () => assert.ok(await at('code').evaluate((image) => image.complete && image.naturalWidth > 0)));
  const qr_id = /\/v1\/qr\/([\w-]{22})\.svg$/.exec(await at('code').getAttribute('src'))[1];
  const phone = await person.tab(`${on.door.url}/q/${qr_id}`);
  return { at, shop, phone };
}

describe('the page in the document', () => {
  const on = documented('');

  test('signs in from another origin, under the policy it names', async () => {
    assert.equal(SCRIPT.split('\n').filter((line) => line.trim()).length, 10, 'ten lines, as the document says');
    const { at, shop, phone } = await page_and_phone(on);
    await scan(phone, fresh('shopper'), 'Shopper');
    await shows(phone.at('fact-device'), /^Example shop \(browser\)/);
    await shows(at('status'), 'Confirm on the phone, Shopper');
    const number = await eventually(async () => {
      const digits = await at('number').innerText();
      assert.match(digits, /^\d\d$/);
      return digits;
    });
    await type_number(phone, number);
    await shows(phone.at('result-title'), 'Signed in on Example shop');
    await shows(at('status'), 'Signed in as Shopper');
    assert.deepEqual(shop.faults, []);
  });
});

describe('the page in the document, where its person types', () => {
  const on = documented('[qr]\nmatch_mode = "pc_types"\n', {
    html: HTML.replace('<script', `${FORM}<script`),
    script: SCRIPT.replace('const { user } = await', `${ANSWER}const { user } = await`),
  });

  test('tells a wrong answer and signs in with the right one', async () => {
    const { at, shop, phone } = await page_and_phone(on);
    await scan(phone, fresh('typist'), 'Typist');
    await shows(at('status'), 'Confirm on the phone, Typist');
    const digits = await phone.at('digits').innerText();
    const answer = async (typed) => {
      await at('answer').locator('input').fill(typed);
      await at('answer').locator('input').press('Enter');
    };
    await answer(digits === '00' ? '01' : '00');
    await shows(at('number'), 'Wrong: 2 more tries');
    await answer(digits);
    // It may have been taken, and the button be gone, before the end is shown.
    await eventually(async () => {
      if (await phone.at('choose-confirm').isVisible()) await phone.at('choose-confirm').click({ timeout: 1_000 });
      await shows(phone.at('result-title'), 'Signed in on Example shop', 1_000);
    });
    await shows(at('status'), 'Signed in as Typist');
    assert.deepEqual(shop.faults, []);
  });
});

describe('the page in the document, on an origin that was not allowed', () => {
  const on = documented('', { allowed: false });

  test('gets no code', async () => {
    const shop = await somebody(on.browser);
    const { page, sockets } = await shop.tab(`${on.site.url}/`);
    await eventually(() => assert.ok(sockets.length >= 2, 'it keeps trying'));
    assert.notEqual(await page.locator('#status').innerText(), 'Scan the code');
    assert.equal(await page.locator('#code').isVisible(), false);
  });
});

describe('what the document says to try', () => {
  const on = { site: {} };
  let folder;
  let served;

  before(async () => {
    on.door = await start_door();
    folder = mkdtempSync(join(tmpdir(), 'countersign-try-'));
    mkdirSync(join(folder, 'docs'));
    cpSync(DOCUMENT, join(folder, 'docs/qr-login.md'));
    // As printed, but for the ports, which the system picks.
    const serve = SERVE.replace('http://127.0.0.1:8080', on.door.url).replace('127.0.0.1 8000', '127.0.0.1 0');
    served = await start_shell(serve, folder, /^Serving HTTP on \S+ port (\d+)/);
    on.site.url = `http://127.0.0.1:${served.told[1]}`;
    const [program, args] = START.trim().replace('http://127.0.0.1:8000', on.site.url).split(' -- ');
    assert.equal(program, 'cargo run --release');
    on.gateway = await start_gateway('', '', { args: args.split(' '), origin: on.door.url });
    on.door.to = on.gateway.url;
    on.browser = await start_browser();
  });
  after(async () => {
    await on.browser?.close();
    await on.gateway?.stop();
    await on.door?.stop();
    await served?.stop();
    if (folder) rmSync(folder, { recursive: true });
  });

  test('shows a code, and signs in', async () => {
    const { at, phone } = await page_and_phone(on);
    await scan(phone, fresh('trier'), 'Trier');
    await shows(at('number'), /^\d\d$/);
    await type_number(phone, await at('number').innerText());
    await shows(at('status'), 'Signed in as Trier');
  });
});
