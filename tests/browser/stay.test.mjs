import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { faint, fits } from './support/look.mjs';
import { code_of, number_of, scan, stage, type_number } from './support/stage.mjs';

/** A phone: a coarse pointer, and narrow. */
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const NO_CODE = `/q/${'A'.repeat(22)}`;

const kept = (tab) => tab.page.evaluate(() => JSON.parse(localStorage.getItem('countersign.session')));
const own = (tab) => tab.page.evaluate(() => JSON.parse(sessionStorage.getItem('countersign.session')));

/** How many devices its list shows as signed in. */
async function devices(tab) {
  await tab.at('devices-open').click();
  await tab.at('device').first().waitFor();
  const count = await tab.at('device').count();
  await tab.at('devices-close').click();
  return count;
}

describe('a phone that stays signed in', () => {
  const on = stage();

  const pc_of = async (word) => (await on.somebody()).tab(`${on.url}/?room=${fresh(`chat:${word}`)}`);
  const phone_of = async (path, options) => {
    const person = await on.somebody({ ...PHONE, ...options });
    return { ...await person.tab(on.url + path), person };
  };

  test('the next code, in a new tab, needs no password and makes no session more', async () => {
    const [one, two] = [await pc_of('one'), await pc_of('two')];
    const person = await on.somebody(PHONE);
    const user_id = fresh('stays');
    const first = await person.tab(on.reach((await code_of(one)).url));
    assert.equal(await first.at('account-stay').isChecked(), true);
    await scan(first, user_id, 'Stays');
    await type_number(first, await number_of(one));
    await one.at('room').waitFor();
    const { session } = await kept(first);
    assert.equal(await own(first), null);

    // As a camera opens it. Nothing is asked of the code before the click.
    const second = await person.tab(on.reach((await code_of(two)).url));
    await second.at('in-front').waitFor();
    assert.equal(await second.at('step-sign-in').isVisible(), false);
    await shows(second.at('account-id'), user_id);
    await shows(two.at('qr-status'), /^Waiting/);
    assert.deepEqual(second.requests.filter((request) => request.includes(' /v1/')), []);
    await second.at('in-front').click();
    await second.at('step-request').waitFor();
    await type_number(second, await number_of(two));
    await two.at('room').waitFor();
    await shows(second.at('result-title'), /^Signed in on/);

    // The phone, and the two that it signed in.
    assert.equal((await kept(second)).session, session);
    assert.equal(await devices(second), 3);
    assert.equal(second.requests.filter((request) => request === 'POST /v1/login').length, 0);
    // What follows on the phone goes on with it as well.
    await second.page.goto(`${on.url}/?room=${fresh('chat:onward')}`);
    await second.at('room').waitFor();
    await shows(second.at('account-id'), user_id);
  });

  test('somebody who is signing in at one tab is not taken for who signs in at another', async () => {
    const first = await phone_of(NO_CODE);
    const second = await first.person.tab(on.url + NO_CODE);
    const [slow, quick] = [fresh('slow'), fresh('quick')];
    let answer;
    const answered = new Promise((resolve) => { answer = resolve; });
    await first.page.route('**/v1/login', async (route) => {
      await answered;
      await route.continue();
    });
    await first.at('account-stay').uncheck();
    await fill_account(first, { user_id: slow, name: 'Slow' });
    await fill_account(second, { user_id: quick, name: 'Quick' });
    await shows(second.at('account-id'), quick);
    // It has been told of what is kept by now, and is still asking.
    await first.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    assert.equal(await first.at('step-sign-in').isVisible(), true);
    answer();
    await shows(first.at('account-id'), slow);
    assert.equal((await kept(second)).user.id, quick);
    assert.equal(await devices(second), 1);
    await shows(second.at('account-id'), quick);
  });

  test('unticked keeps nothing: a reload goes on, a new tab asks', async () => {
    const first = await phone_of(NO_CODE);
    await first.at('account-stay').uncheck();
    await fill_account(first, { user_id: fresh('leaves'), name: 'Leaves' });
    await first.at('in-front').waitFor();
    assert.equal(await kept(first), null);
    await first.page.reload();
    await first.at('in-front').waitFor();
    const second = await first.person.tab(on.url + NO_CODE);
    await second.at('step-sign-in').waitFor();
    assert.equal(await second.at('in-front').isVisible(), false);
  });

  test('it is asked on both pages of the phone, not where a code is shown, and is not ticked where there is a mouse', async () => {
    for (const path of ['/q', NO_CODE]) {
      assert.equal(await (await phone_of(path)).at('account-stay').isChecked(), true, path);
      const pc = await (await on.somebody()).tab(on.url + path);
      assert.equal(await pc.at('account-stay').isChecked(), false, path);
    }
    const pc = await pc_of('never');
    await pc.at('password-open').click();
    await pc.at('account-password').waitFor();
    assert.equal(await pc.at('account-stay').count(), 0);
    await fill_account(pc, { user_id: fresh('never'), name: 'Never' });
    await pc.at('room').waitFor();
    assert.equal(await kept(pc), null);
  });

  test('signed out in one tab: the other asks to sign in, says why, and goes on when the first one is signed in again', async () => {
    const first = await phone_of(NO_CODE);
    const user_id = fresh('out');
    await fill_account(first, { user_id, name: 'Out' });
    await first.at('in-front').waitFor();
    const second = await first.person.tab(`${on.url}/q`);
    await second.at('type-code').waitFor();
    await first.at('sign-out').click();
    for (const tab of [first, second]) {
      await tab.at('step-sign-in').waitFor();
      assert.equal(await tab.at('account').isVisible(), false);
    }
    await shows(second.at('sign-in-why'), /^You were signed out: the session was ended elsewhere\. Sign in here first\./);
    await shows(first.at('sign-in-why'), /^Sign in here first\./);
    assert.equal(await kept(second), null);

    const other_id = fresh('other');
    await fill_account(first, { user_id: other_id, name: 'Other' });
    await second.at('type-code').waitFor();
    await shows(second.at('account-id'), other_id);
    assert.equal(await devices(second), 1);
  });

  test('ended from another device: what was kept is gone, and the page asks to sign in', async () => {
    const phone = await phone_of(`/q`);
    const user_id = fresh('revoked');
    await fill_account(phone, { user_id, name: 'Revoked' });
    await phone.at('type-code').waitFor();
    const pc = await pc_of('revoked');
    await pc.at('password-open').click();
    await fill_account(pc, { user_id });
    await pc.at('devices-open').click();
    await pc.at('devices-end-others').click();
    await pc.at('device-yes').click();
    await shows(pc.at('devices-status'), 'All other devices are signed out.');
    await phone.at('typed-code').fill('bcdfghjk');
    await phone.at('type-code-send').click();
    await phone.at('step-sign-in').waitFor();
    assert.equal(await kept(phone), null);
    const next = await phone.person.tab(on.url + NO_CODE);
    await next.at('step-sign-in').waitFor();
  });

  test('a page that shows a code goes on showing it, whoever signs in at another tab', async () => {
    const person = await on.somebody();
    const pc = await person.tab(`${on.url}/?room=${fresh('chat:beside')}`);
    const { qr_id } = await code_of(pc);
    const beside = await person.tab(on.url + NO_CODE);
    await beside.at('account-stay').check();
    await fill_account(beside, { user_id: fresh('beside'), name: 'Beside' });
    await beside.at('in-front').waitFor();
    assert.notEqual(await kept(pc), null);
    await pc.page.bringToFront();
    assert.equal((await code_of(pc)).qr_id, qr_id);
    await shows(pc.at('qr-status'), /^Waiting/);
  });

  for (const [locale, label] of [['en-GB', 'Stay signed in on this device'], ['zh-CN', '在此设备上保持登录']]) {
    for (const colorScheme of ['light', 'dark']) {
      test(`the form can be read and used by keyboard at 360 px, ${locale}, ${colorScheme}`, async () => {
        const phone = await phone_of(NO_CODE, { locale, colorScheme });
        const box = phone.page.getByRole('checkbox', { name: label });
        await box.waitFor();
        await fits(phone, 'sign in');
        assert.deepEqual(await faint(phone), []);
        const row = await phone.page.locator('label.check').boundingBox();
        assert.ok(row.height >= 44, `${row.height} px high`);
        const places = () => Promise.all(['account-submit', 'account-other'].map((id) => phone.at(id).boundingBox()));
        const before = await places();
        await phone.at('account-password').focus();
        await phone.page.keyboard.press('Tab');
        assert.equal(await box.evaluate((at) => at === document.activeElement && getComputedStyle(at).outlineStyle !== 'none'), true);
        await phone.page.keyboard.press('Space');
        assert.equal(await box.isChecked(), false);
        await phone.page.locator('label.check').click();
        assert.equal(await box.isChecked(), true);
        assert.deepEqual(await places(), before);
      });
    }
  }
});

