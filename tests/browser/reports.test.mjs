import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { somebody, start_browser } from './support/browser.mjs';
import { charts, figure } from './support/charts.mjs';
import { eventually } from './support/eventually.mjs';
import { start_gateway } from './support/gateway.mjs';
import { faint, fits } from './support/look.mjs';
import { load_test } from './support/tester.mjs';

const GATEWAY = process.env.COUNTERSIGN_BIN ?? fileURLToPath(new URL('../../target/debug/countersign', import.meta.url));
/** Passwords of the tester's accounts are not what is measured. */
const CHEAP = '[accounts]\nargon2_memory_kib = 8\nargon2_iterations = 1\n';
const MIB = 1024 * 1024;
const OVER_TIME = ['Latency over time', 'Messages received', 'Messages sent', 'Server memory', 'Processor time'];
const ALL = ['Latency by percentile', ...OVER_TIME];
/** Letters smaller than this on the screen are not read, CSS px. */
const LETTERS_MIN = 10;
const NARROW_DARK = { viewport: { width: 360, height: 740 }, colorScheme: 'dark' };
const WIDE_LIGHT = { viewport: { width: 1280, height: 800 }, colorScheme: 'light' };
const LOOKS = [NARROW_DARK, WIDE_LIGHT];
const ALL_LOOKS = [...LOOKS, { ...NARROW_DARK, colorScheme: 'light' }, { ...WIDE_LIGHT, colorScheme: 'dark' }];

let folder;
let gateway;
let browser;
const file = (name) => join(folder, name);
const json = (name) => JSON.parse(readFileSync(file(name), 'utf8'));

/** Short real runs, one after the other: what they found is on the pages. */
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-reports-'));
  gateway = await start_gateway(CHEAP, '', { args: ['--limits-profile', 'bench'] });
  const target = gateway.url.replace('http', 'ws');
  const load = ['--profile', 'bench', '--members', '8', '--rate', '40'];
  const room = ['room', '--target', target, '--pid', String(gateway.pid), ...load, '--warmup', '0.3', '--assert', 'lost==0'];
  const outputs = (name) => ['--json', `${name}.json`, '--html', `${name}.html`];
  await load_test([...room, '--seconds', '1.2', '--stalled', '2', ...outputs('stalled')], folder);
  await load_test([...room, '--seconds', '1.2', ...outputs('plain')], folder);
  await load_test(['compare', 'stalled.json', 'plain.json', '--html', 'compare.html'], folder);
  const sides = ['--a', `countersign,${target},pid=${gateway.pid}`, '--b', 'floor', '--pairs', '1'];
  await load_test(['versus', ...load, ...sides, '--seconds', '0.3', '--warmup', '0.1', ...outputs('versus')], folder);
  const suite = ['perf', '--quick', '--pairs', '1', '--scale', '0.01', '--only', 'paced,members-1000,latency'];
  await load_test([...suite, '--gateway', GATEWAY, '--out', 'perf'], folder);
  browser = await start_browser();
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  if (folder) rmSync(folder, { recursive: true });
});

/** Opens a report from disk; whatever it asks for or complains of is a fault. */
async function opened(name, look, check) {
  const reader = await somebody(browser, look);
  try {
    const url = pathToFileURL(file(name));
    const tab = await reader.tab(url.href);
    await check(tab);
    assert.deepEqual(tab.requests, [`GET ${url.pathname}`], 'the file is all there is');
    assert.deepEqual(tab.sockets, []);
    assert.deepEqual(reader.faults, []);
  } finally {
    await reader.close();
  }
}

