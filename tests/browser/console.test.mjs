import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { History, quantile, size, span } from '../../web/console/figures.js';
import { fresh } from './support/browser.mjs';
import { KEY, open_console, row_of, signed_in, stuck, TOP } from './support/console.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { faint, fits } from './support/look.mjs';
import { code_of, guest, keys_of, number_of, raw_socket, scan, stage, type_number } from './support/stage.mjs';

const [CONNECTIONS, ROOMS] = ['connections', 'rooms'];

describe('a gateway with an operator', () => {
  const on = stage('[limits]\nwrite_ms = 600_000\n', TOP);

  test('a wrong key is told, the right one opens, and it is kept nowhere', async () => {
    const person = await on.somebody();
    const tab = await open_console(person, on.operator, `${KEY}x`);
    await shows(tab.at('key-error'), 'That is not the operator key.');
    assert.equal(await tab.at('console').isVisible(), false);
    await tab.at('key').fill('schlüssel');
    await tab.at('key-send').click();
    await shows(tab.at('key-error'), 'That is not the operator key.');
    await tab.at('key').fill(KEY);
    await tab.page.keyboard.press('Enter');
    await shows(tab.at('state'), 'Live');
    assert.equal(await tab.page.evaluate(() => document.activeElement.id), 'console-title');
    const kept = await tab.page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie, location.href]));
    assert.doesNotMatch(kept, new RegExp(KEY));
    assert.equal(await tab.at('key').inputValue(), '');
    assert.deepEqual(await person.context.cookies(), []);
    assert.ok(tab.requests.every((request) => /^(GET|POST) \/admin/.test(request)), `${tab.requests}`);
    await tab.at('forget').click();
    await shows(tab.at('state'), 'Not signed in');
    assert.equal(await tab.at('console').isVisible(), false);
    await tab.page.reload();
    await tab.at('key-form').waitFor();
  });

  test('somebody comes, is seen, is closed after a question, and stands in the log; then comes back', async () => {
    const tab = await signed_in(await on.somebody(), on.operator);
    const room = fresh('chat:seen');
    const ann = await guest(on, 'ann', { room, name: 'Ann of tests' });
    const row = row_of(tab, CONNECTIONS, ann.user_id);
    await row.waitFor();
    await shows(row.getByTestId('row-who'), new RegExp(`^Ann of tests\\s*${ann.user_id}$`));
    await row_of(tab, ROOMS, room).waitFor();
    await row.getByTestId('row-kick').click();
    await shows(tab.at('kick-who'), /^Ann of tests, c_[0-9a-f]{16}, from 127\.0\.0\.1$/);
    await tab.at('kick-keep').click();
    await tab.at('kick').waitFor({ state: 'hidden' });
    await shows(ann.at('connection'), 'Connected');
    await row.getByTestId('row-kick').click();
    await tab.at('kick-one').click();
    await shows(tab.at('said'), 'Closed: 1.');
    await shows(ann.at('closed'), /The service ended this connection/);
    await tab.page.mouse.move(0, 0);
    await row_of(tab, 'closes', ann.user_id).filter({ hasText: 'gateway: 4505 disconnected' }).waitFor();
    await row.waitFor({ state: 'detached' });
    await ann.page.getByRole('button', { name: 'Connect again' }).click();
    await shows(ann.at('connection'), 'Connected');
    await row.waitFor();

    // All of a user at once.
    await row.getByTestId('row-kick').click();
    await shows(tab.at('kick-all'), `Close all of ${ann.user_id}`);
    await tab.at('kick-all').click();
    await shows(ann.at('closed'), /The service ended this connection/);
  });

  test('the list is of one user, or in another order, as asked', async () => {
    const room = fresh('chat:list');
    const [ann, ben] = [await guest(on, 'ann', { room }), await guest(on, 'ben', { room })];
    const tab = await signed_in(await on.somebody(), on.operator);
    await row_of(tab, CONNECTIONS, ann.user_id).waitFor();
    const users = () => tab.at(CONNECTIONS).locator('.user-id').allInnerTexts();
    const order = (list) => [ann.user_id, ben.user_id].map((id) => list.indexOf(id));
    const first = order(await users());
    assert.ok(first[1] < first[0], 'the newest first');
    await tab.at('filter-sort').selectOption('oldest');
    await eventually(async () => assert.ok(order(await users())[0] < order(await users())[1]));
    await tab.at('filter-user').fill(ben.user_id);
    await eventually(async () => assert.deepEqual(await users(), [ben.user_id]));
    await tab.at('filter-user').fill('no such !');
    await eventually(async () => assert.deepEqual(await users(), []));
    await shows(tab.at('state'), 'Live');
  });

  test('who reads nothing comes to the top of the slow ones', async (t) => {
    const room = fresh('chat:slow');
    const ann = await guest(on, 'ann', { room });
    const slow = await stuck(on.url, room);
    t.after(() => slow.leave());
    const tab = await signed_in(await on.somebody(), on.operator);
    const { token, device } = await keys_of(ann);
    const body = { text: 'x'.repeat(15_000) };
    const replies = await raw_socket(ann, [
      { type: 'auth', token, device }, { type: 'join', room }, ...Array.from({ length: 40 }, () => ({ type: 'send', room, body })),
    ]);
    assert.deepEqual([...new Set(replies.map(({ type }) => type))], ['ok']);
    const top = tab.at('slow').getByTestId('row').first();
    await eventually(async () => assert.match(await top.innerText({ timeout: 1_000 }), /not signed in[^]*127\.0\.0\.1[^]*\d KiB\s+[1-9]/));
    await eventually(async () => assert.match(await tab.at('tile-outbox').innerText(), /KiB/));
    await row_of(tab, ROOMS, room).filter({ has: tab.page.getByText('40', { exact: true }) }).waitFor();
  });

  test('a login goes through the funnel, and its push is measured', async () => {
    const tab = await signed_in(await on.somebody(), on.operator);
    const total = async (step) => Number(/^\d+/.exec(await tab.at(`funnel-${step}`).innerText())[0]);
    const before = await total('redeemed');
    const pc = await (await on.somebody()).tab(on.url);
    const { url } = await code_of(pc);
    await row_of(tab, CONNECTIONS, 'watches a QR login').first().waitFor();
    const phone = await (await on.somebody()).tab(on.reach(url));
    await scan(phone, fresh('funnel'), 'Funnel');
    await type_number(phone, await number_of(pc));
    await pc.at('room').waitFor();
    await eventually(async () => assert.equal(await total('redeemed'), before + 1));
    await eventually(async () => assert.match(await tab.at('chart-latency').innerText(), /QR push, half within: [\d.]+ ms/));
    assert.ok(await tab.at('chart-connections').locator('polyline').count() > 0);
    assert.match(await tab.at('chart-memory').getByRole('img').getAttribute('aria-label'), /^Memory\. resident: [\d.]+ MiB/);
  });

  test('markup in names is only text', async () => {
    const name = '<img src=x onerror=alert(1)>';
    const person = await on.somebody();
    const tab = await signed_in(person, on.operator);
    const mallory = await guest(on, 'mallory', { room: fresh('chat:xss'), name });
    const row = row_of(tab, CONNECTIONS, mallory.user_id);
    await row.waitFor();
    assert.ok((await row.getByTestId('row-who').innerText()).startsWith(name));
    await row.getByTestId('row-kick').click();
    assert.ok((await tab.at('kick-who').innerText()).startsWith(`${name}, c_`));
    await tab.at('kick-one').click();
    await tab.page.mouse.move(0, 0);
    const ended = row_of(tab, 'closes', mallory.user_id);
    await ended.waitFor();
    assert.ok((await ended.innerText()).includes(name));
    assert.equal(await tab.page.locator('main img, main script, main iframe').count(), 0);
  });

  test('by keyboard alone: key, a row, the question and back', async () => {
    const ann = await guest(on, 'ann', { room: fresh('chat:keys') });
    const tab = await (await on.somebody()).tab(`${on.operator}/admin`);
    await eventually(async () => assert.equal(await tab.page.evaluate(() => document.activeElement.id), 'key'));
    await tab.page.keyboard.type(KEY);
    await tab.page.keyboard.press('Enter');
    await shows(tab.at('state'), 'Live');
    const focus = () => tab.page.evaluate(() => {
      const { outlineStyle } = getComputedStyle(document.activeElement);
      return { id: document.activeElement.dataset.testid, label: document.activeElement.getAttribute('aria-label'), visible: outlineStyle !== 'none' };
    });
    await row_of(tab, CONNECTIONS, ann.user_id).waitFor();
    const stops = [];
    const go_to = async (id, label = '') => {
      for (let stop = 0; stop < 80; stop += 1) {
        await tab.page.keyboard.press('Tab');
        const at = await focus();
        stops.push(at.id);
        if (at.id) assert.ok(at.visible, `the focus on ${at.id} cannot be seen`);
        if (at.id === id && (at.label ?? '').includes(label)) return;
      }
      assert.fail(`no way to ${id}: ${stops}`);
    };
    await go_to('row-kick', 'Close the connection of ann ');
    const label = (await focus()).label;
    await tab.page.keyboard.press('Enter');
    await tab.at('kick').waitFor();
    assert.equal((await focus()).id, 'kick-keep', 'the harmless answer has the focus');
    await tab.page.keyboard.press('Escape');
    await tab.at('kick').waitFor({ state: 'hidden' });
    assert.equal((await focus()).label, label);

    // Whoever is in a table is not disturbed: others come and go, the row stays where it is.
    await guest(on, 'late', { room: fresh('chat:keys') });
    const looked = tab.requests.length;
    await eventually(() => assert.ok(tab.requests.length > looked + 10));
    assert.equal((await focus()).label, label);
    await shows(tab.page.locator('#connections + .under'), 'Held still while you are in it.');
    await tab.page.keyboard.press('Enter');
    await go_to('kick-one');
    await tab.page.keyboard.press('Enter');
    await shows(tab.at('said'), 'Closed: 1.');
    await row_of(tab, CONNECTIONS, 'late').waitFor();
    assert.ok(['status', 'alert'].includes(await tab.at('said').getAttribute('role')));
    await go_to('drain-word');
  });

  test('it rests while it is hidden', async () => {
    const tab = await signed_in(await on.somebody(), on.operator);
    const hide = (hidden) => tab.page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    await shows(tab.at('state'), 'Paused while hidden');
    // Nothing is under way any more, and no timer is left: time passes for the page, and nothing is asked.
    const asked = tab.requests.length;
    await tab.page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 2_500); }));
    assert.equal(tab.requests.length, asked);
    await hide(false);
    await shows(tab.at('state'), 'Live');
    assert.ok(tab.requests.length > asked);
  });

  test('nothing jumps when somebody comes or goes', async () => {
    const tab = await signed_in(await on.somebody({ viewport: { width: 1280, height: 800 } }), on.operator);
    const places = () => tab.page.evaluate(() => [...document.querySelectorAll('.card, .chart, .tiles > div, .panel, .funnel li')]
      .filter((at) => at.checkVisibility())
      .map((at) => { const { x, y, width, height } = at.getBoundingClientRect(); return [x, y + scrollY, width, height].map(Math.round).join(); }));
    await eventually(async () => assert.match(await tab.at('tile-cpu').innerText(), /%/));
    const before = await places();
    const ann = await guest(on, 'ann', { room: fresh('chat:still') });
    await row_of(tab, CONNECTIONS, ann.user_id).waitFor();
    assert.deepEqual(await places(), before);
    await ann.page.close();
    await row_of(tab, 'closes', ann.user_id).waitFor();
    assert.deepEqual(await places(), before);
    // Figures of a slow or a large node are longer than any of this one.
    await tab.page.evaluate(() => {
      for (const at of document.querySelectorAll('.chart .legend li, .chart .most, .tiles dd:first-of-type')) at.textContent += ' 100000 ms, 99999 MiB';
    });
    assert.deepEqual(await places(), before);
  });

  for (const [locale, live] of [['en-GB', 'Live'], ['zh-CN', '实时']]) {
    for (const [width, colorScheme] of [[360, 'light'], [768, 'dark'], [1280, 'light'], [1920, 'dark']]) {
      test(`it fits and can be read at ${width} px, ${colorScheme}, ${locale}`, async () => {
        const ann = await guest(on, 'ann', { room: fresh('chat:look'), name: 'A name that is about as long as names are let be' });
        const tab = await (await on.somebody({ viewport: { width, height: 800 }, colorScheme, locale })).tab(`${on.operator}/admin`);
        await fits(tab, 'key');
        assert.deepEqual(await faint(tab), []);
        await tab.at('key').fill(KEY);
        await tab.at('key-send').click();
        await shows(tab.at('state'), live);
        const row = row_of(tab, CONNECTIONS, ann.user_id);
        await row.waitFor();
        await fits(tab, 'console');
        assert.deepEqual(await faint(tab), []);
        const nameless = await tab.page.evaluate(() => [...document.querySelectorAll('button, input, select, [role="region"], [role="img"]')]
          .filter((at) => at.checkVisibility() && !at.getAttribute('aria-label') && ![...(at.labels ?? [])].some((one) => one.textContent) && !at.textContent.trim())
          .map((at) => at.outerHTML));
        assert.deepEqual(nameless, []);
        await row.getByTestId('row-kick').click();
        await tab.at('kick').waitFor();
        await fits(tab, 'question');
        assert.deepEqual(await faint(tab), []);
        await tab.at('kick-keep').click();
      });
    }
  }
});

