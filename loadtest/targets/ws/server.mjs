// A plain WebSocket broadcast server on `ws`, as its README has it: the room is the path, and what a member
// sends goes to all of the room, the sender included. Nobody is authenticated and nothing is kept.
//
//   node server.mjs [--port N] [--prepared] [--until-stdin-closes]
//
// With --prepared a frame is built once for all members, and what one read brought is joined into one write
// per member: the most that the library's public `Sender.frame` and Node.js allow.
import { createServer } from 'node:http';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { Sender, WebSocket, WebSocketServer } from 'ws';

// Bytes waiting for a member that does not read; beyond it the member is dropped.
const OUT_BYTES_MAX = 8 * 1024 * 1024;

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    prepared: { type: 'boolean', default: false },
    'until-stdin-closes': { type: 'boolean', default: false },
  },
});

const rooms = new Map();

function broadcast(room, data) {
  for (const { socket } of room.members) {
    if (socket.readyState !== WebSocket.OPEN) continue;
    if (socket.bufferedAmount > OUT_BYTES_MAX) socket.terminate();
    else socket.send(data, { binary: false });
  }
}

const TEXT = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false };

function broadcastPrepared(room, data) {
  if (room.pending.length === 0) process.nextTick(flush, room);
  room.pending.push(...Sender.frame(data, TEXT));
}

function flush(room) {
  const bytes = Buffer.concat(room.pending);
  room.pending.length = 0;
  for (const { socket, stream } of room.members) {
    if (socket.readyState !== WebSocket.OPEN) continue;
    if (stream.writableLength > OUT_BYTES_MAX) socket.terminate();
    else stream.write(bytes);
  }
}

const send = options.prepared ? broadcastPrepared : broadcast;

const http = createServer((_, response) => response.writeHead(426).end());
const server = new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: false });
server.on('connection', (socket, request) => {
  const name = request.url;
  let room = rooms.get(name);
  if (!room) rooms.set(name, (room = { members: new Set(), pending: [] }));
  const member = { socket, stream: request.socket };
  room.members.add(member);
  socket.on('message', (data) => send(room, data));
  socket.on('error', () => socket.terminate());
  socket.on('close', () => {
    room.members.delete(member);
    if (room.members.size === 0) rooms.delete(name);
  });
});

http.listen({ host: '127.0.0.1', port: Number(options.port), backlog: 4096 }, () => {
  const { address, port } = http.address();
  process.stdout.write(`ws listening on ${address}:${port} pid ${process.pid}\n`);
});
if (options['until-stdin-closes']) process.stdin.on('close', () => process.exit(0)).resume();
