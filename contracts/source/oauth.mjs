import { count, flag, list, object, one_of, ref, string } from './shapes.mjs';

const seconds = (description) => count(`${description}, seconds`);
/** RFC 7519: of a token's times. */
const instant = (description) => count(`${description}, seconds since 1970`);
const address = (description) => string(description, { pattern: '^https?://' });

export const DEVICE_CODE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const SCOPES = 'Separated by spaces.';

const codes = {
  invalid_request: 'a parameter is missing, doubled or malformed',
  invalid_client: 'no such client, or its authentication failed',
  invalid_grant: 'the device code or refresh token is unknown, another client\'s, or has been used',
  unauthorized_client: 'this client may not do this',
  unsupported_grant_type: '`/oauth/token` knows two grant types',
  invalid_scope: 'the client may not ask for that',
  authorization_pending: 'nobody has confirmed yet',
  slow_down: 'nobody has confirmed yet, and the device asks too often',
  access_denied: 'denied on the phone, or cancelled',
  expired_token: 'the device code has expired',
  invalid_token: 'the access token does not work here',
  temporarily_unavailable: 'too many, or not at the moment; `Retry-After` says when',
  server_error: 'the gateway failed',
};

/** How a client says who it is, when not by HTTP Basic. */
const client = {
  client_id: string('As registered. Not needed where the client authenticates by HTTP Basic.', { maxLength: 64 }),
  client_secret: string('Of a confidential client that does not authenticate by HTTP Basic; never both.', { maxLength: 256 }),
};
const any_token = {
  token: string('An access token or a refresh token.'),
};
const token_hint = { token_type_hint: string('`access_token` or `refresh_token`; not needed, and not believed.') };

export const forms = {
  DeviceAuthorizationForm: object({}, {
    ...client,
    scope: string(`${SCOPES} Absent means none.`),
    device_name: string('What the phone is shown of the device. Normalised, cut at 64 characters. An addition to the RFC.'),
    device_kind: { ...ref('DeviceKind'), description: 'Likewise; absent means `other`.' },
  }, 'RFC 8628 §3.1. The header `Countersign-Device` binds the tokens to a device: they are then as good as those of the user\'s own devices.'),
  TokenForm: {
    description: 'RFC 8628 §3.4 and RFC 6749 §6.',
    oneOf: [
      object({ grant_type: { const: DEVICE_CODE_GRANT }, device_code: ref('Secret') }, client, 'The tokens of a login that was confirmed.'),
      object({ grant_type: { const: 'refresh_token' }, refresh_token: ref('RefreshToken') }, {
        ...client, scope: string('What was granted, or absent.'),
      }, 'New tokens for a refresh token, which works once.'),
    ],
  },
  RevokeForm: object(any_token, { ...client, ...token_hint }, 'RFC 7009 §2.1.'),
  IntrospectForm: object(any_token, { ...client, ...token_hint }, 'RFC 7662 §2.1.'),
};