describe('a gateway that is emptied', () => {
  const on = stage('', TOP);

  test('the word has to be typed; then everybody is sent away, and the page says how it stands', async () => {
    const ann = await guest(on, 'ann', { room: fresh('chat:drain') });
    const person = await on.somebody();
    const tab = await signed_in(person, on.operator);
    await row_of(tab, CONNECTIONS, ann.user_id).waitFor();
    assert.equal(await tab.at('drain-send').isDisabled(), true);
    for (const word of ['yes', 'drai', 'drains']) {
      await tab.at('drain-word').fill(word);
      assert.equal(await tab.at('drain-send').isDisabled(), true, word);
      await tab.page.keyboard.press('Enter');
    }
    await shows(ann.at('connection'), 'Connected');
    assert.equal(tab.requests.filter((request) => request.includes('drain')).length, 0);
    await tab.at('drain-word').fill('drain');
    await tab.at('drain-send').click();
    await shows(tab.at('said'), /The node empties/);
    await shows(ann.at('connection'), 'Reconnecting…');
    // It ends by itself, well (the stage looks), and the page says that nobody answers any more.
    await shows(tab.at('state'), 'The gateway does not answer', 30_000);
    // What the browsers write about a gateway that is gone is no fault of the pages.
    for (const [{ page }, { faults }] of [[tab, person], [ann, ann.person]]) {
      await page.close();
      faults.splice(0, faults.length, ...faults.filter((fault) => !/Failed to load resource: net::ERR_/.test(fault)));
    }
  });
});

