import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect } from 'node:tls';
import { fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { code_of, joined, number_of, said, say, scan, stage, type_number } from './support/stage.mjs';

const folder = mkdtempSync(join(tmpdir(), 'countersign-tls-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const files = { certificate: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };

/** A certificate for 127.0.0.1 that nobody vouches for, in place of the one that was there. */
function certify() {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=countersign.test',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', files.key, '-out', files.certificate], { stdio: 'ignore' });
}

certify();
const on = stage(`[tls]\ncertificate_file = "${files.certificate}"\nkey_file = "${files.key}"\n`);

/** What a new connection is shown. */
async function certificate() {
  const { hostname, port } = new URL(on.url);
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

test('over TLS: a code, a phone, signed in by push on one socket; a new certificate drops nobody', async () => {
  const trusting = { ignoreHTTPSErrors: true };
  const room = fresh('chat:tls');
  const pc = await (await on.somebody(trusting)).tab(`${on.url}/?room=${room}`);
  assert.equal(await pc.page.evaluate(() => isSecureContext), true);
  const { url } = await code_of(pc);
  assert.ok(url.startsWith(`${new URL(on.url).origin}/q/`), url);
  const phone = await (await on.somebody(trusting)).tab(url);
  await scan(phone, fresh('tls'), 'Tls');
  await type_number(phone, await number_of(pc));
  await shows(phone.at('result-title'), /^Signed in on /);
  await joined(pc);
  await say(pc, 'under the old certificate');

  const old = await certificate();
  certify();
  process.kill(on.pid, 'SIGHUP');
  await eventually(async () => assert.notEqual(await certificate(), old));
  const later = await (await on.somebody(trusting)).tab(`${on.url}/?room=${room}`);
  await code_of(later);
  await say(pc, 'under the new one');
  await eventually(async () => assert.deepEqual(await said(pc), ['under the old certificate', 'under the new one']));
  assert.equal(pc.sockets.length, 1, 'it never left');
  assert.match(pc.sockets[0], /^wss:/);
});
