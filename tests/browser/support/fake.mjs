import { Client } from '../../../web/client.js';

/** Lets everything that is already possible happen; no time passes. */
export const settle = () => new Promise((resolve) => { setImmediate(resolve); });

/** Time that stands still until told. */
export class Clock {
  #now = 1_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.#now;
  set = (run, ms) => {
    this.#timers.set(++this.#last, { at: this.#now + ms, run });
    return this.#last;
  };
  clear = (handle) => { this.#timers.delete(handle); };

  get waiting() {
    return this.#timers.size;
  }

  async advance(ms) {
    const until = this.#now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, timer]) => timer.at <= until).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
    }
    this.#now = until;
    await settle();
  }
}

export const HELLO = {
  type: 'hello',
  protocol: 1,
  connection: 'c_1',
  ping_interval_ms: 25_000,
  limits: { frame_bytes_max: 65_536, body_bytes_max: 16_384, subscriptions_max: 128, like_max: 100 },
};

export const TOKENS = {
  access_token: 'access-1',
  refresh_token: 'refresh-1',
  token_type: 'Bearer',
  expires_in_ms: 900_000,
  user: { id: 'alice', name: 'Alice' },
  session: 's_1',
};

/** A client whose sockets, HTTP and time are in the test's hands. */
export function make_world({ signed_in = false, expires_in_ms = 900_000 } = {}) {
  const clock = new Clock();
  const sockets = [];
  const fetched = [];
  const answers = new Map();
  const channels = new Set();
  const world = {
    clock,
    sockets,
    fetched,
    random: 0.5,
    states: [],
    sessions: [],
    /** What this client told the other tabs. */
    told: [],
    /** Another tab tells this. */
    tell(data) {
      for (const channel of channels) channel.onmessage({ data });
    },
    /** The newest socket. */
    get socket() {
      return sockets.at(-1);
    },
    /** What HTTP answers: `{status, body, headers}`, a Response, an error to throw, or a function making one of them. */
    answer(path, value) {
      answers.set(path, value);
    },
    /** Opens the newest socket and says hello. */
    async greet() {
      this.socket.accept();
      this.socket.say(HELLO);
      await settle();
    },
    /** A client that is connected. */
    async connected() {
      world.client.open().catch(() => {});
      await settle();
      await world.greet();
      return world;
    },
  };

  class FakeSocket {
    readyState = 0;
    sent = [];
    constructor(url, protocol) {
      Object.assign(this, { url, protocol });
      sockets.push(this);
    }
    accept() {
      this.readyState = 1;
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.readyState = 3;
      this.closed_with = code;
    }
    say(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    /** The other end, or the network, ends it. */
    async drop(code = 1006, reason = '') {
      this.readyState = 3;
      this.onclose({ code, reason });
      await settle();
    }
    /** The command of this type that has not been answered yet. */
    asked(type) {
      return this.sent.findLast((frame) => frame.type === type && !frame.answered);
    }
    async ok(type, fields = {}) {
      const command = this.asked(type);
      command.answered = true;
      this.say({ id: command.id, type: 'ok', ...fields });
      await settle();
      return command;
    }
    async refuse(type, code, more = {}) {
      const command = this.asked(type);
      command.answered = true;
      this.say({ id: command.id, type: 'error', code, message: code, retry: false, ...more });
      await settle();
      return command;
    }
  }

  class FakeChannel {
    constructor() {
      channels.add(this);
    }
    postMessage(data) {
      world.told.push(data);
    }
    close() {
      channels.delete(this);
    }
  }

  const fetch = async (url, { method, headers, body, signal }) => {
    const path = new URL(url).pathname;
    fetched.push({ method, path, headers, body: body && JSON.parse(body) });
    let answer = answers.get(path) ?? { status: 404, body: { code: 'not_found' } };
    if (typeof answer === 'function') answer = await answer({ method, headers, signal });
    if (answer instanceof Error) throw answer;
    if (answer instanceof Response) return answer;
    const { status = 200, body: value = {}, headers: more = {} } = answer;
    return new Response(status === 204 ? null : JSON.stringify(value), { status, headers: more });
  };

  /** What a client of this world runs on. */
  world.platform = { WebSocket: FakeSocket, BroadcastChannel: FakeChannel, fetch, random: () => world.random, clock };
  const saved = { ...TOKENS, expires_at_ms: clock.now() + expires_in_ms };
  world.client = new Client({
    url: 'https://gateway.test',
    device: { id: 'd_1', name: 'Test', kind: 'web' },
    session: signed_in ? saved : null,
    ...world.platform,
  });
  world.client.on('state', (state, detail) => world.states.push({ state, ...detail }));
  world.client.on('session', (session, why) => world.sessions.push({ session, why }));
  return world;
}

/** A room's push. */
export const message = (offset, more = {}) => ({
  type: 'message',
  room: 'chat:lobby',
  offset,
  at_ms: 1_795_305_226_000,
  from: { id: 'bob', name: 'Bob', role: 'member' },
  body: { text: `m${offset}` },
  ...more,
});

/** The reply to a join. */
export const joined = (offset, more = {}) => ({
  room: 'chat:lobby',
  epoch: 'e1',
  offset,
  messages: [],
  counts: { version: 1, viewers: 1, members: 1, counters: { likes: 0 } },
  info: { title: '', announcement: '', status: 'open', closed: false, slow_mode_ms: 0 },
  me: { role: 'member' },
  ...more,
});

/** A room that is joined, with everything it tells written down. */
export async function make_room(world, offset = 10) {
  const room = world.client.room('chat:lobby');
  const told = [];
  room.on('message', (frame) => told.push(frame.offset));
  room.on('break', (broken) => told.push(broken));
  room.on('left', (reason) => told.push({ left: reason }));
  room.join().catch(() => {});
  await settle();
  await world.socket.ok('join', joined(offset));
  return { room, told };
}
