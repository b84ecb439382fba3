import { randomBytes } from 'node:crypto';
import { chromium } from 'playwright-core';
import { PATIENCE_MS } from './eventually.mjs';

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** @param {string[]} [more] arguments of the browser */
export function start_browser(more = []) {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...QUIET, ...more] });
}

/** What a browser writes by itself when the gateway refuses a call, or when a wire was cut. */
function of_the_network(message) {
  const { pathname } = new URL(message.location().url || 'about:blank');
  return /^Failed to load resource: .* 4\d\d /.test(message.text()) ? /^\/(v1|admin\/api)\//.test(pathname) : /^WebSocket connection to /.test(message.text());
}

/**
 * Somebody with a browser of their own: nothing is shared with any other context. Everything a page must not do is
 * written down in `faults`, and what it asked of the network in `requests` and `sockets`.
 */
export async function somebody(browser, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  await context.exposeBinding('__fault', (_, words) => { faults.push(words); });
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      window.__fault(`content security policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  const tab = async (url) => {
    const page = await context.newPage();
    const requests = [];
    const sockets = [];
    page.on('request', (request) => requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
    page.on('websocket', (socket) => sockets.push(socket.url()));
    page.on('pageerror', (error) => faults.push(`page error: ${error}`));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()) && !of_the_network(message)) faults.push(`console: ${message.text()}`);
    });
    page.on('dialog', (dialog) => {
      faults.push(`dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    const answer = await page.goto(url);
    return { page, answer, requests, sockets, at: (id) => page.getByTestId(id) };
  };
  return { context, faults, tab, close: () => context.close() };
}

/** A name nobody else has: every test brings its own people and rooms. */
export function fresh(word) {
  return `${word}-${randomBytes(4).toString('hex')}`;
}

export const PASSWORD = 'correct horse battery staple';

/** Fills the form of either page; `name` asks for a new account. */
export async function fill_account({ at }, { user_id, name, password = PASSWORD }) {
  const form = at('account-form');
  const wants = name === undefined ? 'sign-in' : 'register';
  if ((await form.getAttribute('data-mode')) !== wants) await at('account-other').click();
  await at('account-user').fill(user_id);
  if (name !== undefined) await at('account-shown-name').fill(name);
  await at('account-password').fill(password);
  await at('account-submit').click();
}
