import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** What is still running: whatever ends this process ends it too. */
const running = new Set();
process.on('exit', () => { for (const child of running) end(child); });

/** The shell, and whatever it started. */
function end(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has gone.
  }
}

/**
 * Carries out a piece of shell that ends by serving.
 * @param {string} text
 * @param {string} cwd
 * @param {RegExp} ready what it prints once it serves
 * @returns {Promise<{told: RegExpExecArray, stop(): Promise<void>}>}
 */
export async function start_shell(text, cwd, ready) {
  const env = { ...process.env, PYTHONUNBUFFERED: '1' };
  const child = spawn('bash', ['-euo', 'pipefail', '-c', text], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => { said += chunk; });
  const closed = new Promise((resolve) => { child.once('close', resolve); });
  closed.then(() => running.delete(child));
  const told = await new Promise((resolve, reject) => {
    child.once('error', reject);
    closed.then((code) => reject(new Error(`it ended (${code}) before it served: ${said}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      said += `${line}\n`;
      const found = ready.exec(line);
      if (found) resolve(found);
    });
  });
  return {
    told,
    stop() {
      end(child);
      return closed;
    },
  };
}
