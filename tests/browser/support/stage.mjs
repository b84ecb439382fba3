import assert from 'node:assert/strict';
import { after, afterEach, before } from 'node:test';
import { fill_account, fresh, somebody, start_browser } from './browser.mjs';
import { eventually } from './eventually.mjs';
import { start_gateway } from './gateway.mjs';
import { start_proxy } from './proxy.mjs';

/**
 * One gateway and one browser for the tests of a file or a suite. Everybody who came on stage during a test leaves
 * after it, and must not have met an error, a dialog or a policy violation.
 * @param {string} [config] of the gateway, TOML
 * @param {string} [top] fields of it that stand before all tables
 */
export function stage(config, top) {
  const on = { gateway: null, browser: null };
  const present = [];
  const proxies = [];
  before(async () => {
    on.gateway = await start_gateway(config, top);
    on.browser = await start_browser();
  });
  afterEach(async () => {
    const people = present.splice(0);
    await Promise.all(people.map((person) => person.close()));
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
    for (const { faults } of people) assert.deepEqual(faults, []);
  });
  after(async () => {
    await on.browser?.close();
    await on.gateway?.stop();
    // Nothing went wrong, and no token (they begin like this) was written down.
    assert.doesNotMatch(on.gateway?.log() ?? '', /\bERROR\b|panicked|eyJ/);
  });
  return {
    get url() {
      return on.gateway.url;
    },
    get pid() {
      return on.gateway.pid;
    },
    /** The operator's port. */
    get operator() {
      return on.gateway.operator;
    },
    /** Another gateway takes the place of the one there is, which is told to go. Resolves when that one has gone. */
    async replace() {
      const old = on.gateway;
      on.gateway = await start_gateway(config, top);
      for (const proxy of proxies) proxy.lead_to(on.gateway.url);
      await old.stop();
    },
    async somebody(options) {
      const person = await somebody(on.browser, options);
      present.push(person);
      return person;
    },
    async proxy() {
      const proxy = await start_proxy(on.gateway.url);
      proxies.push(proxy);
      return proxy;
    },
    /** A code's address as it is reached from here, whatever name the gateway calls itself. */
    reach(url) {
      return new URL(new URL(url).pathname, on.gateway.url).href;
    },
  };
}

/** The code a PC shows. @returns {Promise<{qr_id: string, url: string}>} */
export async function code_of(pc) {
  await pc.at('qr-image').waitFor();
  const url = await pc.at('qr-url').getAttribute('href');
  return { url, qr_id: new URL(url).pathname.split('/').at(-1) };
}

/** Makes an account on the confirm page and scans. */
export async function scan(phone, user_id, name) {
  await fill_account(phone, { user_id, name });
  await phone.at('in-front').click();
  await phone.at('step-request').waitFor();
}

export async function type_number(phone, digits) {
  await phone.at('number').fill(digits);
  await phone.at('choose-confirm').click();
}

/** The number on the PC, once it is there. */
export function number_of(pc) {
  return eventually(async () => {
    const number = await pc.at('qr-number').innerText({ timeout: 1_000 });
    assert.match(number, /^\d\d$/);
    return number;
  });
}

export const another = (number) => String((Number(number) + 1) % 100).padStart(2, '0');

/** Somebody new in a room, by password. */
export async function guest(on, word, { room, name = word, url = on.url }) {
  const person = await on.somebody();
  const tab = await person.tab(`${url}/?room=${room}`);
  const user_id = fresh(word);
  await tab.at('password-open').click();
  await fill_account(tab, { user_id, name });
  await tab.at('room').waitFor();
  await joined(tab);
  return { ...tab, person, user_id, name };
}

/** In the room: the counts of the join have arrived. */
export function joined(tab) {
  return eventually(async () => assert.match(await tab.at('count-viewers').innerText({ timeout: 1_000 }), /^\d+$/));
}

export async function say(tab, text) {
  await tab.at('composer-text').fill(text);
  await tab.at('composer-send').click();
}

/** The messages a page shows, oldest first. */
export const said = (tab) => tab.at('message-body').allInnerTexts();

/**
 * A socket beside the page's own client, from the same origin: sends the commands one after the other.
 * @returns {Promise<object[]>} the replies
 */
export function raw_socket(tab, commands) {
  return tab.page.evaluate((list) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/v1/ws`, 'countersign.v1.json');
    const replies = [];
    const next = () => {
      if (replies.length < list.length) {
        socket.send(JSON.stringify({ id: replies.length + 1, ...list[replies.length] }));
        return;
      }
      socket.close();
      resolve(replies);
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === 'hello') next();
      if (!('id' in frame)) return;
      replies.push(frame);
      next();
    };
    socket.onerror = () => reject(new Error('no socket'));
  }), commands);
}

/** What the page keeps for a reload: the tokens are bound to the device. */
export function keys_of(tab) {
  return tab.page.evaluate(() => ({
    token: JSON.parse(sessionStorage.getItem('countersign.session')).access_token,
    device: JSON.parse(localStorage.getItem('countersign.device')),
  }));
}
