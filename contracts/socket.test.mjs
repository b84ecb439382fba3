import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start_gateway } from '../tests/browser/support/gateway.mjs';
import { App } from './support/app.mjs';
import { Recorder } from './support/http.mjs';
import { Person } from './support/people.mjs';
import { Socket } from './support/socket.mjs';
import { commands } from './source/commands.mjs';
import { checker, read } from './support/validator.mjs';

const http = read('openapi.json');
const recorder = new Recorder(http, checker(http));
const check = checker(read('asyncapi.json'));
const seen = new Set();
const sockets = [];
let gateway;
let url;

before(async () => {
  gateway = await start_gateway('[tokens]\naccess_ms = 60000\nexpiring_ms = 60000\n[namespaces.closed]\nanonymous = false\n');
  url = gateway.url;
});
after(async () => {
  for (const socket of sockets) socket.close();
  await gateway?.stop();
});

const connect = (headers) => {
  const socket = new Socket(url, check, seen, headers);
  sockets.push(socket);
  return socket;
};
const person = (name) => Person.come(recorder, url, name);
const ok = (reply) => {
  assert.equal(reply.type, 'ok', JSON.stringify(reply));
  return reply;
};
const refused = (reply, code) => assert.equal(reply.code, code, JSON.stringify(reply));

test('a room', async () => {
  const alice = await person('alice');
  const [one, two] = [connect(), connect()];
  await one.push(({ type }) => type === 'hello', 'hello');
  ok(await one.call('ping'));
  refused(await one.call('send', { room: 'lobby', body: null }), 'unauthenticated');
  refused(await one.call('like', { room: 'lobby', n: 1 }), 'not_joined');
  const { epoch } = ok(await one.call('join', { room: 'lobby', after: null }));
  refused(await one.call('join', { room: 'lobby' }), 'already_joined');
  refused(await one.call('auth', { token: 'x', device: null, dpop: null }), 'invalid_token');
  ok(await one.call('auth', { token: alice.tokens.access_token, device: alice.device }));
  ok(await two.call('join', { room: 'default:lobby', after: { epoch, offset: 0 } }));
  ok(await one.call('send', { room: 'lobby', body: ['text'], cid: 'c1', priority: 'high' }));
  assert.equal(ok(await one.call('send', { room: 'lobby', body: ['text'], cid: 'c1', priority: 'high' })).duplicate, true);
  refused(await one.call('send', { room: 'lobby', body: 'other', cid: 'c1' }), 'conflict');
  ok(await one.call('send', { room: 'lobby', body: { n: 1.5 }, cid: null, priority: null }));
  await two.push(({ type, offset }) => type === 'message' && offset === 2, 'the message');
  ok(await two.call('like', { room: 'lobby', n: 3, counter: null }));
  await one.push(({ type, counters }) => type === 'counts' && counters.likes === 3, 'counts');
  assert.equal(ok(await one.call('members', { room: 'lobby', limit: 1 })).total, 1);
  assert.equal(ok(await one.call('history', { room: 'lobby', after: 0, limit: null })).messages.length, 2);
  assert.equal(ok(await connect().call('join', { room: 'lobby', after: { epoch, offset: 1 } })).recovered, true);
  const late = connect();
  const erin = await person('erin');
  ok(await late.call('join', { room: 'lobby' }));
  ok(await late.call('auth', { token: erin.tokens.access_token, device: erin.device }));
  await two.push(({ type, joined }) => type === 'presence' && joined.some(({ id }) => id === 'erin'), 'presence');
  ok(await two.call('leave', { room: 'lobby' }));
  refused(await two.call('join', { room: 'nowhere:x' }), 'not_found');
  refused(await two.call('join', { room: 'closed:x' }), 'unauthenticated');
});

test('what is wrong gets an error of the documented shape', async () => {
  const socket = connect();
  refused(await socket.call('join', {}, { wrong: true }), 'bad_request');
  refused(await socket.call('dance', {}, { wrong: true }), 'unknown_command');
  refused(await socket.call('like', { room: 'a', n: -1 }, { wrong: true }), 'bad_request');
  refused(await socket.call('send', { room: 'a', body: 1, priority: 'loud' }, { wrong: true }), 'bad_request');
  refused(await socket.call('members', { room: 'a', limit: 2 ** 33 }, { wrong: true }), 'bad_request');
});

/** A QR login on a socket, up to where its phone has scanned. */
async function scanned(phone) {
  const socket = connect();
  const opened = ok(await socket.call('qr.open', { device: { id: 'pc-1', name: 'Desk', kind: null }, public_key: null }));
  const path = `/v1/qr/${opened.qr_id}`;
  const { scan_token } = await phone.gets(200, 'POST', `${path}/scan`);
  const { match } = await socket.push(({ state }) => state === 'scanned', 'the scan');
  return { socket, opened, claimed: { qr_id: opened.qr_id, claim: opened.claim }, path, scan_token, match };
}

