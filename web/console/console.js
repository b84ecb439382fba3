import { by_id, fill_texts, make, say } from '../page/dom.js';
import { language_switch } from '../page/language.js';
import { bar, Chart } from './charts.js';
import { clock, decimal, History, millis, number, percent, size, span } from './figures.js';
import { Gateway } from './gateway.js';
import { words } from './strings.js';
import { Table } from './tables.js';

const REFRESH_MS = 2_000;
const DRAIN_WORD = 'drain';

fill_texts(document, words);
language_switch();

/** The gateway with its key, from sign-in until it is forgotten. */
let gateway = null;
let history = new History();
let timer = null;
/** The look under way, whose turn is next, and whether tables that are held change too then. */
let looking = null;
let turn = 0;
let urgent = false;

// What is asked one after the other goes over one connection: the port has few.
async function look(now = false) {
  const mine = gateway;
  const user = by_id('filter-user').value.trim();
  const sort = by_id('filter-sort').value;
  const overview = await mine.get('overview');
  const slow = await mine.get('connections?sort=outbox&limit=10');
  // What is half typed may be no user id.
  const connections = await mine.get(`connections?sort=${sort}&user=${encodeURIComponent(user)}`.replace(/&user=$/, ''))
    .catch((error) => { if (error.code === 'bad_request') return { total: 0, connections: [] }; throw error; });
  const rooms = await mine.get('rooms');
  const closes = await mine.get('closes');
  if (mine !== gateway) return;
  history.add(overview);
  show_node(overview);
  show_charts();
  show_funnel(overview.qr);
  slow_table.show(slow.connections.filter(({ outbox_bytes, dropped }) => outbox_bytes > 0 || dropped > 0), { now });
  connections_table.show(connections.connections, { total: connections.total, now });
  rooms_table.show(rooms.rooms, { total: rooms.total, now });
  closes_table.show(closes.closes, { total: closes.total, now });
  show_state(overview.draining ? 'draining' : 'live');
}

/** Looks now, and again and again; one at a time, and not while the page is hidden. */
async function refresh(now = false) {
  turn += 1;
  const mine = turn;
  urgent ||= now;
  clearTimeout(timer);
  await looking;
  if (mine !== turn || !gateway) return;
  if (document.hidden) {
    show_state('paused');
    return;
  }
  const asked_with = gateway;
  looking = look(urgent).catch((error) => {
    if (asked_with !== gateway) return;
    if (['invalid_token', 'unauthenticated', 'not_allowed'].includes(error.code)) forget(refusal(error));
    else show_state('unreached');
  });
  urgent = false;
  await looking;
  if (mine === turn && gateway) timer = setTimeout(() => refresh(), REFRESH_MS);
}

document.addEventListener('visibilitychange', () => refresh());

function show_state(state) {
  by_id('state').dataset.state = state;
  say(by_id('state'), words.state[state]);
}

// ---- the key

const refusal = (error) => ({
  invalid_token: words.key.wrong,
  unauthenticated: words.key.wrong,
  unreachable: words.key.unreached,
  not_allowed: /operator_key/.test(error.message) ? words.key.unset : words.key.refused(error.message),
}[error.code] ?? words.key.refused(error.message || error.code));

by_id('key-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = by_id('key');
  if (!field.value) {
    complain(words.key.missing);
    return;
  }
  const tried = new Gateway(field.value);
  try {
    await tried.get('overview');
  } catch (error) {
    complain(refusal(error));
    return;
  }
  field.value = '';
  complain('');
  gateway = tried;
  history = new History();
  by_id('sign-in').hidden = true;
  by_id('console').hidden = false;
  by_id('forget').hidden = false;
  by_id('console-title').focus();
  refresh(true);
});

function complain(what) {
  say(by_id('key-error'), what);
  by_id('key').setAttribute('aria-invalid', what !== '');
  if (what) by_id('key').focus();
}

/** Back to the beginning: whoever comes to this screen next sees nothing. */
function forget(why = '') {
  gateway = null;
  clearTimeout(timer);
  by_id('kick').close();
  by_id('console').hidden = true;
  by_id('forget').hidden = true;
  by_id('sign-in').hidden = false;
  say(by_id('node'), '');
  say(by_id('said'), '');
  for (const table of [slow_table, connections_table, rooms_table, closes_table]) table.show([], { now: true });
  show_state('signed_out');
  complain(why);
  by_id('key').focus();
}

by_id('forget').addEventListener('click', () => forget());

// ---- numbers

const tiles = Object.fromEntries(['connections', 'users', 'sockets', 'qr', 'outbox', 'memory', 'cpu', 'descriptors', 'dropped'].map((name) => {
  const [value, more] = [make('dd', { 'data-testid': `tile-${name}` }), make('dd')];
  by_id('tiles').append(make('div', {}, make('dt', { text: words.tiles[name] }), value, more));
  return [name, (main, rest = '') => {
    say(value, main);
    say(more, rest);
  }];
}));

