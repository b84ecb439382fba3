import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';
import assert from 'node:assert/strict';
import { eventually } from './eventually.mjs';

export const KEY = 'operator-key-of-these-tests';
export const TOP = `operator_key = "${KEY}"\nlimits_profile = "bench"\n`;

/** The console of a gateway, with the key typed. */
export async function open_console(person, operator, key = KEY) {
  const tab = await person.tab(`${operator}/admin`);
  await tab.at('key').fill(key);
  await tab.at('key-send').click();
  return tab;
}

/** The same, until it shows the state of the gateway. */
export async function signed_in(person, operator) {
  const tab = await open_console(person, operator);
  await eventually(async () => assert.equal(await tab.at('state').getAttribute('data-state'), 'live'));
  return tab;
}

/** The row of a table whose text has these words. */
export const row_of = (tab, table, words) => tab.at(table).getByTestId('row').filter({ hasText: words });

const text_frame = (command) => {
  const payload = Buffer.from(JSON.stringify(command));
  assert.ok(payload.length < 126);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
};

/** Somebody in a room who reads nothing more, once the room has been joined. @returns {Promise<{leave(): void}>} */
export function stuck(url, room) {
  const { hostname, port, host } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    socket.on('error', reject);
    let read = '';
    socket.on('data', (bytes) => {
      read += bytes.toString('latin1');
      if (!read.includes('"epoch"')) return;
      socket.pause();
      resolve({ leave: () => socket.destroy() });
    });
    const key = randomBytes(16).toString('base64');
    socket.write(`GET /v1/ws HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`);
    socket.write(text_frame({ id: 1, type: 'join', room }));
  });
}
