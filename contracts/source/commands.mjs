import { any, at_ms, count, flag, list, ms, object, one_of, or_null, ref, string } from './shapes.mjs';
import { U32_MAX, types } from './types.mjs';

const token = { token: ref('AccessToken') };
const dpop = { dpop: string('A DPoP proof (RFC 9449), for a token bound to a key.') };
const room = { room: ref('Room') };
const claimed = { qr_id: ref('QrId'), claim: ref('Secret') };
const page = { limit: { type: 'integer', minimum: 1, maximum: U32_MAX, description: 'Above 100 it counts as 100.' } };

/** What a PC says of itself; also the body of `POST /v1/login`. */
export const device_in = object(
  { id: ref('DeviceId') },
  or_null({ name: string('Normalised, cut at 64 characters.'), kind: ref('DeviceKind') }),
  'The device that asks.',
);
const coordinate = string('32 bytes in base64url.', { pattern: '^[A-Za-z0-9_-]{43}$' });
export const qr_open = [{ device: ref('DeviceIn') }, or_null({
  public_key: object({ kty: { const: 'EC' }, crv: { const: 'P-256' }, x: coordinate, y: coordinate }, {}, 'The tokens are sealed to it.'),
  dpop_jkt: string('RFC 7638 thumbprint of the key the access token shall be bound to.', { pattern: '^[A-Za-z0-9_-]{43}$' }),
  client_id: string('A registered public client, from a page of an origin that is registered for it; otherwise `not_allowed`.'),
})];
export const qr_opened = [{
  qr_id: ref('QrId'),
  claim: ref('Secret'),
  url: string('What the code says.'),
  expires_in_ms: ms('Until it ends unscanned'),
  rotate_in_ms: ms('Until the next code'),
  seq: ref('Seq'),
  state: { const: 'waiting' },
}];
const redeemed = {
  token_type: ref('TokenType'),
  expires_in_ms: ms('Life of the access token'),
  user: ref('User'),
  session: ref('SessionId'),
};
/** The two tokens, or `sealed` in their place. */
export const qr_redeemed = [
  [{ ...redeemed, access_token: ref('AccessToken'), refresh_token: ref('RefreshToken') }],
  [{ ...redeemed, sealed: string('JWE in compact form with the JSON of the two tokens: the opening had a `public_key`.') }],
];
const signed_in = [{ user: ref('User'), session: ref('SessionId'), expires_in_ms: ms('Life of the token') }];
const messages = list(ref('Message'), { maxItems: 100, description: 'Oldest first.' });

/**
 * Every command: what it does, its fields, the fields of its reply, or of one of several. Fields are `[required, optional]`.
 * @type {Record<string, {name: string, does: string, fields?: object[], reply?: object[], either?: object[][]}>}
 */
export const commands = {
  auth: { name: 'Auth', does: 'Signs this connection in.', fields: [token, or_null({ device: ref('DeviceId'), ...dpop })], reply: signed_in },
  refresh: { name: 'Refresh', does: 'A new token of the same user and session.', fields: [token, or_null(dpop)], reply: signed_in },
  ping: { name: 'Ping', does: 'Liveness for page scripts, which cannot see WebSocket pings.' },
  'qr.open': { name: 'QrOpen', does: 'Opens a QR login and watches it.', fields: qr_open, reply: qr_opened },
  'qr.watch': {
    name: 'QrWatch',
    does: 'Watches a QR login again; its events follow the reply.',
    fields: [{ ...claimed, device: ref('DeviceId') }, or_null({ after_seq: ref('Seq') })],
    reply: [{ state: ref('QrState'), expires_in_ms: ms('0 in a final state; until this state ends') }],
  },
  'qr.answer': { name: 'QrAnswer', does: 'The digits that the phone shows, where the PC types.', fields: [{ ...claimed, code: string('What was typed.') }] },
  'qr.cancel': { name: 'QrCancel', does: 'Ends a QR login from the PC.', fields: [claimed] },
  'qr.redeem': { name: 'QrRedeem', does: 'Exchanges the ticket for this device\'s own tokens.', fields: [{ ...claimed, ticket: ref('Secret') }], either: qr_redeemed },
  join: {
    name: 'Join',
    does: 'Subscribes to a room.',
    fields: [room, or_null({ after: object({ epoch: ref('Epoch'), offset: ref('Offset') }, {}, 'Where the viewer stood.') })],
    reply: [{
      room: ref('RoomName'), epoch: ref('Epoch'), offset: ref('Offset'), messages, counts: ref('Counts'), info: ref('RoomInfo'), me: ref('Me'),
    }, { recovered: flag('With `after`: whether `messages` is everything that was missed.') }],
  },
  leave: { name: 'Leave', does: 'Unsubscribes.', fields: [room] },
  send: {
    name: 'Send',
    does: 'Says something.',
    fields: [
      { ...room, body: any('At most 16,384 bytes of JSON.') },
      or_null({ cid: string('The same again delivers nothing again; use a UUID. 64 bytes at most.', { minLength: 1, maxLength: 64 }), priority: ref('Priority') }),
    ],
    either: [
      [{ offset: ref('Offset'), at_ms: at_ms('When it was sequenced') }, { duplicate: { const: true, description: 'The first result of this `cid`.' } }],
      [{ shed: { const: true, description: 'Not sequenced: the room is overloaded.' }, after_ms: ms('When to try again') }],
    ],
  },
  like: {
    name: 'Like',
    does: 'Raises a counter.',
    fields: [{ ...room, n: { type: 'integer', minimum: 1, description: 'At most `limits.like_max` of `hello`.' } }, or_null({ counter: string('Absent means `likes`.') })],
    reply: [{ value: count('The counter after this like.') }],
  },
  members: {
    name: 'Members',
    does: 'Who is there.',
    fields: [room, or_null({ ...page, cursor: string('Of the page before.') })],
    reply: [{ members: list(ref('Member'), { maxItems: 100 }), total: count('All of them.') }, { cursor: string('Gives the next page; absent at the end.') }],
  },
  history: {
    name: 'History',
    does: 'Pages through what was said; `before` or `after`, not both.',
    fields: [room, or_null({ before: ref('Offset'), after: ref('Offset'), ...page })],
    reply: [{ epoch: ref('Epoch'), messages }],
  },
};

