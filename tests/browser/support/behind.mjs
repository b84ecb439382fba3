import assert from 'node:assert/strict';
import { fresh } from './browser.mjs';
import { start_breaking_proxy } from './breaking.mjs';
import { eventually, shows } from './eventually.mjs';
import { another, code_of, joined, number_of, scan, type_number } from './stage.mjs';

/** Generous: silence is noticed after 20 s only. */
export const LONG_MS = 60_000;

/** What the browser writes about a proxy that breaks things is no fault of the page. */
const OF_PROXIES = /Failed to load resource: (net::ERR_|the server responded with a status of 50[23])/;

export const POLL = /^GET \/v1\/qr\/[\w-]+$/;

/** A PC behind such a proxy. `forgive` forgets what its browser wrote about it. */
export async function behind(on, t, knobs) {
  const proxy = await start_breaking_proxy(on.url, knobs);
  t.after(() => proxy.stop());
  const person = await on.somebody();
  const pc = await person.tab(`${proxy.url}/?room=${fresh('chat:around')}`);
  const forgive = () => person.faults.splice(0, person.faults.length, ...person.faults.filter((fault) => !OF_PROXIES.test(fault)));
  return { proxy, pc, forgive };
}

/** A phone that reaches the gateway straight. */
export async function phone_of(on, pc) {
  const { url } = await code_of(pc);
  return (await on.somebody()).tab(on.reach(url));
}

export const goes_by = (pc, transport, ms) => eventually(async () => {
  assert.equal(await pc.at('qr').getAttribute('data-transport', { timeout: 1_000 }), transport);
}, ms);

/** The proxy lets WebSockets through, and the browser says that the network came back until one stands: one that was under way
 * may still have been refused, and the page would wait out its own backoff. */
export function climbs(pc, proxy) {
  proxy.upgrade = 'pass';
  return eventually(async () => {
    await pc.page.evaluate(() => dispatchEvent(new Event('online')));
    assert.equal(await pc.at('qr').getAttribute('data-transport', { timeout: 1_000 }), 'websocket');
  }, LONG_MS);
}

/** Scan, a wrong number and the right one on the phone; the PC ends signed in. */
export async function signs_in(pc, phone, word) {
  const user_id = fresh(word);
  await scan(phone, user_id, word);
  await shows(pc.at('qr-who-name'), word, LONG_MS);
  const number = await number_of(pc);
  await type_number(phone, another(number));
  await shows(phone.at('decide-error'), /2 more tries/);
  await type_number(phone, number);
  await shows(phone.at('result-title'), /^Signed in on/, LONG_MS);
  await pc.at('room').waitFor({ timeout: LONG_MS });
  await shows(pc.at('account-id'), user_id);
}

/** Signed in, and the room says that it cannot be reached until it can. */
export async function room_comes_back(pc, proxy) {
  await pc.at('room-unreached').waitFor({ timeout: LONG_MS });
  await shows(pc.at('connection'), 'Reconnecting…');
  await climbs(pc, proxy);
  await joined(pc);
  await pc.at('room-unreached').waitFor({ state: 'hidden' });
  await shows(pc.at('connection'), 'Connected');
}