function show_node(overview) {
  const { connections, outbox, process, qr, qr_kept, sockets } = overview;
  const said = words.tiles;
  say(by_id('node'), words.node(overview.version, span(overview.uptime_ms)));
  tiles.connections(number(connections.now), said.connectionsMore(number(connections.signed_in), number(connections.viewers)));
  tiles.users(number(overview.users), said.usersMore(number(overview.rooms)));
  tiles.sockets(number(sockets.now), said.of(number(sockets.max)));
  tiles.qr(number(qr.waiting + qr.scanned + qr.confirmed), said.of(number(qr_kept.max)));
  tiles.outbox(size(outbox.bytes), said.outboxMore(number(outbox.connections)));
  tiles.memory(size(process.memory_bytes));
  const busy = history.rates(({ process: { cpu_total_ms } }) => cpu_total_ms / 1_000).at(-1);
  tiles.cpu(busy === null ? words.charts.nothing : percent(busy), said.cpuMore);
  tiles.descriptors(number(process.descriptors), said.of(number(process.descriptors_max)));
  tiles.dropped(number(process.log_dropped_total));
}

const per_second = (value) => words.charts.perSecond(decimal(value));
const push = ({ qr }) => qr.push;
const flush = ({ traffic: { flush: { bounds_us, counts } } }) => ({ bounds_ms: bounds_us.map((us) => us / 1_000), counts });
/** Each chart with the values of its lines. */
const charts = [
  ['connections', number, {
    all: (past) => past.values(({ connections }) => connections.now),
    signed_in: (past) => past.values(({ connections }) => connections.signed_in),
    watching: (past) => past.values(({ connections }) => connections.watching + connections.event_streams),
  }],
  ['churn', per_second, {
    opened: (past) => past.rates(({ connections }) => connections.opened_total),
    closed: (past) => past.rates(({ connections }) => connections.closed_total),
    qr: (past) => past.rates(({ qr }) => qr.opened_total),
  }],
  ['rates', per_second, {
    messages: (past) => past.rates(({ traffic }) => traffic.messages_total),
    deliveries: (past) => past.rates(({ traffic }) => traffic.deliveries_total),
    dropped: (past) => past.rates(({ traffic }) => traffic.dropped_total),
  }],
  ['bytes', (bytes) => words.charts.perSecond(size(bytes)), {
    in: (past) => past.rates(({ traffic }) => traffic.bytes_in_total),
    out: (past) => past.rates(({ traffic }) => traffic.bytes_out_total),
  }],
  ['latency', millis, {
    flush: (past) => past.quantiles(flush, 0.99),
    half: (past) => past.quantiles(push, 0.5),
    most: (past) => past.quantiles(push, 0.99),
  }],
  ['memory', size, {
    resident: (past) => past.values(({ process }) => process.memory_bytes),
    outbox: (past) => past.values(({ outbox }) => outbox.bytes),
  }],
].map(([id, form, lines]) => {
  const said = words.charts[id];
  const chart = new Chart(id, said.title, Object.keys(lines).map((line) => said[line]), form);
  by_id('charts').append(chart.root);
  return () => chart.show(Object.values(lines).map((values) => values(history)));
});

function show_charts() {
  for (const show of charts) show();
}

const funnel = ['opened', 'scanned', 'confirmed', 'redeemed', 'denied', 'cancelled', 'expired'].map((step) => {
  const [drawn, numbers] = [make('div'), make('span', { class: 'numbers', 'data-testid': `funnel-${step}` })];
  const ends = ['denied', 'cancelled', 'expired'].includes(step);
  by_id('funnel').append(make('li', { 'data-ends': ends }, make('span', { text: words.funnel[step] }), drawn, numbers));
  return { step, drawn, numbers };
});

function show_funnel(qr) {
  const live = { opened: qr.waiting, scanned: qr.scanned, confirmed: qr.confirmed };
  for (const { step, drawn, numbers } of funnel) {
    const total = qr[`${step}_total`];
    const share = qr.opened_total > 0 ? total / qr.opened_total : 0;
    drawn.replaceChildren(bar(share));
    say(numbers, number(total) + (step in live ? words.funnel.live(number(live[step])) : words.funnel.share(percent(share))));
  }
}

// ---- tables

const name_of = ({ user, watching }) => user?.name || user?.id || (watching ? words.connections.watcher : words.connections.nobody);

function who(row) {
  const at = make('span', { text: name_of(row), 'data-testid': 'row-who' });
  if (row.user) at.append(make('span', { class: 'user-id', text: row.user.id }));
  return at;
}

function device_of({ device }) {
  if (!device) return '';
  const kind = words.kinds[device.kind] ?? device.kind;
  return device.name ? `${device.name} (${kind})` : kind;
}

