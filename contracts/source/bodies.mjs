import { device_in, qr_open, qr_opened, qr_redeemed, refused } from './commands.mjs';
import { forms } from './oauth.mjs';
import { at_ms, count, flag, list, ms, object, one_of, or_null, ref, string } from './shapes.mjs';

/** One password rule for all: counted in bytes of UTF-8, which a schema cannot. */
const password = string('8 to 128 bytes.', { minLength: 8, maxLength: 128 });
const tokens = {
  access_token: ref('AccessToken'),
  token_type: ref('TokenType'),
  expires_in_ms: ms('Life of the access token'),
  refresh_token: ref('RefreshToken'),
  user: ref('User'),
  session: ref('SessionId'),
};

/** Bodies of HTTP requests. */
export const requests = {
  DeviceIn: device_in,
  NewAccount: object(
    { user_id: ref('UserId'), password },
    or_null({ name: string('Normalised, cut at 64 characters.'), avatar: ref('Avatar') }),
  ),
  Login: object({ user_id: string('One that is no user id is no account\'s.'), password: string('As registered.'), device: ref('DeviceIn') }),
  RefreshRequest: object({ refresh_token: ref('RefreshToken') }),
  QrOpenRequest: object(...qr_open),
  QrAnswerRequest: object({ code: string('The digits that the phone shows.') }),
  QrRedeemRequest: object({ ticket: ref('Secret') }),
  QrConfirmRequest: object({ scan_token: ref('Secret') }, or_null({
    code: string('The digits or the user code that the PC shows, where the phone types.'),
    password: string('The account\'s, where `step_up_required` asked for it.'),
  })),
  QrDenyRequest: object({ scan_token: ref('Secret') }),
  QrScanByCodeRequest: object({ user_code: string('As it was typed: case, spaces and hyphens do not matter.') }),
  ...forms,
};

const scan = [{
  scan_token: ref('Secret'),
  expires_in_ms: ms('Until the scan lapses'),
  request: object({
    device: ref('Device'),
    ip: string('Where the PC asked from.'),
    age_ms: ms('Since the PC asked'),
    same_network: flag('Equal public IPv4 address or IPv6 /64; shown, and changes nothing.'),
  }, {
    user_agent: string('Of the PC.', { maxLength: 256 }),
    client: ref('ClientName'),
    scopes: list(string('One.'), { minItems: 1, maxItems: 100, description: 'What that client asks for; absent: nothing.' }),
    full_access: { const: true, description: 'The client would get tokens that are as good as those of the user\'s own devices.' },
  }, 'Who asks to be signed in.'),
  match: ref('Match'),
}];

/** Bodies of HTTP answers. */
export const answers = {
  AccountCreated: object({ user: ref('User') }),
  Tokens: object(tokens),
  Identity: object({ user: ref('User'), session: ref('SessionId'), device: ref('Device') }, {}, 'Who calls, as the gateway knows it.'),
  Sessions: object({
    sessions: list(object({
      id: ref('SessionId'),
      device: ref('Device'),
      created_at_ms: at_ms('Sign-in'),
      last_seen_at_ms: at_ms('Sign-in or last refresh'),
      ip: string('Where it signed in from.'),
      current: flag('The session that asks.'),
    }, { client: ref('ClientName') }), { description: 'Newest first.' }),
  }),
  Jwks: object({
    keys: list(object({
      kty: { const: 'OKP' }, crv: { const: 'Ed25519' }, x: string('The key, base64url.'), kid: string('Its name in tokens.'), alg: { const: 'EdDSA' }, use: { const: 'sig' },
    }), { minItems: 1 }),
  }),
  QrOpened: object(...qr_opened),
  QrRedeemed: { oneOf: qr_redeemed.map((fields) => object(...fields)) },
  QrScan: object(...scan),
  QrScanByCode: object({ ...scan[0], qr_id: { ...ref('QrId'), description: 'What the phone goes on with.' } }),
  QrConfirmedState: object({ state: { const: 'confirmed' } }),
  QrDeniedState: object({ state: { const: 'denied' } }),
  QrOutcome: object({ state: ref('QrState') }, { reason: ref('QrReason'), session: { ...ref('SessionId'), description: 'The PC\'s, once redeemed.' } }),
  Problem: object({
    type: { const: 'about:blank' },
    title: string('The code in words.'),
    status: count('The HTTP status.', { minimum: 400, maximum: 599 }),
    detail: string('For a developer; may change.'),
    code: ref('ErrorCode'),
  }, { ...refused, methods: list(one_of('password'), { description: 'With `step_up_required`.' }) }, 'RFC 9457, with the code of section 7.1.'),
};
