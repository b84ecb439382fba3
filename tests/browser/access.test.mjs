import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh, PASSWORD } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { faint, watch_shifts } from './support/look.mjs';
import { listen } from './support/said.mjs';
import { another, code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage();
/** Stops on the way from one control of a page to any other, at most. */
const STOPS_MAX = 30;

/** Goes on with the Tab key to the control with this test id; every stop on the way can be seen. */
async function tab_to({ page }, id, key = 'Tab') {
  const seen = [];
  for (let stop = 0; stop < STOPS_MAX; stop += 1) {
    await page.keyboard.press(key);
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return { id: element.dataset.testid ?? element.tagName, visible: outlineStyle !== 'none' && outlineWidth !== '0px' };
    });
    seen.push(at.id);
    if (at.id !== 'BODY') assert.ok(at.visible, `the focus on ${at.id} cannot be seen`);
    if (at.id === id) return;
  }
  assert.fail(`no way to ${id}: ${seen.join(', ')}`);
}

const press = async (tab, id, key = 'Enter') => {
  await tab_to(tab, id);
  await tab.page.keyboard.press(key);
};

/** What a screen reader is at: the heading of the step. */
const focused = (tab, words) => eventually(async () => {
  assert.match(await tab.page.evaluate(() => `${document.activeElement.tagName} ${document.activeElement.textContent}`), words);
});

test('by keyboard alone, on both sides: account, scan, digits, confirm, end that session, devices', async () => {
  const pc = await (await on.somebody()).tab(`${on.url}/?room=${fresh('chat:keys')}`);
  const first = await code_of(pc);
  await press(pc, 'qr-cancel');
  await shows(pc.at('qr-end'), 'Cancelled');
  await press(pc, 'qr-again', 'Space');
  const { url } = await eventually(async () => {
    const code = await code_of(pc);
    assert.notEqual(code.qr_id, first.qr_id);
    return code;
  });

  const phone = await (await on.somebody({ viewport: { width: 360, height: 740 } })).tab(on.reach(url));
  const type = (words) => phone.page.keyboard.type(words);
  await press(phone, 'account-other');
  const user_id = fresh('keys');
  await type(user_id);
  await tab_to(phone, 'account-shown-name');
  await type('Keys');
  await tab_to(phone, 'account-password');
  await type(PASSWORD);
  await phone.page.keyboard.press('Enter');
  await focused(phone, /^H1 Is the code on a screen/);
  await press(phone, 'in-front');
  await focused(phone, /^H1 This device asks/);
  const number = await number_of(pc);
  await tab_to(phone, 'number');
  await type(another(number));
  await phone.page.keyboard.press('Enter');
  await shows(phone.at('decide-error'), /2 more tries/);
  // Back in the field, which is empty again and says that it was wrong.
  await eventually(async () => assert.equal(await phone.page.evaluate(() => document.activeElement.dataset.testid), 'number'));
  assert.equal(await phone.at('number').getAttribute('aria-invalid'), 'true');
  assert.match(await phone.at('number').getAttribute('aria-describedby'), /\bdecide-error\b/);
  await type(number);
  // No is as near as yes: one stop after it.
  await tab_to(phone, 'choose-confirm');
  await phone.page.keyboard.press('Tab');
  assert.equal(await phone.page.evaluate(() => document.activeElement.dataset.testid), 'choose-deny');
  await phone.page.keyboard.press('Shift+Tab');
  await phone.page.keyboard.press('Enter');
  await shows(phone.at('result-title'), /^Signed in on/);
  await focused(phone, /^H1 Signed in on/);
  await pc.at('room').waitFor();

  // The list opens, asks, takes the question back with Escape, closes with the next, and the focus is where it was.
  await press(phone, 'result-devices');
  await eventually(async () => assert.equal(await phone.at('device').count(), 2));
  await press(phone, 'device-end');
  await phone.at('device-keep').waitFor();
  await phone.page.keyboard.press('Escape');
  await phone.at('device-keep').waitFor({ state: 'detached' });
  assert.equal(await phone.page.evaluate(() => document.activeElement.dataset.testid), 'device-end');
  await phone.page.keyboard.press('Escape');
  await phone.at('devices').waitFor({ state: 'hidden' });
  assert.equal(await phone.page.evaluate(() => document.activeElement.dataset.testid), 'result-devices');
  await tab_to(phone, 'result-end', 'Shift+Tab');
  await phone.page.keyboard.press('Enter');
  await focused(phone, /^H1 That session is ended/);
  await shows(pc.at('notice'), /ended elsewhere/);
});

test('every control has a name, every picture a text, every list of states a live region', async () => {
  const pc = await (await on.somebody()).tab(on.url);
  const phone = await (await on.somebody()).tab(on.reach((await code_of(pc)).url));
  await scan(phone, fresh('names'), 'Names');
  await number_of(pc);
  for (const [tab, regions] of [[pc, ['connection', 'qr-announce', 'notice']], [phone, ['announce', 'decide-error', 'ready-error']]]) {
    const nameless = await tab.page.evaluate(() => [...document.querySelectorAll('button, input, a[href], img, dialog, [role="group"]')]
      .filter((at) => {
        const labelled = (at.getAttribute('aria-labelledby') ?? '').split(' ').some((id) => document.getElementById(id)?.textContent);
        const label = at.getAttribute('aria-label') || labelled || [...(at.labels ?? [])].some((one) => one.textContent);
        // A hidden field holds the name for the password manager only; a button without words is not shown.
        return !label && !at.textContent.trim() && at.getAttribute('alt') === null && at.checkVisibility();
      }).map((at) => at.outerHTML));
    assert.deepEqual(nameless, []);
    for (const id of regions) {
      const role = await tab.at(id).getAttribute('role');
      assert.ok(['status', 'alert'].includes(role), `${id} is ${role}`);
    }
    // What counts down is not read out every second.
    const ticking = await tab.page.evaluate(() => ['qr-time', 'decide-left'].map((id) => document.getElementById(id)).filter(Boolean)
      .filter((at) => at.closest('[aria-live], [role="status"], [role="alert"]')).length);
    assert.equal(ticking, 0);
  }
});