describe('a gateway without a key', () => {
  const on = stage();

  test('the page says what to set', async () => {
    const tab = await open_console(await on.somebody(), on.operator);
    await shows(tab.at('key-error'), /COUNTERSIGN_OPERATOR_KEY/);
    assert.equal(await tab.at('console').isVisible(), false);
  });
});

test('rates and quantiles are of what changed', () => {
  const at = (seconds, total, counts, began = 0) => ({ now_ms: seconds * 1_000, uptime_ms: (seconds - began) * 1_000, connections: { opened_total: total }, qr: { push: { bounds_ms: [1, 10, 100], counts } } });
  const history = new History();
  const [opened, push] = [({ connections }) => connections.opened_total, ({ qr }) => qr.push];
  history.add(at(10, 100, [5, 0, 0, 0]));
  assert.deepEqual([history.rates(opened), history.quantiles(push, 0.5)], [[null], [null]]);
  history.add(at(12, 110, [5, 0, 0, 0]));
  history.add(at(14, 140, [6, 98, 1, 0]));
  assert.deepEqual(history.rates(opened), [null, 5, 10]);
  assert.deepEqual(history.quantiles(push, 0.5), [null, null, 10]);
  assert.deepEqual(history.quantiles(push, 1), [null, null, 100]);
  assert.equal(quantile([1, 10], [0, 0, 3], 0.5), 10, 'beyond the last bound');
  // Another process: its totals begin anew.
  history.add(at(16, 300, [0, 0, 0, 0], 15));
  assert.deepEqual(history.rates(opened), [null]);
  for (let n = 0; n < 200; n += 1) history.add(at(20 + n, 310 + n, [0, 0, 0, 0], 15));
  assert.equal(history.values(opened).length, 150);
  assert.deepEqual([size(0), size(1536), size(5 * 2 ** 30)], ['0 B', '1.5 KiB', '5 GiB']);
  assert.deepEqual([span(0), span(61_000), span(86_400_000)], ['0s', '1m 1s', '1d']);
});
