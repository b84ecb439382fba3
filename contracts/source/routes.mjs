import { oauth_routes } from './oauth.mjs';

/** What changes something is refused to pages of a foreign origin. */
const changes = (route) => (route.method === 'get' || route.oauth_errors ? route : { ...route, errors: [...route.errors, 'origin_rejected'] });

/** Any route may answer with these. */
const ALWAYS = ['bad_request', 'rate_limited', 'internal', 'unavailable'];
const PROMPT = [...ALWAYS, 'timeout'];
const TOKEN = ['unauthenticated', 'invalid_token', 'device_mismatch', 'account_locked'];
const ENDED = ['already_final', 'already_final@410'];

const NO_STORE = 'no-store';
const PAGE = { cache: 'no-cache', csp: true };

const qr_id = { name: 'qr_id', schema: 'QrId', description: 'As the code says it.' };
const json = (schema, cache = NO_STORE) => ({ schema, cache });
const empty = (cache) => ({ cache });
const html = { type: 'text/html', ...PAGE };

/**
 * A picture of the code. Another kind is another line in the table below.
 * @param {string} ending @param {string} type its media type
 */
const picture = (ending, type, more = {}) => ({
  method: 'get', path: `/v1/qr/{qr_id}.${ending}`, id: `qr_code_${ending}`, tag: 'qr, anybody',
  summary: `The code as a picture (${ending}), with its quiet zone. The same for every well-formed id, known or not.`,
  path_parameters: [qr_id], ...more, answers: { 200: { type, cache: NO_STORE } }, errors: [...PROMPT, 'not_found'],
});

/** A page or document for anybody. */
const open = (path, id, summary, answer, more = {}) => ({
  method: 'get', path, id, tag: 'pages and documents', summary, answers: { 200: answer }, errors: PROMPT, ...more,
});

/** What the PC does with the attempt it opened. */
const pc = (method, rest, id, summary, more) => ({
  method, path: `/v1/qr/{qr_id}${rest}`, id, tag: 'qr, the PC', summary, auth: 'claim', path_parameters: [qr_id], ...more,
  errors: [...PROMPT, 'not_found', ...(more.errors ?? [])],
});

/** What a signed-in phone does with the code it sees. */
const phone = (method, rest, id, summary, more) => ({
  method, path: `/v1/qr/{qr_id}/${rest}`, id, tag: 'qr, the phone', summary, auth: 'token', path_parameters: [qr_id], ...more,
  errors: [...(more.base ?? PROMPT), ...TOKEN, 'not_found', ...(more.errors ?? [])],
});

const user = (method, path, id, summary, more) => ({
  method, path, id, tag: 'accounts and sessions', summary, auth: 'token', ...more, errors: [...PROMPT, ...TOKEN, ...(more.errors ?? [])],
});

const account = (path, id, summary, more) => ({
  method: 'post', path, id, tag: 'accounts and sessions', summary, ...more, errors: [...PROMPT, 'too_large', ...more.errors],
});

