import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Client } from '../../web/client.js';
import { SESSION, SessionStore } from '../../web/page/session-store.js';
import { Clock, settle, TOKENS } from './support/fake.mjs';

const LIFE_MS = 900_000;
/** How long the gateway answers a token that was exchanged with the same pair once more. */
const GRACE_MS = 10_000;

/** As a browser has it, behind `guarded`: what is read is a copy. */
function make_storage({ full = () => false } = {}) {
  const kept = new Map();
  return {
    read: (key) => (kept.has(key) ? JSON.parse(kept.get(key)) : null),
    write: (key, value) => {
      if (value === null) kept.delete(key);
      else if (full()) kept.delete(key);
      else kept.set(key, JSON.stringify(value));
    },
  };
}

/** One lock for all tabs, as a secure context has it. */
function make_locks() {
  let last = Promise.resolve();
  return {
    request(name, { signal }, run) {
      assert.ok(name && signal);
      const mine = last.then(run);
      last = mine.catch(() => {});
      return mine;
    },
  };
}

/** Messages between tabs, as a browser brings them: to all others, and later. */
function make_channel() {
  const all = new Set();
  return class {
    constructor(name) {
      all.add(Object.assign(this, { name, onmessage: null, heard: 0 }));
    }

    postMessage(data) {
      const copy = structuredClone(data);
      for (const other of all) {
        if (other !== this && other.name === this.name) setImmediate(() => this.#bring(other, copy));
      }
    }

    #bring(other, data) {
      other.heard += 1;
      assert.ok(other.heard < 50, 'they talk without end');
      other.onmessage?.({ data });
    }
  };
}

/** A browser with tabs, and a gateway that exchanges each refresh token once. */
function make_browser({ locks, full, Channel } = {}) {
  const clock = new Clock();
  const lasting = make_storage({ full });
  const asked = [];
  let [logins, turn, over, replaced] = [0, 0, true, null];
  const tokens = () => ({
    ...TOKENS, session: `s_${logins}`, access_token: `access-${logins}.${turn}`, refresh_token: `refresh-${logins}.${turn}`, expires_in_ms: LIFE_MS,
  });
  const refused = { status: 401, body: { code: 'invalid_token' } };
  const refresh = ({ refresh_token }) => {
    if (over) return refused;
    const now = clock.now();
    if (refresh_token === tokens().refresh_token) {
      replaced = { refresh_token, at: now };
      turn += 1;
    } else if (refresh_token !== replaced?.refresh_token || now - replaced.at > GRACE_MS) {
      over = true;
      return refused;
    }
    return { body: tokens() };
  };
  const answer = {
    '/v1/login': () => {
      [logins, turn, over, replaced] = [logins + 1, 0, false, null];
      return { body: tokens() };
    },
    '/v1/refresh': refresh,
    '/v1/logout': () => {
      over = true;
      return { body: {} };
    },
    '/v1/me': () => (over ? refused : { body: { user: TOKENS.user } }),
  };
  const browser = {
    clock,
    lasting,
    asked,
    /** Holds back answers: a function that is given the path and may return a promise. */
    hold: () => null,
    renewals: () => asked.filter(({ path }) => path === '/v1/refresh').map(({ body }) => body.refresh_token),
    end() {
      over = true;
    },
    /** @returns {{client: Client, store: SessionStore, own: object, ended: string[]}} */
    tab(own = make_storage()) {
      const store = new SessionStore({ tab: own, lasting, locks, Channel });
      const fetch = async (url, { headers, body }) => {
        const path = new URL(url).pathname;
        asked.push({ path, body: body && JSON.parse(body), token: headers.Authorization });
        const { status = 200, body: value } = answer[path](body && JSON.parse(body));
        await browser.hold(path);
        return new Response(JSON.stringify(value), { status });
      };
      const client = new Client({
        url: 'https://gateway.test', device: { id: 'd_1' }, session: store.load(), shared: store, fetch, clock, WebSocket: class {},
      });
      const ended = [];
      store.onnewer = () => client.syncSession();
      client.on('session', (saved, why) => {
        const replaced = store.save(saved, why);
        if (replaced) client.dismissSession(replaced).catch(() => {});
        if (!saved) ended.push(why);
      });
      return { client, store, own, ended, me: () => client.request('GET', '/v1/me') };
    },
    /** The copy of a tab as a browser makes it: what the storage has at that moment, and its own from then on. */
    copy({ own }) {
      const copied = make_storage();
      copied.write(SESSION, own.read(SESSION));
      return browser.tab(copied);
    },
    /** One that signed in and stays. */
    async staying() {
      const tab = browser.tab();
      tab.store.stay(true);
      await tab.client.login({ user_id: 'alice', password: 'x' });
      return tab;
    },
  };
  return browser;
}