test('a QR login, and what happens to its session', async () => {
  const phone = await person('bob');
  const watching = connect({ Authorization: `Bearer ${phone.tokens.access_token}`, 'Countersign-Device': phone.device });
  const { socket, claimed, path, scan_token, match } = await scanned(phone);
  refused(await socket.call('qr.answer', { ...claimed, code: match.code }), 'conflict');
  await phone.gets(200, 'POST', `${path}/confirm`, { body: { scan_token, code: match.code } });
  const { ticket } = await socket.push(({ state }) => state === 'confirmed', 'the ticket');
  const redeemed = ok(await socket.call('qr.redeem', { ...claimed, ticket }));
  await socket.push(({ state }) => state === 'redeemed', 'the end');
  await watching.push(({ state }) => state === 'new_device', 'the new device');
  await socket.push(({ state }) => state === 'expiring', 'the warning');
  const again = connect();
  ok(await again.call('qr.watch', { ...claimed, device: 'pc-1', after_seq: 0 }));
  await again.push(({ state }) => state === 'redeemed', 'the end once more');
  const headers = { 'Countersign-Device': 'pc-1' };
  const { access_token } = await phone.gets(200, 'POST', '/v1/refresh', { headers, body: { refresh_token: redeemed.refresh_token } });
  ok(await socket.call('refresh', { token: access_token }));
  await phone.gets(204, 'DELETE', `/v1/sessions/${redeemed.session}`);
  await socket.push(({ state }) => state === 'revoked', 'the end of the session');
  await socket.until(() => socket.closed, 'the close');
  assert.deepEqual(socket.closed, { code: 4503, reason: 'revoked' });
});

test('a QR login that comes to nothing', async () => {
  const phone = await person('carol');
  const { socket, claimed } = await scanned(phone);
  ok(await socket.call('qr.cancel', claimed));
  await socket.push(({ state }) => state === 'cancelled', 'the end');
  refused(await socket.call('qr.cancel', claimed), 'already_final');
  const denied = await scanned(phone);
  for (let tries = 3; tries > 0; tries -= 1) {
    const code = denied.match.code === '00' ? '01' : '00';
    await phone.gets(422, 'POST', `${denied.path}/confirm`, { body: { scan_token: denied.scan_token, code } });
  }
  assert.equal((await denied.socket.push(({ state }) => state === 'denied', 'the end')).reason, 'match_failed');
});

test('a device authorization is watched with its device code', async () => {
  const phone = await person('frank');
  const app = new App(recorder, url, { id: 'demo' });
  const { qr_id, device_code: claim, user_code } = await app.open({ scope: 'profile' });
  const socket = connect();
  ok(await socket.call('qr.watch', { qr_id, claim, device: 'any' }));
  const { scan_token } = await phone.gets(200, 'POST', `/v1/qr/${qr_id}/scan`);
  const { match } = await socket.push(({ state }) => state === 'scanned', 'the scan');
  assert.deepEqual(match, { mode: 'phone_types', form: 'user_code', code: user_code });
  await phone.gets(200, 'POST', `/v1/qr/${qr_id}/confirm`, { body: { scan_token, code: user_code } });
  const { ticket } = await socket.push(({ state }) => state === 'confirmed', 'the confirmation');
  assert.equal(ticket, undefined);
  refused(await socket.call('qr.redeem', { qr_id, claim, ticket: claim }), 'conflict');
  await app.gets(200, 'token', app.exchange);
  await socket.push(({ state }) => state === 'redeemed', 'the end');
  const given_up = await app.open();
  const other = connect();
  ok(await other.call('qr.watch', { qr_id: given_up.qr_id, claim: given_up.device_code, device: 'any' }));
  ok(await other.call('qr.cancel', { qr_id: given_up.qr_id, claim: given_up.device_code }));
  await app.refused('access_denied', 'token', app.exchange);
  refused(await connect().call('qr.open', { device: { id: 'pc-1' }, client_id: 'demo' }), 'not_allowed');
});

test('where the PC types', async () => {
  const typing = await start_gateway('[qr]\nmatch_mode = "pc_types"\n');
  try {
    const phone = await Person.come(recorder, typing.url, 'dave');
    const socket = new Socket(typing.url, check, seen);
    sockets.push(socket);
    const { qr_id, claim } = ok(await socket.call('qr.open', { device: { id: 'pc-1' } }));
    const { match } = await phone.gets(200, 'POST', `/v1/qr/${qr_id}/scan`);
    refused(await socket.call('qr.answer', { qr_id, claim, code: 'x' }), 'match_failed');
    ok(await socket.call('qr.answer', { qr_id, claim, code: match.code }));
    await socket.push(({ matched }) => matched, 'the match');
  } finally {
    await typing.stop();
  }
});

test('every command was answered, and the pushes of this version came', () => {
  const answered = Object.keys(commands).filter((type) => !seen.has(`${type} ok`));
  assert.deepEqual(answered, []);
  const wanted = ['hello', 'message', 'counts', 'presence', 'qr waiting', 'qr scanned', 'qr confirmed', 'qr redeemed', 'qr denied', 'qr cancelled',
    'session expiring', 'session new_device', 'session revoked'];
  assert.deepEqual(wanted.filter((push) => !seen.has(push)), []);
});