describe('two tabs whose tokens run out', () => {
  // Run out as soon as they are there. The grace is for an answer that is slow to come on a busy machine.
  const on = stage('[tokens]\naccess_ms = 10_000\nexpiring_ms = 1_000\nrefresh_grace_ms = 5_000\n');

  for (const [where, locks] of [['with locks', true], ['without locks, as over plain http', false]]) {
    /** Somebody who is signed in at `/q`, and what becomes of their refresh tokens. */
    const signed_in = async (word, stays) => {
      const person = await on.somebody(PHONE);
      if (!locks) await person.context.addInitScript(() => { Object.defineProperty(Navigator.prototype, 'locks', { value: undefined }); });
      /** Refresh tokens as they are used, each with the page that did. */
      const used = [];
      person.context.on('request', (request) => {
        if (request.url().endsWith('/v1/refresh')) used.push({ page: request.frame().page(), token: request.postDataJSON().refresh_token });
      });
      const first = await person.tab(`${on.url}/q`);
      assert.equal(await first.page.evaluate(() => navigator.locks !== undefined), locks);
      if (!stays) await first.at('account-stay').uncheck();
      await fill_account(first, { user_id: fresh(word), name: word });
      await first.at('type-code').waitFor();
      return { person, used, first };
    };

    const both_stay = async (first, second, used) => {
      await second.at('type-code').waitFor();
      const by = ({ page }) => used.filter((use) => use.page === page).length;
      for (let round = 0; round < 3; round += 1) {
        for (const tab of [first, second]) {
          const before = by(tab);
          assert.equal(await devices(tab), 1);
          await eventually(() => assert.ok(by(tab) > before));
        }
      }
      for (const tab of [first, second]) assert.equal(await tab.at('step-sign-in').isVisible(), false);
      // Asked once more when an answer was slow to come, but always by the same tab.
      const pages = new Map();
      for (const { page, token } of used) pages.set(token, (pages.get(token) ?? new Set()).add(page));
      assert.ok(pages.size >= 6);
      assert.deepEqual([...pages.values()].filter(({ size }) => size > 1), [], 'one tab renews each pair');
    };

    test(`on a phone that stays signed in each renews the session, and both stay signed in: ${where}`, async () => {
      const { person, used, first } = await signed_in('both', true);
      const { session } = await kept(first);
      await both_stay(first, await person.tab(`${on.url}/q`), used);
      assert.equal((await kept(first)).session, session);
    });

    test(`a tab that is signed in for itself, and its copy: ${where}`, async () => {
      const { person, used, first } = await signed_in('copied', false);
      const { session } = await own(first);
      // A window that a page opens gets a copy of its session storage, as a duplicated tab does.
      const [page] = await Promise.all([
        person.context.waitForEvent('page'),
        first.page.evaluate(() => { window.open(location.href); }),
      ]);
      const second = { page, at: (id) => page.getByTestId(id) };
      await both_stay(first, second, used);
      for (const tab of [first, second]) assert.equal((await own(tab)).session, session);
      assert.equal(await kept(first), null);
    });
  }
});
