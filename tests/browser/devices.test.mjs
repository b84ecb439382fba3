import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill_account, fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { guest, stage } from './support/stage.mjs';

const on = stage();

/** The same account on a device more. */
async function also(user_id) {
  const tab = await (await on.somebody()).tab(on.url);
  await tab.at('password-open').click();
  await fill_account(tab, { user_id });
  await tab.at('room').waitFor();
  return tab;
}

const listed = (tab, count) => eventually(async () => assert.equal(await tab.at('device').count(), count));

test('the list tells this device from the others; one is signed out, then all others', async () => {
  const here = await guest(on, 'many', { room: fresh('chat:devices') });
  const [second, third, fourth] = [await also(here.user_id), await also(here.user_id), await also(here.user_id)];
  await here.at('devices-open').click();
  await listed(here, 4);
  assert.equal(await here.at('device-current').count(), 1);
  const first = here.at('device').first();
  await shows(first.getByTestId('device-name'), 'Chrome on Linux this device');
  assert.match(await first.innerText(), /browser · from 127\.0\.0\.1\s+Signed in .*20\d\d.*\s+Last seen /);

  // Asked whether it is meant, and taken back with Escape: the focus is where it was, the dialog still open.
  const newest = here.at('device').nth(1).getByTestId('device-end');
  assert.equal(await newest.getAttribute('aria-label'), 'Sign out Chrome on Linux');
  await newest.focus();
  await here.page.keyboard.press('Enter');
  await here.at('device-yes').waitFor();
  assert.equal(await here.at('device-keep').evaluate((button) => button === document.activeElement), true);
  await here.page.keyboard.press('Escape');
  assert.equal(await newest.evaluate((button) => button === document.activeElement), true);
  await listed(here, 4);

  await newest.click();
  await here.at('device-yes').click();
  await shows(here.at('devices-status'), 'Chrome on Linux is signed out.');
  await listed(here, 3);
  await fourth.at('sign-in').waitFor();
  assert.equal(await third.at('room').isVisible(), true);

  await here.at('devices-end-others').click();
  await here.at('device-keep').click();
  assert.equal(await second.at('room').isVisible(), true);
  await here.at('devices-end-others').click();
  await here.at('device-yes').click();
  await shows(here.at('devices-status'), 'All other devices are signed out.');
  await listed(here, 1);
  for (const other of [second, third]) await other.at('sign-in').waitFor();
  assert.equal(await here.at('devices-end-others').count(), 0);
  await here.at('devices-close').click();
  assert.equal(await here.at('room').isVisible(), true);
});

test('signing out this device from the list leaves it signed out', async () => {
  const here = await guest(on, 'self', { room: fresh('chat:devices') });
  await here.at('devices-open').click();
  await listed(here, 1);
  await shows(here.at('devices-status'), 'You are signed in nowhere else.');
  await here.at('device-end').click();
  await here.at('device-yes').click();
  await here.at('sign-in').waitFor();
  assert.equal(await here.at('devices').isVisible(), false);
});

test('a list that cannot be read says so', async () => {
  const here = await guest(on, 'unread', { room: fresh('chat:devices') });
  await here.person.context.route('**/v1/sessions', (route) => route.fulfill({ status: 403, json: { code: 'not_allowed' } }));
  await here.at('devices-open').click();
  await shows(here.at('devices-status'), 'That did not work: you may not do that here.');
});
