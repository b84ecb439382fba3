import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { is_own_name } from '../../web/page/reach.js';
import { fresh, somebody, start_browser } from './support/browser.mjs';
import { shows } from './support/eventually.mjs';
import { start_gateway } from './support/gateway.mjs';
import { code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage();
const NARROW = { width: 360, height: 740 };
const WIDE = { width: 1280, height: 900 };
const folder = mkdtempSync(join(tmpdir(), 'countersign-code-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The codes that a scanner finds in what a screen shows. @param {Buffer} picture */
function codes_in(picture) {
  const file = join(folder, 'screen.png');
  writeFileSync(file, picture);
  try {
    return execFileSync('zbarimg', ['--quiet', '--raw', '-Sdisable', '-Sqrcode.enable', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim().split('\n');
  } catch (error) {
    // It says 4 of a picture without a code.
    if (error.status === 4) return [];
    throw error;
  }
}

/** What is drawn at one point of the page. @returns {Promise<number[]>} red, green, blue */
async function colour_at(page, x, y) {
  const picture = (await page.screenshot({ clip: { x, y, width: 1, height: 1 } })).toString('base64');
  return page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = document.createElement('canvas').getContext('2d');
    canvas.drawImage(image, 0, 0);
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  }, picture);
}

for (const colorScheme of ['dark', 'light']) {
  for (const [viewport, deviceScaleFactor] of [[WIDE, 1], [WIDE, 2], [NARROW, 1], [NARROW, 3]]) {
    test(`a scanner reads the code off the page: ${colorScheme}, ${viewport.width} px, ${deviceScaleFactor} to one`, async () => {
      const person = await on.somebody({ colorScheme, viewport, deviceScaleFactor, bypassCSP: true });
      const pc = await person.tab(on.url);
      const { url } = await code_of(pc);
      await pc.at('qr-image').scrollIntoViewIfNeeded();
      assert.deepEqual(codes_in(await pc.page.screenshot()), [url]);
      // Dark on light, whatever the page is: its edge is white, and so is what stands around the picture.
      const box = await pc.at('qr-image').boundingBox();
      for (const edge of [[box.x + 4, box.y + 4], [box.x + box.width - 4, box.y + box.height - 4]]) {
        assert.deepEqual(await colour_at(pc.page, ...edge), [255, 255, 255]);
      }
      const page = await colour_at(pc.page, 2, box.y);
      assert.equal(page.every((part) => part < 64), colorScheme === 'dark', `the page is ${page}`);
    });
  }
}

test('whoever sees a code that only this computer can open is told what to start', async () => {
  const port = new URL(on.url).port;
  for (const [locale, title, why] of [
    ['en-GB', 'With a real phone', /^A phone cannot open this code: 127\.0\.0\.1:\d+ is /],
    ['zh-CN', '用真实的手机试试', /^手机无法打开此二维码：127\.0\.0\.1:\d+ /],
  ]) {
    const pc = await (await on.somebody({ locale, viewport: NARROW })).tab(on.url);
    await code_of(pc);
    await shows(pc.at('reach-why'), why);
    await shows(pc.page.locator('#reach-title'), title);
    await shows(pc.at('reach-command'), `countersign serve --trial-on-lan --listen 0.0.0.0:${port}`);
    const wide = await pc.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(wide, false, 'it fits');
    assert.equal(await pc.at('reach').isVisible(), true);
  }
});

test('names that a computer has for itself', () => {
  const name = (url) => is_own_name(new URL(url).hostname);
  for (const own of ['http://127.0.0.1:8080', 'http://127.9.8.7', 'http://localhost:1', 'http://a.localhost', 'http://[::1]:8', 'http://0.0.0.0:1']) {
    assert.equal(name(own), true, own);
  }
  for (const other of ['http://192.168.1.20:8080', 'https://login.example', 'http://localhost.example', 'http://127.0.0.1.example', 'http://[fd00::1]']) {
    assert.equal(name(other), false, other);
  }
});

/**
 * A gateway as started for a phone. The page is opened under the name that the code has, over plain HTTP: for browsers that
 * is no secure context, and much of their cryptography is not there.
 */
test('with an origin that others reach nobody is told anything, and a phone signs the PC in without TLS', async () => {
  const shop = 'http://gateway.test';
  const gateway = await start_gateway('', `public_origin = "${shop}"\n`);
  const browser = await start_browser([`--host-resolver-rules=MAP gateway.test:80 ${new URL(gateway.url).host}`]);
  try {
    const person = await somebody(browser);
    const pc = await person.tab(shop);
    const { url } = await code_of(pc);
    assert.ok(url.startsWith(`${shop}/q/`), url);
    assert.deepEqual(codes_in(await pc.page.screenshot()), [url]);
    assert.equal(await pc.at('reach').isVisible(), false);
    const holder = await somebody(browser);
    const phone = await holder.tab(url);
    assert.equal(phone.answer.status(), 200);
    for (const { page } of [pc, phone]) assert.equal(await page.evaluate(() => isSecureContext), false);
    await scan(phone, fresh('lan'), 'Lan');
    await type_number(phone, await number_of(pc));
    await shows(phone.at('result-title'), /^Signed in on /);
    await pc.at('room').waitFor();
    assert.deepEqual([...person.faults, ...holder.faults], []);
  } finally {
    await browser.close();
    await gateway.stop();
  }
});