const push = (type, fields, optional, description) => object({ type: { const: type }, ...fields }, optional, description);
const of_room = { room: ref('RoomName') };
const session = (state, fields, description, optional = {}) => push('session', { state: { const: state }, ...fields }, optional, description);

/** Every push but `message` and `qr`, which are types of their own. */
export const pushes = {
  Hello: push('hello', {
    protocol: { const: 1 },
    connection: string('Names this connection in logs.'),
    ping_interval_ms: ms('Between two pings of the gateway'),
    limits: object({
      frame_bytes_max: count('Largest message a client may send, bytes.'),
      body_bytes_max: count('Largest `body` of `send`, bytes.'),
      subscriptions_max: count('Rooms of this connection.'),
      like_max: count('Largest `n` of one `like`.'),
    }),
  }, {}, 'The first frame of every connection.'),
  CountsPush: { ...types.Counts, required: ['type', 'room', ...types.Counts.required], properties: { type: { const: 'counts' }, ...of_room, ...types.Counts.properties }, description: 'Counts of a room changed.' },
  RoomPush: push('room', { ...of_room, version: count('The highest wins.'), info: ref('RoomInfo') }, {}, 'A room\'s info changed.'),
  Presence: push('presence', { ...of_room, joined: list(ref('Member')), left: list(ref('UserId')) }, { reset: { const: true, description: 'Ask for `members`.' } }, 'Who came and went.'),
  MePush: push('me', { ...of_room, role: ref('Role') }, { muted_for_ms: ms('How much longer') }, 'This connection\'s standing changed.'),
  Gap: push('gap', { ...of_room, from: ref('Offset'), to: ref('Offset') }, {}, 'Messages `from` to `to`, both included, were dropped for this connection.'),
  Left: push('left', { ...of_room, reason: one_of('kicked', 'banned', 'closed', 'not_allowed') }, {}, 'This connection is no longer in the room.'),
  Reconnect: push('reconnect', { after_ms: ms('Reconnect then') }, {}, 'The node is about to end.'),
  SessionExpiring: session('expiring', { after_ms: ms('Until the token expires') }, 'Send a new token with `refresh`.'),
  SessionExpired: session('expired', {}, 'Close 4005 follows.'),
  SessionRevoked: session('revoked', { session: ref('SessionId') }, 'The session was ended; close 4503 follows.'),
  SessionNewDevice: session('new_device', { session: ref('SessionId'), device: ref('Device'), ip: string('Where it signed in from.') }, 'The same user signed in elsewhere.', { client: ref('ClientName') }),
};

/** The fields of a refusal that both transports have. */
export const refused = {
  after_ms: ms('When the same can succeed'),
  state: { ...ref('QrState'), description: 'With `already_final`, or the `match_failed` that ended it.' },
  reason: ref('QrReason'),
  tries_left: count('With `match_failed`.', { maximum: 255 }),
};

export const error_reply = object({
  id: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }], description: '`null` when the command\'s own could not be read.' },
  type: { const: 'error' },
  code: ref('ErrorCode'),
  message: string('For a developer; may change.'),
  retry: flag('Whether the same command can succeed later.'),
}, refused, 'The answer to a command that was refused.');