export const oauth = {
  UserCode: string('What a device shows and a phone types.', { pattern: '^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$' }),
  OAuthErrorCode: {
    ...one_of(...Object.keys(codes)),
    description: Object.entries(codes).map(([name, meaning]) => `\`${name}\`: ${meaning}`).join('; '),
  },
  OAuthError: object({ error: ref('OAuthErrorCode') }, { error_description: string('For a developer; may change.') }, 'RFC 6749 §5.2.'),
  DeviceAuthorization: object({
    device_code: { ...ref('Secret'), description: 'What the device asks for its tokens with; the `claim` of the QR login.' },
    user_code: ref('UserCode'),
    verification_uri: address('Where its person types the code.'),
    verification_uri_complete: address('What a QR code says.'),
    expires_in: seconds('Life of both codes'),
    interval: seconds('The device asks at most this often'),
    qr_id: { ...ref('QrId'), description: 'Names the QR login, for who watches it. An addition to the RFC.' },
  }, {}, 'RFC 8628 §3.2.'),
  OAuthTokens: object({
    access_token: ref('AccessToken'),
    token_type: { ...ref('TokenType'), description: '`DPoP` where the session was opened with `dpop_jkt`.' },
    expires_in: seconds('Life of the access token'),
    refresh_token: ref('RefreshToken'),
    scope: string(`What was granted. ${SCOPES}`),
  }, { id_token: string('With scope `openid`: a JWT (EdDSA, `JWT`) for the client alone.') }, 'RFC 6749 §5.1.'),
  Introspection: object({ active: flag('Whether the token works, and is one of this client\'s.') }, {
    scope: string(SCOPES),
    client_id: string('Whom it was issued to.'),
    token_type: { ...ref('TokenType'), description: 'Absent for a refresh token.' },
    exp: instant('Its end'),
    iat: instant('When it was issued'),
    sub: ref('UserId'),
    aud: string('Whom it is for.'),
    iss: string('Whom it is from.'),
    jti: string('Names it.'),
  }, 'RFC 7662 §2.2; `active` alone when it is false.'),
  UserInfo: object({ sub: ref('UserId') }, {
    name: ref('DisplayName'),
    picture: { ...ref('Avatar') },
  }, 'OpenID Connect Core §5.3; `name` and `picture` with scope `profile`.'),
  AuthorizationServer: object({
    issuer: string('Claim `iss` of its tokens.'),
    device_authorization_endpoint: address('RFC 8628.'),
    token_endpoint: address('RFC 6749.'),
    revocation_endpoint: address('RFC 7009.'),
    introspection_endpoint: address('RFC 7662.'),
    userinfo_endpoint: address('OpenID Connect.'),
    jwks_uri: address('The public keys.'),
    response_types_supported: list(string('One.'), { maxItems: 0, description: 'None: there is no authorization endpoint.' }),
    grant_types_supported: list(one_of(DEVICE_CODE_GRANT, 'refresh_token')),
    token_endpoint_auth_methods_supported: list(string('One.')),
    revocation_endpoint_auth_methods_supported: list(string('One.')),
    introspection_endpoint_auth_methods_supported: list(string('One.')),
    scopes_supported: list(string('One.')),
    subject_types_supported: list({ const: 'public' }),
    id_token_signing_alg_values_supported: list({ const: 'EdDSA' }),
    claims_supported: list(string('One.')),
  }, {}, 'RFC 8414 §2, and OpenID Connect Discovery §3.'),
};

const CLIENT = ['invalid_request', 'invalid_client', 'unauthorized_client'];
/** What is refused for its connection or the head of its request, and never came to a route. */
const EARLY = ['bad_request', 'rate_limited', 'unavailable'];
const endpoint = (path, id, summary, more) => ({
  method: 'post', path: `/oauth/${path}`, id: `oauth_${id}`, tag: 'oauth', summary, auth: 'client', ...more,
  errors: EARLY,
  oauth_errors: ['temporarily_unavailable', 'server_error', ...CLIENT, 'unauthorized_client@403', 'invalid_request@413', ...(more.oauth_errors ?? [])],
});
const kept_by_nobody = (schema) => ({ 200: { schema, cache: 'no-store', old_caches: true } });

/** Routes below `/oauth/`. Their own refusals are `oauth_errors`; `errors` come before a route is asked. A page of a foreign origin is `unauthorized_client@403`. */
export const oauth_routes = [
  endpoint('device_authorization', 'device_authorization', 'Opens a QR login for an app (RFC 8628): a code to type, and one to scan.', {
    auth: 'client_device', form: 'DeviceAuthorizationForm', answers: kept_by_nobody('DeviceAuthorization'), oauth_errors: ['invalid_scope'],
  }),
  endpoint('token', 'token', 'The tokens of a login that was confirmed, or of a refresh token. A wait is an error, `authorization_pending`.', {
    auth: 'client_device', form: 'TokenForm', answers: kept_by_nobody('OAuthTokens'),
    oauth_errors: ['invalid_grant', 'unsupported_grant_type', 'invalid_scope', 'authorization_pending', 'slow_down', 'access_denied', 'expired_token'],
  }),
  endpoint('revoke', 'revoke', 'Ends the session of a token (RFC 7009). The same answer for a token that is none of this client\'s.', {
    form: 'RevokeForm', answers: { 200: { cache: 'no-store', old_caches: true, nothing: true } },
  }),
  endpoint('introspect', 'introspect', 'What a token is (RFC 7662), for confidential clients.', {
    form: 'IntrospectForm', answers: kept_by_nobody('Introspection'),
  }),
  {
    method: 'get', path: '/oauth/userinfo', id: 'oauth_userinfo', tag: 'oauth', auth: 'userinfo',
    summary: 'Who signed in (OpenID Connect Core §5.3): with a client\'s token that has scope `openid` or `profile`, or a token of our own.',
    answers: kept_by_nobody('UserInfo'),
    errors: EARLY,
    oauth_errors: ['invalid_request', 'invalid_token', 'access_denied', 'invalid_scope@403', 'temporarily_unavailable', 'server_error'],
  },
];

/** Their HTTP status; any other is 400. */
export const oauth_status = {
  invalid_client: 401, invalid_token: 401, temporarily_unavailable: [429, 503], server_error: 500,
};