/** What the row of a button was the last time. */
const meant = new WeakMap();

function kick_button() {
  const button = make('button', { type: 'button', text: words.connections.close, 'data-testid': 'row-kick' });
  button.addEventListener('click', () => ask_kick(meant.get(button)));
  return button;
}

function mean(button, row) {
  meant.set(button, row);
  const label = words.connections.closeOf(name_of(row), row.id);
  if (button.getAttribute('aria-label') !== label) button.setAttribute('aria-label', label);
}

const age = ({ opened_at_ms }) => span((history.newest?.now_ms ?? 0) - opened_at_ms);
const said = words.connections;
const column = {
  who: { head: said.who, cell: who },
  device: { head: said.device, cell: device_of },
  address: { head: said.address, cell: ({ address }) => address },
  transport: { head: said.transport, cell: ({ transport }) => said.transports[transport] },
  since: { head: said.since, number: true, cell: age },
  rooms: { head: said.rooms, number: true, cell: ({ rooms }) => number(rooms) },
  waiting: { head: said.waiting, number: true, cell: ({ outbox_bytes }) => size(outbox_bytes) },
  dropped: { head: said.dropped, number: true, cell: ({ dropped }) => number(dropped) },
  sent: { head: said.sent, number: true, cell: ({ sent_bytes }) => size(sent_bytes) },
  act: { head: said.act, make: kick_button, fill: mean },
};
const by_key = ({ id }) => id;

const slow_table = new Table(by_id('slow'), {
  id: 'slow', label: words.slow.title, none: words.slow.none, key: by_key, columns: [column.who, column.address, column.waiting, column.dropped, column.act],
});
const connections_table = new Table(by_id('connections'), {
  id: 'connections', label: said.title, none: words.table.none, key: by_key, columns: Object.values(column),
});
const rooms_table = new Table(by_id('rooms'), {
  id: 'rooms',
  label: words.rooms.title,
  none: words.table.nothing,
  key: ({ room }) => room,
  columns: [
    { head: words.rooms.room, cell: ({ room }) => room },
    { head: words.rooms.viewers, number: true, cell: ({ viewers }) => number(viewers) },
    { head: words.rooms.members, number: true, cell: ({ members }) => number(members) },
    { head: words.rooms.messages, number: true, cell: ({ messages }) => number(messages) },
  ],
});
const closes_table = new Table(by_id('closes'), {
  id: 'closes',
  label: words.closes.title,
  none: words.table.nothing,
  key: ({ seq }) => String(seq),
  columns: [
    { head: words.closes.when, cell: ({ at_ms }) => clock(at_ms) },
    { head: words.closes.who, cell: who },
    { head: said.address, cell: ({ address }) => address },
    { head: words.closes.why, cell: ({ by, code, reason }) => words.closes.by[by](code ? `${code} ${reason}` : reason) },
    { head: words.closes.lasted, number: true, cell: ({ lasted_ms }) => span(lasted_ms) },
  ],
});

by_id('connections-form').addEventListener('submit', (event) => event.preventDefault());
by_id('filter-user').addEventListener('input', () => refresh(true));
by_id('filter-sort').addEventListener('change', () => refresh(true));

// ---- what can be done

let asked = null;

function ask_kick(row) {
  asked = row;
  say(by_id('kick-who'), words.kick.who(name_of(row), row.id, row.address));
  by_id('kick-all').hidden = !row.user;
  if (row.user) say(by_id('kick-all'), words.kick.all(row.user.id));
  by_id('kick').showModal();
}

async function kick(path) {
  by_id('kick').close();
  // Not on the row that is about to go: a table with the focus in it is held.
  by_id('connections-title').focus();
  try {
    const { closed } = await gateway.post(`${path}/kick`);
    say(by_id('said'), words.kick.done(number(closed)));
  } catch (error) {
    say(by_id('said'), error.code === 'not_found' ? words.kick.gone : words.kick.failed(error.message || error.code));
  }
  refresh();
}

by_id('kick-keep').addEventListener('click', () => by_id('kick').close());
by_id('kick-one').addEventListener('click', () => kick(`connections/${encodeURIComponent(asked.id)}`));
by_id('kick-all').addEventListener('click', () => kick(`users/${encodeURIComponent(asked.user.id)}`));

const drain_word = by_id('drain-word');
const may_drain = () => drain_word.value.trim().toLowerCase() === DRAIN_WORD;
drain_word.addEventListener('input', () => { by_id('drain-send').disabled = !may_drain(); });
by_id('drain-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  if (!may_drain()) return;
  try {
    await gateway.post('drain', { confirm: DRAIN_WORD });
    say(by_id('said'), words.drain.done);
    drain_word.value = '';
    by_id('drain-send').disabled = true;
  } catch (error) {
    say(by_id('said'), words.kick.failed(error.message || error.code));
  }
  refresh();
});

show_state('signed_out');
by_id('key').focus();