describe('where a session is kept', () => {
  test('ticked, on this device: a new tab goes on with it', async () => {
    const browser = make_browser();
    const first = await browser.staying();
    assert.equal(first.own.read(SESSION), null);
    const second = browser.tab();
    assert.equal(second.client.user.id, 'alice');
    await second.me();
    assert.equal(second.client.session.session, first.client.session.session);
    assert.deepEqual(browser.asked.map(({ path }) => path), ['/v1/login', '/v1/me']);
  });

  test('not ticked, for this tab alone, over a reload', async () => {
    const browser = make_browser();
    const tab = browser.tab();
    tab.store.stay(false);
    await tab.client.login({ user_id: 'alice', password: 'x' });
    assert.equal(browser.lasting.read(SESSION), null);
    assert.equal(browser.tab().client.user, null);
    const again = browser.tab(tab.own);
    assert.equal(again.client.user.id, 'alice');
    await browser.clock.advance(LIFE_MS);
    await again.me();
    assert.deepEqual([browser.lasting.read(SESSION), again.own.read(SESSION).refresh_token], [null, 'refresh-1.1']);
  });

  test('a code that signs a page in is for its tab, whatever was ticked', () => {
    const { lasting, tab } = make_browser();
    const { store, own } = tab();
    store.stay(true);
    store.save({ ...TOKENS, generation: 0 }, 'qr');
    assert.deepEqual([lasting.read(SESSION), own.read(SESSION).session], [null, 's_1']);
  });

  test('a storage that takes nothing: it lasts as long as the tab', async () => {
    const browser = make_browser({ full: () => true });
    const tab = await browser.staying();
    assert.equal(tab.own.read(SESSION).session, 's_1');
    await browser.clock.advance(LIFE_MS);
    await tab.me();
    assert.deepEqual([tab.ended, tab.own.read(SESSION).refresh_token], [[], 'refresh-1.1']);
  });

  test('one that takes the place of another on the device ends that at the gateway: nobody has it any more', async () => {
    const browser = make_browser();
    const there = await browser.staying();
    // A tab that was somebody else's own.
    const storage = make_storage();
    storage.write(SESSION, { ...TOKENS, session: 's_own' });
    const own = browser.tab(storage);
    own.store.stay(true);
    await own.client.login({ user_id: 'carol', password: 'x' });
    await settle();
    assert.deepEqual([browser.asked.at(-1).path, browser.asked.at(-1).token], ['/v1/logout', 'Bearer access-1.0']);
    there.client.syncSession();
    assert.deepEqual([there.ended, browser.lasting.read(SESSION).session], [['revoked'], 's_2']);
  });

  test('what is no session is nobody\'s', () => {
    for (const rubbish of ['x', 7, {}, { session: 's_1' }, { refresh_token: 1, session: 's_1' }, { refresh_token: 'r', session: 's_1' }]) {
      const browser = make_browser();
      browser.lasting.write(SESSION, rubbish);
      assert.equal(browser.tab().client.user, null);
    }
  });

  test('a tab with a session of its own has nothing to do with the one that is kept', async () => {
    const browser = make_browser();
    const own = browser.tab();
    await own.client.login({ user_id: 'alice', password: 'x' });
    const other = await browser.staying();
    await other.client.logout();
    own.client.syncSession();
    assert.deepEqual([own.ended, own.client.session.session], [[], 's_1']);
    const third = await browser.staying();
    own.client.syncSession();
    browser.end();
    await assert.rejects(own.me());
    assert.deepEqual([own.ended, browser.lasting.read(SESSION).session], [['refused'], third.client.session.session]);
  });
});

