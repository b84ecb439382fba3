import { error_codes } from './codes.mjs';
import { oauth } from './oauth.mjs';
import { any, at_ms, count, flag, list, ms, object, one_of, ref, string } from './shapes.mjs';

const U32_MAX = 4_294_967_295;

const names = {
  Room: string('A room as a client may write it: without a colon its namespace is `default`.', { pattern: '^[A-Za-z0-9_.:@-]{1,128}$' }),
  RoomName: string('A room with its namespace.', { pattern: '^[A-Za-z0-9_.@-]+:[A-Za-z0-9_.:@-]+$', maxLength: 128 }),
  UserId: string('Who somebody is; nothing else identifies a user.', { pattern: '^[A-Za-z0-9_.@-]{1,64}$' }),
  DeviceId: string('Chosen by the client, kept as long as the installation lives, shown to nobody.', { pattern: '^[!-~]{1,128}$' }),
  DeviceKind: { ...one_of('pc', 'web', 'ios', 'android', 'tv', 'other'), description: 'Absent means `other`.' },
  Role: { ...one_of('viewer', 'member', 'moderator', 'owner'), description: '`viewer` is not signed in; this version gives `viewer` and `member`.' },
  Priority: { ...one_of('high', 'normal', 'low'), description: 'What may be dropped first under pressure; absent means `normal`.' },
  QrId: string('A QR login as its code names it: public, another with each rotation. One spelling each.', { pattern: '^[A-Za-z0-9_-]{21}[AQgw]$' }),
  Secret: string('256 random bits in base64url.', { pattern: '^[A-Za-z0-9_-]{43}$' }),
  Digits: string('The two digits of the number match.', { pattern: '^[0-9]{2}$' }),
  DisplayName: string('Normalised; decoration, not identity.', { minLength: 1, maxLength: 64 }),
  ClientName: string('Of the registered client that asks, or that the session was opened for; absent without one.', { minLength: 1, maxLength: 64 }),
  Avatar: string('An address with a host and without credentials; 512 bytes at most.', { pattern: '^https://', maxLength: 512 }),
  MatchMode: { ...one_of('phone_types', 'pc_types', 'none'), description: 'Who types what the other side shows. `none`: nobody has to, or it has been typed.' },
  QrState: one_of('waiting', 'scanned', 'confirmed', 'redeemed', 'denied', 'cancelled', 'expired'),
  QrReason: one_of('idle', 'unconfirmed', 'unredeemed', 'match_failed', 'revoked', 'user', 'superseded'),
  Seq: { type: 'integer', minimum: 0, maximum: U32_MAX, description: 'Of an event of one QR login: 1 for its opening, rising by one.' },
  Offset: count('Of a message in one epoch of its room, rising by one.'),
  Epoch: string('This life of a room\'s numbering; opaque.'),
  SessionId: string('Opaque.'),
  AccessToken: string('A JWT (EdDSA, `at+jwt`), bound to a device or a key; opaque to clients.'),
  RefreshToken: string('Works once; opaque.'),
  TokenType: one_of('Bearer', 'DPoP'),
  ErrorCode: {
    type: 'string',
    enum: error_codes.map(({ name }) => name),
    description: error_codes.map(({ name, meaning }) => `\`${name}\`: ${meaning}`).join('; '),
  },
};

const pictured = { name: ref('DisplayName'), avatar: ref('Avatar') };

const people = {
  User: object({ id: ref('UserId') }, pictured),
  Member: object({ id: ref('UserId'), role: ref('Role') }, pictured),
  Device: object({ kind: ref('DeviceKind') }, { name: ref('DisplayName') }, 'A device as others see it.'),
  Scanner: object({}, pictured, 'Who scanned, as the PC sees it before it is signed in: no id.'),
  Match: object({ mode: ref('MatchMode') }, {
    form: { const: 'user_code', description: 'What is typed: the user code of a device authorization. Absent: two digits.' },
    code: { anyOf: [ref('Digits'), ref('UserCode')], description: 'Only on the side that shows it.' },
  }),
};

const rooms = {
  Counts: object({
    version: count('The highest wins.'),
    viewers: count('Connections in the room.'),
    members: count('Distinct signed-in users.'),
    counters: { type: 'object', additionalProperties: count('Its value.'), description: 'A counter nobody raised yet is absent.' },
  }, {}, 'Absolute values.'),
  RoomInfo: object({
    closed: flag('Nobody joins any more.'),
    slow_mode_ms: ms('Least time between two messages of one user'),
    version: count('Base of the `version` of later `room` pushes.'),
  }, {
    title: string('What the room is called.'),
    announcement: string('Shown at its top.'),
    status: string('Of a live broadcast.'),
    owner: ref('UserId'),
    cover: string('A picture\'s address.'),
  }),
  Me: object({ role: ref('Role') }, { muted_for_ms: ms('How much longer') }, 'This connection\'s standing in a room.'),
  Message: object({
    type: { const: 'message' },
    room: ref('RoomName'),
    offset: ref('Offset'),
    at_ms: at_ms('When it was sequenced; never falls within a room'),
    from: { anyOf: [ref('Member'), { type: 'null' }], description: 'Made from the sender\'s session; `null` for the server API.' },
    body: any('Delivered as it was written; never read for identity.'),
  }, {
    source: { const: 'server', description: 'The server API spoke.' },
    cid: string('The sender\'s own name for it.', { minLength: 1, maxLength: 64 }),
    priority: { ...one_of('high', 'low'), description: 'Absent means `normal`.' },
  }),
};

const qr_event = (state, fields, optional) => object({
  type: { const: 'qr' }, qr_id: ref('QrId'), seq: ref('Seq'), state, ...fields,
}, optional);
const left_ms = ms('Until this state ends');

const qr = {
  QrWaiting: qr_event({ const: 'waiting' }, { url: string('What the code says.'), rotate_in_ms: ms('Until the next code'), expires_in_ms: left_ms }),
  QrScanned: qr_event({ const: 'scanned' }, { user: ref('Scanner'), match: ref('Match'), expires_in_ms: left_ms }, { matched: { const: true, description: 'The PC\'s digits were right.' } }),
  QrConfirmed: qr_event({ const: 'confirmed' }, { expires_in_ms: left_ms }, {
    ticket: { ...ref('Secret'), description: 'Absent for a device authorization, whose tokens come from `/oauth/token`.' },
  }),
  QrDone: qr_event({ const: 'redeemed' }, {}),
  QrEnded: qr_event(one_of('denied', 'cancelled', 'expired'), { reason: ref('QrReason') }),
  QrEvent: { oneOf: ['QrWaiting', 'QrScanned', 'QrConfirmed', 'QrDone', 'QrEnded'].map(ref), description: 'One change of a QR login.' },
};

export const types = { ...names, ...people, ...rooms, ...oauth, ...qr };
export { U32_MAX };
