import { uuid } from '../client.js';
import { text, explain } from '../strings.js';
import { avatar, by_id, make, say } from './dom.js';
import { Members } from './members.js';

/** Entries kept on the page. */
const SHOWN_MAX = 500;
/** Without a connection for this long, the room says so: a passing loss is over sooner. */
const UNREACHED_MS = 3_000;
/** Nearer to the end than this, a reader follows what comes. */
const FOLLOW_PX = 80;

/** The room: messages, what is on its way, counts, likes, who is there. */
export class RoomView {
  #client;
  #name;
  #room = null;
  #members;
  #stops = [];
  #likes = 0;
  #liking = false;
  #unreached = null;

  /** @param {import('../client.js').Client} client @param {string} name */
  constructor(client, name) {
    this.#client = client;
    this.#name = name;
    this.#members = new Members(by_id('members'));
    by_id('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#compose();
    });
    by_id('like').addEventListener('click', () => {
      this.#likes += 1;
      this.#like();
    });
    by_id('room-rejoin').addEventListener('click', () => this.#join());
    client.on('state', () => this.#reach());
    this.#keep_following();
  }

  /** Whoever reads the newest goes on reading it when something else takes its place from the list, or gives it back. */
  #keep_following() {
    const list = by_id('messages');
    let height = list.clientHeight;
    new ResizeObserver(() => {
      const follow = list.scrollHeight - list.scrollTop - height < FOLLOW_PX;
      height = list.clientHeight;
      if (follow) list.scrollTop = list.scrollHeight;
    }).observe(list);
  }

  get shown() {
    return this.#room !== null;
  }

