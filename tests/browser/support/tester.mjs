import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.COUNTERSIGN_LOADTEST_BIN ?? fileURLToPath(new URL('../../../target/debug/countersign-loadtest', import.meta.url));

/** Load testers that run: whatever ends this process ends them too. */
const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/**
 * Runs the load tester to its end; exit codes 0 and 1 are results.
 * @param {string[]} args
 * @param {string} cwd where its files go
 */
export async function load_test(args, cwd) {
  const child = spawn(BINARY, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => { said += chunk; });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => running.delete(child));
  if (code !== 0 && code !== 1) throw new Error(`the load tester (${args.join(' ')}) ended with ${code}: ${said}`);
}
