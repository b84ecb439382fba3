// Starts a gateway and lets schemathesis call every operation of openapi.json: no 5xx, no answer that is not documented.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { start_gateway } from '../../tests/browser/support/gateway.mjs';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const PROGRAM = at('../../target/schemathesis/bin/schemathesis');

// The rates would end most calls before they began.
process.env.COUNTERSIGN_LIMITS_PROFILE = 'bench';
// The client that hooks.py authenticates as.
const CLIENT = '[clients.fuzz]\nname = "Fuzz"\nsecret = "a-secret-for-schemathesis"\n';
const gateway = await start_gateway(`[tokens]\naccess_ms = 86400000\n${CLIENT}`);
const args = ['--config-file', at('schemathesis.toml'), 'run', at('../openapi.json'), '--url', gateway.url, '--no-color', ...process.argv.slice(2)];
const hooks = { SCHEMATHESIS_HOOKS: 'hooks', PYTHONPATH: at('.'), PYTHONDONTWRITEBYTECODE: '1' };
const env = { ...process.env, ...hooks, COUNTERSIGN_URL: gateway.url, NO_PROXY: '127.0.0.1' };
const child = spawn(PROGRAM, args, { cwd: at('../../target/schemathesis'), env, stdio: 'inherit' });
process.once('exit', () => child.kill());
const code = await new Promise((resolve, reject) => { child.once('error', reject); child.once('exit', resolve); });
await gateway.stop();
assert.doesNotMatch(gateway.log(), /\bERROR\b|panicked/, 'the gateway met no fault of its own');
process.exitCode = code ?? 1;
