import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.COUNTERSIGN_BIN ?? fileURLToPath(new URL('../../../target/debug/countersign', import.meta.url));
const START_MS = 20_000;
const STOP_MS = 30_000;
/** Nobody waits for a test's gateway to empty. */
const DRAIN = '[drain]\ngrace_ms = 0\nspread_ms = 0\nhard_ms = 2_000\n';

/** Gateways that run: whatever ends this process ends them too. */
const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(signal, () => process.exit(code));

/**
 * Starts a gateway on ports the system picks, otherwise as it comes but for a quick drain.
 * @param {string} [config] further configuration, TOML tables
 * @param {string} [top] fields that stand before all tables
 * @param {{args?: string[], origin?: string}} [more] arguments of the program; its public origin
 * @returns {Promise<{pid: number, url: string, operator: string, stop(): Promise<void>, log(): string}>}
 */
export async function start_gateway(config = '', top = '', { args = [], origin } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-test-'));
  const file = join(folder, 'countersign.toml');
  writeFileSync(file, top + DRAIN + config);
  const env = { ...process.env, COUNTERSIGN_LISTEN: '127.0.0.1:0', COUNTERSIGN_OPERATOR_LISTEN: '127.0.0.1:0', COUNTERSIGN_CONFIG: file };
  if (origin) env.COUNTERSIGN_PUBLIC_ORIGIN = origin;
  const child = spawn(BINARY, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => { log += chunk; });
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ error }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  ended.then(() => {
    running.delete(child);
    rmSync(folder, { recursive: true, force: true });
  });

  const found = {};
  const ready = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      log += `${line}\n`;
      const told = /\b(listening|operator) on (https?:\/\/[^\s]+)/.exec(line);
      if (told) found[told[1]] = told[2];
      if (found.listening && found.operator) resolve(null);
    });
  });
  const failed = await within(START_MS, Promise.race([ready, ended]), 'the gateway to listen').catch((error) => {
    child.kill('SIGKILL');
    throw error;
  });
  if (failed) throw new Error(`the gateway (${BINARY}) did not start: ${JSON.stringify(failed)} ${failed.error ?? ''}\n${log}`);

  return {
    pid: child.pid,
    url: found.listening,
    operator: found.operator,
    log: () => log,
    /** Asks it to go, and expects it to go well. */
    async stop() {
      child.kill('SIGTERM');
      const how = await within(STOP_MS, ended, 'the gateway to stop').catch((error) => {
        child.kill('SIGKILL');
        throw error;
      });
      if (how.code !== 0) throw new Error(`the gateway ended with ${JSON.stringify(how)}\n${log}`);
    },
  };
}

function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