test('the phone announces what happens while nobody touches it', async () => {
  const pc = await (await on.somebody()).tab(on.url);
  const phone = await (await on.somebody()).tab(on.reach((await code_of(pc)).url));
  await scan(phone, fresh('aloud'), 'Aloud');
  await number_of(pc);
  const heard = await listen(phone, 'result-title');
  await pc.at('qr-cancel').click();
  await shows(phone.at('result-title'), 'Cancelled on the other screen');
  await focused(phone, /^H1 Cancelled on the other screen/);
  assert.deepEqual(await heard(), ['Cancelled on the other screen']);
});

test('a layout shift is noticed where there is one', async () => {
  const pc = await (await on.somebody()).tab(on.url);
  await code_of(pc);
  const shifts = await watch_shifts(pc);
  await pc.page.evaluate(() => {
    const block = document.createElement('p');
    block.textContent = 'a line more';
    document.getElementById('qr').before(block);
  });
  await eventually(async () => assert.ok((await shifts()).length > 0));
});

for (const [name, viewport] of Object.entries({ '360 px': { width: 360, height: 740 }, '1280 px': { width: 1280, height: 800 } })) {
  test(`nothing jumps on the PC from the code to the end, nor on the phone by itself, ${name}`, async () => {
    const pc = await (await on.somebody({ viewport })).tab(on.url);
    await code_of(pc);
    const shifts = await watch_shifts(pc);
    const phone = await (await on.somebody({ viewport })).tab(on.reach((await code_of(pc)).url));
    await scan(phone, fresh('still'), 'Still');
    const number = await number_of(pc);
    const buttons = () => Promise.all(['choose-confirm', 'choose-deny', 'number'].map((id) => phone.at(id).boundingBox()));
    const places = await buttons();
    const phone_shifts = await watch_shifts(phone);
    await type_number(phone, another(number));
    await shows(phone.at('decide-error'), /2 more tries/);
    assert.deepEqual(await buttons(), places, 'an error moves no button away from the finger');
    assert.deepEqual(await phone_shifts(), [], 'what follows a tap may take its place');
    await phone.at('choose-deny').click();
    await shows(pc.at('qr-end'), 'Denied');
    assert.deepEqual(await shifts(), []);
    await shows(phone.at('result-title'), 'Denied');
  });
}

test('whoever wants no motion gets none: nothing turns, nothing slides', async () => {
  const moving = (tab) => tab.page.evaluate(() => {
    const busy = document.getElementById('qr-busy');
    busy.hidden = false;
    const kinds = document.getAnimations().flatMap((animation) => animation.effect.getKeyframes().flatMap((frame) => Object.keys(frame)));
    const slides = getComputedStyle(document.getElementById('qr-ring-left')).transitionDuration;
    busy.hidden = true;
    return { kinds: [...new Set(kinds)].filter((kind) => ['rotate', 'transform', 'translate', 'opacity'].includes(kind)), slides };
  });
  const still = await (await on.somebody({ reducedMotion: 'reduce' })).tab(on.url);
  await code_of(still);
  assert.deepEqual(await moving(still), { kinds: ['opacity'], slides: '0s' });
  const usual = await (await on.somebody({ reducedMotion: 'no-preference' })).tab(on.url);
  await code_of(usual);
  assert.deepEqual((await moving(usual)).kinds, ['rotate']);
});

test('a faint text is noticed', async () => {
  const pc = await (await on.somebody()).tab(on.url);
  await code_of(pc);
  await pc.page.evaluate(() => { document.getElementById('qr-title').style.color = 'rgb(0 0 0 / 40%)'; });
  assert.deepEqual((await faint(pc)).map((found) => found.replace(/^[\d.]+ /, '')), ['Sign in with your phone']);
});

for (const colorScheme of ['light', 'dark']) {
  test(`every text can be read, ${colorScheme}`, async () => {
    const pc = await (await on.somebody({ colorScheme })).tab(`${on.url}/?room=${fresh('chat:contrast')}`);
    const phone = await (await on.somebody({ colorScheme })).tab(on.reach((await code_of(pc)).url));
    assert.deepEqual(await faint(pc), []);
    assert.deepEqual(await faint(phone), []);
    await fill_account(phone, { user_id: fresh('contrast'), name: 'Contrast' });
    await phone.at('in-front').waitFor();
    assert.deepEqual(await faint(phone), []);
    await phone.at('in-front').click();
    await phone.at('step-request').waitFor();
    const number = await number_of(pc);
    assert.deepEqual(await faint(pc), []);
    await type_number(phone, another(number));
    await shows(phone.at('decide-error'), /2 more tries/);
    assert.deepEqual(await faint(phone), []);
    await type_number(phone, number);
    await phone.at('result-end').waitFor();
    assert.deepEqual(await faint(phone), []);
    await pc.at('room').waitFor();
    assert.deepEqual(await faint(pc), []);
    await phone.at('result-devices').click();
    await eventually(async () => assert.equal(await phone.at('device').count(), 2));
    await phone.at('device-end').last().click();
    assert.deepEqual(await faint(phone), []);
  });
}