/** In these looks: these charts, drawn with values, to be read without moving the page sideways. */
async function looks_well(name, titles, warnings, looks = LOOKS) {
  for (const look of looks) {
    const where = `${name}, ${look.viewport.width} px, ${look.colorScheme}`;
    await opened(name, look, async (tab) => {
      await fits(tab, where);
      // Each colour is looked at once, and each size.
      const closely = LOOKS.includes(look);
      if (closely) assert.deepEqual(await faint(tab), [], where);
      const ground = await tab.page.evaluate(() => parseFloat(getComputedStyle(document.body).backgroundColor.match(/[\d.]+/)[0]));
      assert.equal(ground < 128, look.colorScheme === 'dark', where);
      const notices = await tab.page.locator('.notice').allInnerTexts();
      for (const warning of warnings) assert.ok(notices.some((notice) => notice.includes(warning)), `${where}: ${warning}`);
      const found = await charts(tab);
      assert.deepEqual(found.map(({ title }) => title), titles, where);
      for (const chart of found) {
        const which = `${where}: ${chart.title}`;
        assert.ok(chart.letters >= LETTERS_MIN, `${which}: letters of ${chart.letters} px`);
        assert.deepEqual(chart.outside, [], which);
        assert.deepEqual(chart.collisions, [], which);
        assert.ok(chart.lines.length > 0, which);
        for (const line of chart.lines) {
          assert.equal(line.x.length, line.y.length, which);
          assert.ok(line.x.length === 1 || line.length > 10, `${which}: ${line.name} is ${line.length} long`);
          assert.ok(line.inside, `${which}: ${line.name} leaves the chart`);
          assert.ok(line.contrast >= 3, `${which}: ${line.name} has a contrast of ${line.contrast}`);
          assert.ok(chart.legend.includes(line.name), `${which}: ${line.name} is not in the legend`);
        }
        if (closely) await reads_values(tab, chart, which);
      }
    });
  }
}

/** Pointer and arrow keys show the values that are drawn. */
async function reads_values(tab, { title, lines }, which) {
  const drawing = tab.page.locator(`svg.chart[aria-label="${title}"]:visible`);
  const readout = drawing.locator('.cursor text');
  await drawing.scrollIntoViewIfNeeded();
  const box = await drawing.boundingBox();
  await tab.page.mouse.move(box.x + box.width * 0.6, box.y + box.height / 2);
  const texts = await eventually(async () => {
    const shown = await readout.allTextContents();
    assert.ok(shown.length >= 2, `${which}: the pointer reads nothing`);
    return shown;
  });
  assert.ok(texts.slice(1).every((text) => lines.some(({ name, y }) => y.some((value) => text === `${name}  ${value}`))), `${which}: ${texts}`);
  await tab.page.mouse.move(0, 0);
  await drawing.focus();
  await tab.page.keyboard.press('Home');
  await tab.page.keyboard.press('End');
  const last = Math.max(...lines.map(({ x }) => x.at(-1)));
  const ends = lines.find(({ x }) => x.at(-1) === last);
  const said = await drawing.locator('xpath=..').locator('.said').textContent();
  assert.ok(said.includes(`${ends.name}  ${ends.y.at(-1)}`), `${which}: ${said}`);
  await tab.page.keyboard.press('Escape');
  assert.equal(await readout.count(), 0, which);
}

/** The charts of a report, on a wide page. */
async function drawn(name) {
  let found;
  await opened(name, WIDE_LIGHT, async (tab) => { found = await charts(tab); });
  return (title, line) => {
    const chart = found.find((one) => one.title === title);
    return line === undefined ? chart : chart?.lines.find((one) => one.name === line);
  };
}

function near(text, value, what) {
  assert.ok(Math.abs(figure(text) - value) <= Math.abs(value) * 0.01 + 1e-6, `${what}: drawn ${text}, measured ${value}`);
}

test('the report of a run opens from disk, and all of it can be read', async () => {
  const document = json('stalled.json');
  await looks_well('stalled.html', ALL, document.warnings, ALL_LOOKS);
});

test('what is drawn is what was measured', async () => {
  const document = json('stalled.json');
  const at = await drawn('stalled.html');
  for (const { name, percentiles } of document.curves) {
    const line = at('Latency by percentile', name);
    assert.ok(percentiles.count > 0 && line.x.length > 5, name);
    near(line.y.at(-1), percentiles.max_us / 1e3, name);
    assert.ok(line.y.map(figure).every((ms, i, all) => i === 0 || ms >= all[i - 1]), 'a percentile is never less than a lower one');
  }
  const { columns } = document.series;
  const rows = columns.seconds.map((seconds, i) => ({ seconds, i })).filter(({ seconds, i }) => i === 0 || seconds >= 0.1);
  assert.ok(rows.length >= 2);
  for (const [title, line, value] of [
    ['Latency over time', 'p99', (i) => columns.p99_ms[i]],
    ['Messages received', 'received', (i) => columns.received[i] / columns.seconds[i]],
    ['Messages sent', 'sent', (i) => columns.sent[i] / columns.seconds[i]],
    ['Server memory', 'resident memory', (i) => columns.rss_bytes[i] / MIB],
    ['Processor time', 'tester', (i) => columns.tester_share[i]],
  ]) {
    const want = rows.map(({ i }) => value(i)).filter((one) => one !== null);
    const got = at(title, line).y;
    assert.equal(got.length, want.length, title);
    want.forEach((one, i) => near(got[i], one, `${title}, ${i}`));
  }
  assert.ok(Math.max(...at('Messages received', 'received').y.map(figure)) > 0 && figure(at('Server memory', 'resident memory').y[0]) > 1);
});

