// A device-flow client that knows nothing of Countersign: the OAuth library of somebody else does every request and checks
// every answer by the RFCs, ID tokens and their signatures included.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as oauth from 'oauth4webapi';
import { start_gateway } from './support/gateway.mjs';

const SECRET = '0a6e4ab0c6d0a1b5cf0e1f8b7d3c2e91';
const CLIENTS = `
[clients.tv]
name = "Living room TV"
[clients.reader]
name = "Reader"
secret = "${SECRET}"
third_party = true
audience = "https://api.reader.example"
scopes = ["openid", "profile", "read"]
[oauth]
interval_ms = 1_000
`;
const PLAIN = { [oauth.allowInsecureRequests]: true };

let gateway;
let phone;
before(async () => {
  gateway = await start_gateway(CLIENTS);
  phone = await signed_in('alice', 'her-phone');
});
after(() => gateway?.stop());

async function posted(path, body, headers = {}) {
  const answer = await fetch(gateway.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

/** A user and the headers of one of its devices. */
async function signed_in(user_id, device) {
  await posted('/v1/accounts', { user_id, password: 'correct horse', name: 'Alice' });
  const { access_token } = await posted('/v1/login', { user_id, password: 'correct horse', device: { id: device } });
  return { authorization: `Bearer ${access_token}`, 'countersign-device': device };
}

async function discovered(algorithm) {
  const issuer = new URL(gateway.url);
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...PLAIN }));
}

/** Types the code on the phone, and says yes. */
async function confirmed(user_code) {
  const { qr_id, scan_token, request } = await posted('/v1/qr/scan', { user_code }, phone);
  await posted(`/v1/qr/${qr_id}/confirm`, { scan_token }, phone);
  return request;
}

/** Asks as the library's documentation has it: until there is an answer, and no faster than told. */
async function polled(as, client, auth, device_code, interval_s) {
  for (;;) {
    const answer = await oauth.deviceCodeGrantRequest(as, client, auth, device_code, PLAIN);
    try {
      return await oauth.processDeviceCodeResponse(as, client, answer);
    } catch (error) {
      if (error.error !== 'authorization_pending') throw error;
      await new Promise((resolve) => { setTimeout(resolve, interval_s * 1_000); });
    }
  }
}

const KINDS = [
  { client_id: 'tv', auth: oauth.None(), scope: 'openid profile', who: 'a public client' },
  { client_id: 'reader', auth: oauth.ClientSecretBasic(SECRET), scope: 'openid profile read', who: 'a confidential client, by Basic' },
  { client_id: 'reader', auth: oauth.ClientSecretPost(SECRET), scope: 'openid', who: 'a confidential client, by its form' },
];

for (const algorithm of ['oauth2', 'oidc']) {
  for (const { client_id, auth, scope, who } of KINDS) {
    test(`${who} signs in, found by ${algorithm} discovery`, async () => {
      const as = await discovered(algorithm);
      const client = { client_id };
      const asked = await oauth.deviceAuthorizationRequest(as, client, auth, { scope }, PLAIN);
      const started = await oauth.processDeviceAuthorizationResponse(as, client, asked);
      assert.match(started.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
      assert.equal(started.verification_uri, `${gateway.url}/q`);

      const polling = polled(as, client, auth, started.device_code, started.interval);
      const request = await confirmed(started.user_code);
      assert.deepEqual(request.scopes, scope.split(' '));
      assert.ok(!request.full_access);
      const tokens = await polling;
      assert.equal(tokens.token_type, 'bearer');
      const claims = oauth.getValidatedIdTokenClaims(tokens);
      assert.equal(claims.sub, 'alice');

      const told = await oauth.userInfoRequest(as, client, tokens.access_token, PLAIN);
      const user = await oauth.processUserInfoResponse(as, client, claims.sub, told);
      assert.equal(user.name, scope.includes('profile') ? 'Alice' : undefined);

      const renewing = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, PLAIN);
      const renewed = await oauth.processRefreshTokenResponse(as, client, renewing);
      assert.notEqual(renewed.access_token, tokens.access_token);

      if (client_id === 'reader') assert.equal((await introspected(as, client, auth, renewed.access_token)).active, true);
      // Whoever serves something in the client's name checks the token by itself.
      const served = new Request('https://api.reader.example/books', { headers: { authorization: `Bearer ${renewed.access_token}` } });
      const expected = client_id === 'reader' ? 'https://api.reader.example' : 'tv';
      assert.equal((await oauth.validateJwtAccessToken(as, served, expected, PLAIN)).sub, 'alice');
      // It is not good for anything else here.
      const misused = await fetch(`${gateway.url}/v1/me`, { headers: { authorization: `Bearer ${renewed.access_token}`, 'countersign-device': 'x' } });
      assert.equal(misused.status, 401);

      const revoking = await oauth.revocationRequest(as, client, auth, renewed.refresh_token, PLAIN);
      await oauth.processRevocationResponse(revoking);
      const dead = await oauth.refreshTokenGrantRequest(as, client, auth, renewed.refresh_token, PLAIN);
      await assert.rejects(oauth.processRefreshTokenResponse(as, client, dead), { error: 'invalid_grant' });
      if (client_id === 'reader') assert.equal((await introspected(as, client, auth, renewed.access_token)).active, false);
    });
  }
}

async function introspected(as, client, auth, token) {
  const asked = await oauth.introspectionRequest(as, client, auth, token, PLAIN);
  return oauth.processIntrospectionResponse(as, client, asked);
}

test('the library reads every refusal as the RFCs have it', async () => {
  const as = await discovered('oauth2');
  const client = { client_id: 'tv' };
  const open = async () => {
    const asked = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), {}, PLAIN);
    return oauth.processDeviceAuthorizationResponse(as, client, asked);
  };
  const ask = async (device_code, of = client, auth = oauth.None()) => {
    const answer = await oauth.deviceCodeGrantRequest(as, of, auth, device_code, PLAIN);
    return oauth.processDeviceCodeResponse(as, of, answer);
  };
  const { device_code, user_code } = await open();
  await assert.rejects(ask(device_code), { error: 'authorization_pending' });
  await assert.rejects((async () => { for (let n = 0; n < 20; n += 1) await ask(device_code).catch((e) => { if (e.error !== 'authorization_pending') throw e; }); })(), { error: 'slow_down' });
  const { qr_id, scan_token } = await posted('/v1/qr/scan', { user_code }, phone);
  await posted(`/v1/qr/${qr_id}/deny`, { scan_token }, phone);
  await assert.rejects(ask(device_code), { error: 'access_denied' });
  await assert.rejects(ask('nonsense'), { error: 'invalid_grant' });
  // Whichever way the secret came, the refusal is a challenge (RFC 9110 §15.5.2), which the library tells as such.
  for (const auth of [oauth.ClientSecretPost('wrong'), oauth.ClientSecretBasic('wrong')]) {
    const error = await ask(device_code, { client_id: 'reader' }, auth).then(() => assert.fail('was let in'), (e) => e);
    assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, error.stack);
    assert.equal(error.status, 401);
    assert.deepEqual(error.cause.map(({ scheme }) => scheme), ['basic']);
    assert.equal((await error.response.json()).error, 'invalid_client');
  }
  const scoped = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), { scope: 'everything' }, PLAIN);
  await assert.rejects(oauth.processDeviceAuthorizationResponse(as, client, scoped), { error: 'invalid_scope' });
});