for (const [where, locks] of [['with locks', make_locks], ['without locks', () => undefined]]) {
  describe(`one session in several tabs, ${where}`, () => {
    test('the one renews it, and long after that the other goes on with the newer pair', async () => {
      const browser = make_browser({ locks: locks() });
      const first = await browser.staying();
      const second = browser.tab();
      for (let n = 0; n < 3; n += 1) {
        await browser.clock.advance(LIFE_MS);
        await first.me();
        await browser.clock.advance(GRACE_MS + 1);
        await second.me();
        await browser.clock.advance(LIFE_MS);
        await second.me();
        await browser.clock.advance(GRACE_MS + 1);
        await first.me();
      }
      assert.deepEqual(browser.renewals(), [0, 1, 2, 3, 4, 5].map((n) => `refresh-1.${n}`));
      assert.deepEqual([first.ended, second.ended], [[], []]);
      assert.equal(browser.lasting.read(SESSION).refresh_token, 'refresh-1.6');
    });

    test('both at once: the same pair, and both go on', async () => {
      const browser = make_browser({ locks: locks() });
      const tabs = [await browser.staying(), browser.tab()];
      await browser.clock.advance(LIFE_MS);
      await Promise.all(tabs.map(({ me }) => me()));
      assert.deepEqual(browser.renewals(), Array(locks() ? 1 : 2).fill('refresh-1.0'));
      await browser.clock.advance(LIFE_MS);
      for (const { me } of tabs) await me();
      assert.deepEqual(browser.renewals().at(-1), 'refresh-1.1');
      for (const { client, ended } of tabs) assert.deepEqual([client.session.refresh_token, ended], ['refresh-1.2', []]);
    });

    test('an access token that the gateway takes no more is renewed once for both', async () => {
      const browser = make_browser({ locks: locks() });
      const tabs = [await browser.staying(), browser.tab()];
      await browser.clock.advance(LIFE_MS);
      await tabs[0].me();
      await browser.clock.advance(GRACE_MS + 1);
      assert.equal(await tabs[1].client.request('GET', '/v1/me').then(() => browser.asked.at(-1).token), 'Bearer access-1.1');
      assert.equal(browser.renewals().length, 1);
    });

    test('the one is signed out: the other finds out before it asks anything, and nothing is kept', async () => {
      const browser = make_browser({ locks: locks() });
      const [first, second] = [await browser.staying(), browser.tab()];
      await first.client.logout();
      assert.equal(browser.lasting.read(SESSION), null);
      const before = browser.asked.length;
      await assert.rejects(second.me(), { code: 'unauthenticated' });
      assert.deepEqual([second.ended, second.client.session, browser.asked.length], [['revoked'], null, before]);
    });

    test('ended from elsewhere: taken out of the storage by who is refused, and the other finds out', async () => {
      const browser = make_browser({ locks: locks() });
      const [first, second] = [await browser.staying(), browser.tab()];
      browser.end();
      await assert.rejects(first.me(), { status: 401 });
      assert.deepEqual([first.ended, browser.lasting.read(SESSION)], [['refused'], null]);
      second.client.syncSession();
      assert.deepEqual(second.ended, ['revoked']);
    });

    test('another account takes its place: the session that it was ends in the other tab, and the new one stays', async () => {
      const browser = make_browser({ locks: locks() });
      const [first, second] = [await browser.staying(), browser.tab()];
      await first.client.logout();
      await first.client.login({ user_id: 'bob', password: 'x' });
      second.client.syncSession();
      assert.deepEqual([second.ended, second.client.session], [['revoked'], null]);
      const kept = browser.lasting.read(SESSION);
      assert.equal(kept.session, 's_2');
      assert.equal(browser.asked.filter(({ path }) => path === '/v1/logout').length, 1);
      second.client.resumeSession(kept);
      await second.me();
      assert.equal(browser.asked.at(-1).token, 'Bearer access-2.0');
    });
  });
}

