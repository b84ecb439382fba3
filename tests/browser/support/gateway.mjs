import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

const BINARY = process.env.COUNTERSIGN_BIN ?? fileURLToPath(new URL('../../../target/debug/countersign', import.meta.url));
const START_MS = 20_000;
const STOP_MS = 30_000;

/**
 * Starts a gateway on ports the system picks, with nothing configured but that.
 * @param {Record<string, string>} [more] further environment
 * @returns {Promise<{url: string, operator: string, stop(): Promise<void>, log(): string}>}
 */
export async function start_gateway(more = {}) {
  const env = { ...process.env, COUNTERSIGN_LISTEN: '127.0.0.1:0', COUNTERSIGN_OPERATOR_LISTEN: '127.0.0.1:0', ...more };
  const child = spawn(BINARY, [], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => { log += chunk; });
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ error }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });

  const found = {};
  const ready = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      log += `${line}\n`;
      const told = /\b(listening|operator) on (http:\/\/[^\s]+)/.exec(line);
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
    url: found.listening,
    operator: found.operator,
    log: () => log,
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