test('the span before members stop reading is marked, in the document too', async () => {
  const document = json('stalled.json');
  const named = document.series.phases.filter(({ phase }) => phase === 'reference' || phase === 'measured');
  assert.deepEqual(named.map(({ phase }) => phase), ['reference', 'measured']);
  assert.deepEqual(document.curves.map(({ name }) => name), ['delivery', 'reference']);
  const at = await drawn('stalled.html');
  for (const title of OVER_TIME) {
    const { spans, legend } = at(title);
    assert.deepEqual(spans.map(({ reference }) => reference), [true, false], title);
    assert.ok(spans.every(({ width }) => width > 20), title);
    assert.ok(['reference', 'measured'].every((name) => legend.includes(name)), `${title}: ${legend}`);
  }
  // A run in which everybody reads has nothing to compare with.
  const plain = await drawn('plain.html');
  assert.deepEqual(plain('Server memory').spans.map(({ reference }) => reference), [false]);
});

test('two runs side by side', async () => {
  const [a, b] = [json('stalled.json'), json('plain.json')];
  await looks_well('compare.html', ALL, ['NOT COMPARABLE', ...a.warnings, ...b.warnings]);
  const at = await drawn('compare.html');
  const names = at('Latency by percentile').lines.map(({ name }) => name);
  assert.deepEqual(names, ['a, delivery', 'a, reference', 'b, delivery']);
  near(at('Latency by percentile', 'b, delivery').y.at(-1), b.curves[0].percentiles.max_us / 1e3, 'b');
  // One run's spans are shaded, and the legend says whose.
  assert.ok(['a, reference', 'a, measured'].every((name) => at('Server memory').legend.includes(name)));
  assert.ok(at('Server memory', 'a, resident memory') && at('Server memory', 'b, resident memory'));
});

test('two servers, pair by pair', async () => {
  const document = json('versus.json');
  // A machine that was taken away from the run leaves no valid pair, and nothing to draw.
  const valid = document.metrics.pairs > 0;
  assert.equal(document.curves.every(({ percentiles }) => percentiles.count > 0), valid);
  await looks_well('versus.html', valid ? ['Latency by percentile'] : [], document.warnings);
  if (valid) assert.deepEqual((await drawn('versus.html'))('Latency by percentile').lines.map(({ name }) => name), ['a', 'b']);
});

test('the table of targets has the curves of gateway and floor, and what the target allows', async () => {
  const [report, paced] = [json('perf/perf.json'), json('perf/paced.json')];
  const valid = paced.metrics.pairs > 0;
  const title = 'Latency by percentile: paced';
  await looks_well('perf/perf.html', valid ? ['CPU per delivery ÷ floor', title] : [], ['An indication', 'not all met']);
  assert.deepEqual(report.rows.map(({ verdict }) => verdict), Array(3).fill(valid ? 'quick' : 'void'));
  assert.ok(existsSync(file('perf/perf.md')));
  if (!valid) return;
  const at = await drawn('perf/perf.html');
  assert.deepEqual(at(title).lines.map(({ name }) => name), ['gateway', 'floor', "target: p99 ≤ 1.500 × floor's"]);
  near(at(title, 'gateway').y.at(-1), paced.curves[0].percentiles.max_us / 1e3, 'gateway');
  near(at(title, 'floor').y.at(-1), paced.curves[1].percentiles.max_us / 1e3, 'floor');
  const limit = at(title).lines[2];
  assert.deepEqual(limit.x, [0.99]);
  near(limit.y[0], 1.5 * paced.metrics.floor_p99 / 1e3, 'target');
});