for (const [where, locks] of [['with locks', make_locks], ['without locks', () => undefined]]) {
  describe(`a tab and its copy, ${where}`, () => {
    const duplicated = async () => {
      const browser = make_browser({ locks: locks(), Channel: make_channel() });
      const first = browser.tab();
      await first.client.login({ user_id: 'alice', password: 'x' });
      return { browser, first, second: browser.copy(first) };
    };

    test('the one renews it, and long after that the other goes on with the newer pair', async () => {
      const { browser, first, second } = await duplicated();
      for (let n = 0; n < 3; n += 1) {
        for (const [one, other] of [[first, second], [second, first]]) {
          await browser.clock.advance(LIFE_MS);
          await one.me();
          await browser.clock.advance(GRACE_MS + 1);
          await other.me();
        }
      }
      assert.deepEqual(browser.renewals(), [0, 1, 2, 3, 4, 5].map((n) => `refresh-1.${n}`));
      assert.deepEqual([first.ended, second.ended, browser.lasting.read(SESSION)], [[], [], null]);
      for (const { own } of [first, second]) assert.equal(own.read(SESSION).refresh_token, 'refresh-1.6');
    });

    test('both at once: the same pair, and both go on', async () => {
      const { browser, first, second } = await duplicated();
      await browser.clock.advance(LIFE_MS);
      await Promise.all([first.me(), second.me()]);
      assert.deepEqual(browser.renewals(), Array(locks() ? 1 : 2).fill('refresh-1.0'));
      await browser.clock.advance(LIFE_MS);
      for (const { me } of [first, second]) await me();
      for (const { client, ended } of [first, second]) assert.deepEqual([client.session.refresh_token, ended], ['refresh-1.2', []]);
    });

    test('a copy of what it was long ago, as of a tab that is restored, asks before it renews', async () => {
      const { browser, first } = await duplicated();
      const old = make_storage();
      old.write(SESSION, first.own.read(SESSION));
      await browser.clock.advance(LIFE_MS);
      await first.me();
      await browser.clock.advance(GRACE_MS + 1);
      const restored = browser.tab(old);
      await restored.me();
      assert.deepEqual([browser.asked.at(-1).token, restored.ended], ['Bearer access-1.1', []]);
      assert.equal(browser.renewals().length, 1);
    });

    test('of copies of different ages the newest is asked, whoever answers first', async () => {
      const { browser, first, second } = await duplicated();
      const [oldest, older] = [make_storage(), make_storage()];
      oldest.write(SESSION, first.own.read(SESSION));
      await browser.clock.advance(LIFE_MS);
      await second.me();
      older.write(SESSION, second.own.read(SESSION));
      await browser.clock.advance(LIFE_MS);
      await first.me();
      await browser.clock.advance(GRACE_MS + 1);
      const tabs = [browser.tab(older), browser.tab(oldest)];
      await tabs[1].me();
      assert.equal(browser.asked.at(-1).token, 'Bearer access-1.2');
      await tabs[0].me();
      assert.deepEqual([browser.renewals().length, ...tabs.map(({ ended }) => ended.length)], [2, 0, 0]);
    });

    test('storages that take nothing any more: the tabs know all the same, and do not talk without end', async () => {
      let full = false;
      const browser = make_browser({ locks: locks(), Channel: make_channel() });
      const tabs = [0, 1].map(() => make_storage({ full: () => full })).map((own) => ({ own }));
      const first = browser.tab(tabs[0].own);
      await first.client.login({ user_id: 'alice', password: 'x' });
      tabs[1].own.write(SESSION, tabs[0].own.read(SESSION));
      const second = browser.tab(tabs[1].own);
      full = true;
      for (const [one, other] of [[first, second], [second, first], [first, second]]) {
        await browser.clock.advance(LIFE_MS);
        await Promise.all([one.me(), other.me()]);
        await browser.clock.advance(GRACE_MS + 1);
        await Promise.all([one.me(), other.me()]);
      }
      assert.deepEqual([first.ended, second.ended, first.client.session.refresh_token], [[], [], 'refresh-1.3']);
      assert.deepEqual([first.own.read(SESSION), second.own.read(SESSION)], [null, null], 'nothing old is there for a reload');
    });

    test('a browser that refuses the channel: the tab goes on by itself', async () => {
      const browser = make_browser({ locks: locks(), Channel: class { constructor() { throw new DOMException('no', 'SecurityError'); } } });
      const tab = browser.tab();
      await tab.client.login({ user_id: 'alice', password: 'x' });
      await browser.clock.advance(LIFE_MS);
      await tab.me();
      assert.deepEqual([browser.renewals(), tab.ended], [['refresh-1.0'], []]);
    });

    test('somebody else signs in at the one: the other keeps what it has, and neither hears of the other any more', async () => {
      const { browser, first, second } = await duplicated();
      await first.client.login({ user_id: 'bob', password: 'x' });
      await browser.clock.advance(LIFE_MS);
      await first.me();
      assert.deepEqual([first.client.session.session, first.own.read(SESSION).refresh_token], ['s_2', 'refresh-2.1']);
      assert.deepEqual([second.client.session.session, second.own.read(SESSION).refresh_token, second.ended], ['s_1', 'refresh-1.0', []]);
    });

    test('what is no session, or no newer one, is not taken over', async () => {
      const Channel = make_channel();
      const browser = make_browser({ locks: locks(), Channel });
      const tab = browser.tab();
      await tab.client.login({ user_id: 'alice', password: 'x' });
      const mine = tab.own.read(SESSION);
      const stranger = new Channel('countersign.session');
      for (const newer of ['x', {}, { ...mine, generation: 0 }, { ...mine, generation: 'x' }, { ...mine, session: 's_9', generation: 9 }, { session: mine.session, generation: 9 }]) {
        stranger.postMessage({ newer });
      }
      for (const rubbish of [null, 7, {}, { session: mine.session }]) stranger.postMessage(rubbish);
      await settle();
      assert.deepEqual(tab.own.read(SESSION), mine);
    });
  });
}