  show() {
    if (this.#room) return;
    by_id('room').hidden = false;
    say(by_id('room-title'), this.#name);
    const room = this.#client.room(this.#name);
    this.#room = room;
    this.#stops = [
      room.on('joined', () => this.#joined()),
      room.on('message', (message) => this.#message(message)),
      room.on('break', (broken) => this.#break(broken)),
      room.on('counts', () => this.#counts()),
      room.on('info', () => this.#info()),
      room.on('presence', (push) => this.#members.change(push)),
      room.on('left', (reason) => this.#left(reason)),
    ];
    this.#empty();
    this.#join();
    this.#reach();
    by_id('composer-text').focus({ preventScroll: true });
  }

  hide() {
    for (const stop of this.#stops.splice(0)) stop();
    this.#room = null;
    this.#likes = 0;
    this.#reach();
    by_id('room').hidden = true;
    by_id('messages').replaceChildren();
    by_id('outbox').replaceChildren();
    by_id('composer').reset();
    say(by_id('room-error'), '');
    this.#members.clear();
  }

  /** Signed in is one thing, and a room that lives another: it needs the socket. */
  #reach() {
    const away = this.#room !== null && ['connecting', 'reconnecting'].includes(this.#client.state);
    if (away) {
      this.#unreached ??= setTimeout(() => { by_id('room-unreached').hidden = false; }, UNREACHED_MS);
      return;
    }
    clearTimeout(this.#unreached);
    this.#unreached = null;
    by_id('room-unreached').hidden = true;
  }

  #join() {
    by_id('room-left').hidden = true;
    this.#members.follow(this.#room, this.#client.user?.id);
    // Why it did not work comes as `left`.
    this.#room.join().catch(() => {});
  }

  #joined() {
    by_id('room-left').hidden = true;
    this.#counts();
    this.#info();
    this.#members.load();
  }

  #left(reason) {
    say(by_id('room-left-text'), text.room.left[reason] ?? text.room.left.other);
    by_id('room-left').hidden = false;
  }

  #counts() {
    const { viewers, members, counters } = this.#room.counts;
    for (const [name, n] of Object.entries({ viewers, members, likes: counters?.likes })) {
      const at = by_id(`count-${name}`);
      say(at, String(n ?? 0));
      say(at.nextElementSibling, text.room[name](n ?? 0));
    }
    this.#members.total(members ?? 0);
  }

  #info() {
    const { title, announcement } = this.#room.info ?? {};
    say(by_id('room-title'), title || this.#room.name);
    say(by_id('room-announcement'), announcement ?? '');
    by_id('room-announcement').hidden = !announcement;
  }

  // Messages.

  #empty() {
    by_id('messages').replaceChildren(make('li', { class: 'empty', text: text.room.empty }));
  }

  #message(message) {
    this.#append(message_entry(message, this.#client.user?.id));
    if (message.from?.id === this.#client.user?.id && message.cid) outbox_entry(message.cid)?.remove();
  }

  #break({ reason, new_epoch, from, to }) {
    const known = from !== undefined;
    let words = new_epoch ? text.room.newEpoch : text.room.notRecovered;
    if (reason === 'gap') words = text.room.gap(from, to);
    const entry = make('li', { class: 'break', 'data-testid': 'break', 'data-reason': reason }, make('span', { text: words }));
    if (known) {
      const load = make('button', { type: 'button', class: 'link', text: text.room.load });
      load.addEventListener('click', () => this.#fill(entry, load, from, to));
      entry.append(' ', load);
    }
    this.#append(entry);
  }

  async #fill(entry, load, from, to) {
    load.disabled = true;
    try {
      const messages = await this.#room.missed(from, to);
      entry.before(...messages.map((message) => message_entry(message, this.#client.user?.id)));
      if (messages.length === to - from + 1) entry.remove();
      else load.replaceWith(text.room.gone);
    } catch (error) {
      load.disabled = false;
      say(by_id('room-error'), text.room.notSent(explain(error)));
    }
  }

  #append(entry) {
    const list = by_id('messages');
    const follow = list.scrollHeight - list.scrollTop - list.clientHeight < FOLLOW_PX;
    list.querySelector('.empty')?.remove();
    list.append(entry);
    while (list.childElementCount > SHOWN_MAX) list.firstElementChild.remove();
    if (follow) list.scrollTop = list.scrollHeight;
  }

  // What this page sends.

  #compose() {
    const input = by_id('composer-text');
    const words = input.value.trim();
    if (!words) return;
    input.value = '';
    const cid = uuid();
    const entry = make('li', { 'data-testid': 'pending', 'data-cid': cid }, make('span', { class: 'body', text: words }), make('span', { class: 'state' }));
    by_id('outbox').append(entry);
    this.#send(entry, cid, { text: words });
  }

  async #send(entry, cid, body) {
    const state = entry.querySelector('.state');
    state.replaceChildren(this.#client.state === 'connected' ? text.room.sending : text.room.waiting);
    delete entry.dataset.failed;
    const room = this.#room;
    try {
      const reply = await room.send(body, { cid });
      if (reply.shed) this.#unsent(entry, cid, body, text.room.shed);
      // Its push comes later, or came before; with one that came before there is nothing left to take away.
      else if (reply.duplicate || reply.offset <= room.offset) entry.remove();
    } catch (error) {
      this.#unsent(entry, cid, body, text.room.notSent(explain(error)));
    }
  }

  #unsent(entry, cid, body, why) {
    entry.dataset.failed = '';
    const again = make('button', { type: 'button', class: 'link', text: text.room.again, 'data-testid': 'pending-again' });
    again.addEventListener('click', () => this.#send(entry, cid, body));
    const drop = make('button', { type: 'button', class: 'link', text: text.room.drop });
    drop.addEventListener('click', () => entry.remove());
    entry.querySelector('.state').replaceChildren(why, ' ', again, ' ', drop);
  }

  /** Clicks that come while one call is under way travel together in the next. */
  async #like() {
    if (this.#liking || this.#likes === 0 || !this.#room) return;
    this.#liking = true;
    const n = Math.min(this.#likes, this.#client.limits?.like_max ?? 1);
    this.#likes -= n;
    try {
      await this.#room.like(n);
      say(by_id('room-error'), '');
    } catch (error) {
      this.#likes = 0;
      say(by_id('room-error'), `${text.room.like}: ${explain(error)}`);
    }
    this.#liking = false;
    this.#like();
  }
}

const outbox_entry = (cid) => by_id('outbox').querySelector(`[data-cid="${CSS.escape(cid)}"]`);

/** One message. The id stands beside the name: a name can be anybody's, the id is the gateway's word. */
function message_entry(message, me) {
  const { from, at_ms, offset, cid, body, source } = message;
  const at = new Date(at_ms);
  const head = make('p', { class: 'head' });
  if (from) {
    head.append(make('b', { class: 'name', text: from.name || from.id, 'data-testid': 'message-name' }));
    head.append(' ', make('span', { class: 'user-id', text: from.id, 'data-testid': 'message-id' }));
    const role = text.room.roles[from.role];
    if (role) head.append(' ', make('span', { class: 'tag', text: role }));
    if (source === 'server') head.append(' ', make('span', { class: 'tag', text: text.room.viaServer }));
  } else {
    head.append(make('b', { class: 'name', text: text.room.server, 'data-testid': 'message-name' }));
  }
  head.append(' ', make('time', { datetime: at.toISOString(), text: at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) }));
  const says = typeof body?.text === 'string' ? body.text : JSON.stringify(body);
  return make(
    'li',
    { class: from?.id === me ? 'message own' : 'message', 'data-testid': 'message', 'data-offset': offset, 'data-cid': cid, 'data-from': from?.id },
    avatar(from ?? { name: text.room.server }),
    make('div', { class: 'said' }, head, make('p', { class: 'body', text: says, 'data-testid': 'message-body' })),
  );
}
