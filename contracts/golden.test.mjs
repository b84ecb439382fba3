import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { commands } from './source/commands.mjs';
import { push_names } from './source/schema.mjs';
import { checker, read } from './support/validator.mjs';

const FOLDER = new URL('../protocol/tests/golden/', import.meta.url);
const check = checker(read('schema.json'));

const BODIES = {
  'oauth.device_authorization': 'DeviceAuthorization',
  'oauth.error': 'OAuthError',
  'oauth.introspect': 'Introspection',
  'oauth.metadata': 'AuthorizationServer',
  'oauth.token': 'OAuthTokens',
  'oauth.userinfo': 'UserInfo',
  'answer.scan.by.code': 'QrScanByCode',
  'request.scan.by.code': 'QrScanByCodeRequest',
  'answer.accounts': 'AccountCreated',
  'answer.confirm': 'QrConfirmedState',
  'answer.deny': 'QrDeniedState',
  'answer.jwks': 'Jwks',
  'answer.login': 'Tokens',
  'answer.me': 'Identity',
  'answer.outcome': 'QrOutcome',
  'answer.qr': 'QrOpened',
  'answer.redeem': 'QrRedeemed',
  'answer.refresh': 'Tokens',
  'answer.scan': 'QrScan',
  'answer.sessions': 'Sessions',
  'request.accounts': 'NewAccount',
  'request.answer': 'QrAnswerRequest',
  'request.confirm': 'QrConfirmRequest',
  'request.deny': 'QrDenyRequest',
  'request.login': 'Login',
  'request.qr': 'QrOpenRequest',
  'request.redeem': 'QrRedeemRequest',
  'request.refresh': 'RefreshRequest',
  error: 'ErrorReply',
  problem: 'Problem',
};

/** The definition that a golden file is of: `command.qr.open.with.keys` is one of `QrOpenCommand`. */
function definition(file) {
  const name = file.replace(/\.json$/, '').replace(/\.with\..*$/, '');
  const [kind, ...rest] = name.split('.');
  if (kind === 'push') return 'Push';
  if (kind === 'command' || kind === 'reply') return `${commands[rest.join('.')].name}${kind === 'command' ? 'Command' : 'Reply'}`;
  return BODIES[name];
}

const files = readdirSync(FOLDER);
const golden = (file) => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'));

test('every golden file is as its schema says', () => {
  assert.ok(files.length > 90);
  for (const file of files) {
    const name = definition(file);
    assert.ok(name, `${file} has no schema`);
    assert.doesNotThrow(() => check(`/$defs/${name}`, golden(file)), file);
  }
});

test('every command, reply and push has a golden file', () => {
  const of = new Set(files.map(definition));
  const missing = Object.values(commands).flatMap(({ name }) => [`${name}Command`, `${name}Reply`]).filter((name) => !of.has(name));
  assert.deepEqual(missing, []);
  const pushed = files.filter((file) => file.startsWith('push.')).map(golden);
  const fits = (name, value) => { try { check(`/$defs/${name}`, value); return true; } catch { return false; } };
  assert.deepEqual(push_names.filter((name) => !pushed.some((value) => fits(name, value))), []);
});

test('a schema can fail', () => {
  const frame = golden('push.message.json');
  assert.throws(() => check('/$defs/Push', { ...frame, more: 1 }), /not as/);
  assert.throws(() => check('/$defs/Push', { ...frame, offset: -1 }), /not as/);
  const { room, ...without } = frame;
  assert.ok(room);
  assert.throws(() => check('/$defs/Push', without), /not as/);
});