describe('without a lock that holds', () => {
  test('an answer that comes late does not put an old pair over a newer one', async () => {
    const browser = make_browser();
    const [slow, quick] = [await browser.staying(), browser.tab()];
    await browser.clock.advance(LIFE_MS);
    let release;
    browser.hold = (path) => (path === '/v1/refresh' ? new Promise((resolve) => { release = resolve; }) : null);
    const late = slow.me();
    await settle();
    browser.hold = () => null;
    await quick.me();
    await browser.clock.advance(LIFE_MS);
    await quick.me();
    assert.equal(browser.lasting.read(SESSION).refresh_token, 'refresh-1.2');
    release();
    await late;
    assert.equal(browser.lasting.read(SESSION).refresh_token, 'refresh-1.2');
    await browser.clock.advance(LIFE_MS);
    await slow.me();
    assert.deepEqual(browser.renewals(), ['refresh-1.0', 'refresh-1.0', 'refresh-1.1', 'refresh-1.2']);
    assert.deepEqual([slow.ended, quick.ended], [[], []]);
  });

  test('an answer that is lost, while another tab had it: goes on with that', async () => {
    const browser = make_browser();
    const [unlucky, other] = [await browser.staying(), browser.tab()];
    await browser.clock.advance(LIFE_MS);
    let lose;
    browser.hold = (path) => (path === '/v1/refresh' ? new Promise((_, reject) => { lose = reject; }) : null);
    const asking = unlucky.me();
    await settle();
    browser.hold = () => null;
    await other.me();
    // The tab was asleep: a repeat would look stolen by now.
    await browser.clock.advance(GRACE_MS + 1);
    lose(new TypeError('no network'));
    await asking;
    assert.deepEqual([browser.asked.at(-1).token, unlucky.ended], ['Bearer access-1.1', []]);
    assert.deepEqual(browser.renewals(), ['refresh-1.0', 'refresh-1.0']);
  });

  for (const [then, again] of [['and nothing took its place', false], ['and another one took its place', true]]) {
    test(`an answer that comes after the session was ended elsewhere, ${then}: it is not kept`, async () => {
      const browser = make_browser();
      const [slow, other] = [await browser.staying(), browser.tab()];
      await browser.clock.advance(LIFE_MS);
      let release;
      browser.hold = (path) => (path === '/v1/refresh' ? new Promise((resolve) => { release = resolve; }) : null);
      const late = slow.me();
      await settle();
      browser.hold = () => null;
      await other.client.logout();
      other.store.stay(true);
      if (again) await other.client.login({ user_id: 'bob', password: 'x' });
      const kept = browser.lasting.read(SESSION);
      assert.equal(kept?.session, again ? 's_2' : undefined);
      release();
      await late.catch(() => {});
      slow.client.syncSession();
      assert.deepEqual([browser.lasting.read(SESSION), slow.ended], [kept, ['revoked']]);
    });
  }

  test('an old pair that was kept all the same is put right by whoever has the newer one', async () => {
    const browser = make_browser();
    const [first, second] = [await browser.staying(), browser.tab()];
    const old = browser.lasting.read(SESSION);
    await browser.clock.advance(LIFE_MS);
    await first.me();
    browser.lasting.write(SESSION, old);
    first.client.syncSession();
    assert.equal(browser.lasting.read(SESSION).refresh_token, 'refresh-1.1');
    await browser.clock.advance(GRACE_MS + 1);
    await second.me();
    assert.deepEqual([second.client.session.refresh_token, second.ended], ['refresh-1.1', []]);
  });

  test('a lock that another tab never gives back is not waited for', async () => {
    const browser = make_browser({ locks: { request: async (_, { signal }) => { throw signal.reason ?? new DOMException('waited', 'TimeoutError'); } } });
    const tab = await browser.staying();
    await browser.clock.advance(LIFE_MS);
    await tab.me();
    assert.deepEqual([browser.renewals(), tab.ended], [['refresh-1.0'], []]);
  });

  test('a failure under the lock is a failure: it is not tried again without', async () => {
    const browser = make_browser({ locks: make_locks() });
    const tab = await browser.staying();
    await browser.clock.advance(LIFE_MS);
    browser.hold = () => { throw new TypeError('no network'); };
    await assert.rejects(tab.me(), { code: 'unreachable' });
    assert.equal(browser.renewals().length, 2, 'once more for an answer that was lost, and not without the lock');
    assert.deepEqual(tab.ended, []);
  });
});