/** Every route of the public port. `errors` are codes, with `@` where the status is not the code's own. */
export const routes = [
  account('/v1/accounts', 'register', 'Makes an account; does not sign in.', {
    body: 'NewAccount', answers: { 201: json('AccountCreated') }, errors: ['registration_closed', 'user_exists'],
  }),
  account('/v1/login', 'login', 'Signs a device in with a password.', { body: 'Login', answers: { 200: json('Tokens') }, errors: ['invalid_token', 'account_locked'] }),
  account('/v1/refresh', 'refresh', 'Exchanges a refresh token; each works once.', {
    auth: 'device', body: 'RefreshRequest', answers: { 200: json('Tokens') }, errors: ['invalid_token'],
  }),
  user('post', '/v1/logout', 'logout', 'Ends the caller\'s session.', { answers: { 204: empty() } }),
  user('get', '/v1/me', 'me', 'Who calls.', { answers: { 200: json('Identity') } }),
  user('get', '/v1/sessions', 'sessions', 'The signed-in devices of the caller\'s account.', { answers: { 200: json('Sessions') } }),
  user('delete', '/v1/sessions', 'end_other_sessions', 'Ends all sessions of the account but the caller\'s.', {
    query: [{ name: 'except', required: true, schema: { const: 'current' }, description: 'Which to keep.' }], answers: { 204: empty() },
  }),
  user('delete', '/v1/sessions/{id}', 'end_session', 'Ends one session of the caller\'s account.', {
    path_parameters: [{ name: 'id', schema: 'SessionId', description: 'Of the session.' }], answers: { 204: empty() }, errors: ['not_found'],
  }),

  {
    method: 'post', path: '/v1/qr', id: 'qr_open', tag: 'qr, the PC', summary: 'Opens a QR login.', auth: 'opener', body: 'QrOpenRequest',
    answers: { 201: json('QrOpened') }, errors: [...PROMPT, 'too_large', 'not_allowed', 'device_mismatch'],
  },
  pc('get', '', 'qr_poll', 'The newest event. Once a second for one attempt.', { answers: { 200: json('QrEvent') } }),
  pc('delete', '', 'qr_cancel', 'Ends it from the PC.', { answers: { 204: empty(NO_STORE) }, errors: ENDED }),
  pc('get', '/events', 'qr_events', 'Its events as server-sent events: each `id:` is a `seq`, each `data:` a QrEvent.', {
    query: [{ name: 'after_seq', schema: 'Seq', description: 'Events after this one; `Last-Event-ID` takes precedence.' }],
    headers: [{ name: 'Last-Event-ID', schema: 'Seq', description: 'The last event that was read.' }],
    answers: { 200: { type: 'text/event-stream', event: 'QrEvent', cache: NO_STORE, buffering: true }, 204: { ...empty(NO_STORE), says: 'It has ended, and nothing is left to tell: do not ask again.' } },
  }),
  pc('post', '/answer', 'qr_answer', 'The digits that the phone shows, where the PC types.', {
    body: 'QrAnswerRequest', answers: { 204: empty(NO_STORE) },
    errors: ['too_large', 'conflict', 'already_confirmed', 'match_required', 'match_failed', ...ENDED],
  }),
  pc('post', '/redeem', 'qr_redeem', 'Exchanges the ticket for the PC\'s own tokens.', {
    body: 'QrRedeemRequest', answers: { 200: json('QrRedeemed') }, errors: ['too_large', 'conflict', 'account_locked', ...ENDED],
  }),
  picture('svg', 'image/svg+xml'),
  picture('png', 'image/png', {
    query: [{ name: 'size', schema: { type: 'integer', minimum: 128, maximum: 1024, default: 512 }, description: 'Width and height, pixels.' }],
  }),
  phone('post', 'scan', 'qr_scan', 'The phone saw the code.', {
    answers: { 200: json('QrScan') }, errors: ['already_scanned', 'already_confirmed', 'policy_denied', ...ENDED],
  }),
  {
    ...phone('post', '', 'qr_scan_by_code', 'The phone\'s person typed the code of a device authorization.', {
      body: 'QrScanByCodeRequest', answers: { 200: json('QrScanByCode') }, errors: ['too_large', 'already_scanned', 'already_confirmed', 'policy_denied', ...ENDED],
    }),
    path: '/v1/qr/scan', path_parameters: [],
  },
  phone('post', 'confirm', 'qr_confirm', 'The phone says yes.', {
    body: 'QrConfirmRequest', answers: { 200: json('QrConfirmedState') },
    errors: ['too_large', 'scan_token_invalid', 'step_up_required', 'policy_denied', 'already_confirmed', 'match_required', 'match_failed', ...ENDED],
  }),
  phone('post', 'deny', 'qr_deny', 'The phone says no.', {
    body: 'QrDenyRequest', answers: { 200: json('QrDeniedState') }, errors: ['too_large', 'scan_token_invalid', ...ENDED],
  }),
  phone('get', 'outcome', 'qr_outcome', 'How it ended; waits for that, at most 25 s.', { base: ALWAYS, answers: { 200: json('QrOutcome') } }),

  {
    method: 'get', path: '/v1/ws', id: 'socket', tag: 'the socket', auth: 'maybe',
    summary: 'The WebSocket, which asyncapi.json describes. Anything but a handshake of RFC 6455 is refused.',
    answers: { 101: { says: 'It is a WebSocket from here on.' } },
    errors: [...PROMPT, 'bad_request@426', 'too_large@431', 'origin_rejected', 'invalid_token', 'device_mismatch', 'account_locked'],
  },

  ...oauth_routes,
  open('/.well-known/oauth-authorization-server', 'oauth_metadata', 'Where the endpoints of OAuth are, and what they know (RFC 8414).', { ...json('AuthorizationServer', 'public, max-age=300'), anybody: true }),
  open('/.well-known/openid-configuration', 'openid_metadata', 'The same (OpenID Connect Discovery).', { ...json('AuthorizationServer', 'public, max-age=300'), anybody: true }),
  open('/.well-known/jwks.json', 'jwks', 'The public keys of access and ID tokens.', { ...json('Jwks', 'public, max-age=300'), anybody: true }),
  open('/openapi.json', 'openapi', 'This document.', { anything: true, cache: 'no-cache', anybody: true }),
  open('/asyncapi.json', 'asyncapi', 'The WebSocket\'s commands, replies and pushes.', { anything: true, cache: 'no-cache', anybody: true }),
  open('/schema.json', 'schema', 'Every type of both documents as JSON Schema.', { type: 'application/schema+json', anything: true, cache: 'no-cache', anybody: true }),
  open('/', 'index', 'The demo page.', html),
  open('/q', 'code_page', 'The page where the code of a device authorization is typed.', html),
  open('/q/', 'code_page_slash', 'The same page, typed with a slash at the end.', html),
  open('/q/{qr_id}', 'confirm_page', 'The confirm page that a code leads to, the same for every id. Opening it changes nothing.', html, {
    path_parameters: [{ name: 'qr_id', description: 'As the code says it; not looked at.' }],
  }),
  open('/assets/{path}', 'asset', 'Scripts, styles and pictures of the pages, and the JavaScript client.', { types: ['text/javascript', 'text/css', 'text/html', 'image/svg+xml'], ...PAGE, anybody: true }, {
    path_parameters: [{ name: 'path', description: 'A file; slashes in it stay as they are.' }], errors: [...PROMPT, 'not_found'],
  }),
].map(changes);
