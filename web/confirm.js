import { Client } from './client.js';
import { account_form } from './page/account-form.js';
import { by_id, fill_texts, make, say } from './page/dom.js';
import { load_session, save_session, this_device } from './page/store.js';
import { seconds, text } from './strings.js';

/** Wrong numbers an attempt survives plus the one that ends it. */
const TRIES = 3;

fill_texts();
const qr_id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const client = new Client({ url: location.origin, device: this_device(), session: load_session() });
account_form(by_id('account-form'), client);

let asked = null;
let wrong = 0;
let ticker = null;

client.on('session', (saved, why) => {
  save_session(saved);
  if (why !== 'refreshed') begin(saved);
});
by_id('sign-out').addEventListener('click', () => client.logout().catch(() => {}));
by_id('in-front').addEventListener('click', () => scan());
by_id('not-in-front').addEventListener('click', () => result(text.confirm.stopped));
by_id('result-again').addEventListener('click', () => begin(load_session()));
by_id('decide').addEventListener('submit', (event) => {
  event.preventDefault();
  confirm();
});
by_id('choose-deny').addEventListener('click', () => deny());
by_id('number').addEventListener('input', ({ target }) => { target.value = target.value.replace(/\D/g, '').slice(0, 2); });

begin(load_session());

/** The first step this person can take. Nothing is asked of the gateway yet. */
function begin(saved) {
  asked = null;
  clearInterval(ticker);
  by_id('account').hidden = !saved;
  say(by_id('account-name'), saved?.user.name || saved?.user.id || '');
  say(by_id('account-id'), saved?.user.id ?? '');
  say(by_id('ready-error'), '');
  step(saved ? 'ready' : 'sign-in');
}

function step(name) {
  by_id('confirm').dataset.step = name;
  for (const other of ['sign-in', 'ready', 'request', 'result']) by_id(`step-${other}`).hidden = other !== name;
  // The sign-in form must not pull up a keyboard by itself; the others begin at their heading.
  if (name !== 'sign-in') by_id(`step-${name}`).querySelector('h1').focus({ preventScroll: true });
}

const path = (verb) => `/v1/qr/${encodeURIComponent(qr_id)}/${verb}`;

async function scan() {
  say(by_id('ready-error'), '');
  await busy(async () => {
    asked = await client.request('POST', path('scan'), {});
    show_request();
  }, by_id('ready-error'));
}

function show_request() {
  const { request, match, expires_in_ms } = asked;
  const words = text.confirm;
  const fact = (name, value, testid) => [make('dt', { text: name }), make('dd', { text: value, 'data-testid': testid })];
  const kind = words.kinds[request.device?.kind] ?? words.kinds.other;
  const facts = [
    ...fact(words.device, `${request.device?.name || words.unnamed} (${kind})`, 'fact-device'),
    ...fact(words.ip, request.same_network ? `${request.ip} ${words.sameNetwork}` : request.ip ?? words.unknown, 'fact-ip'),
    ...fact(words.age, words.ageAgo(Math.round((request.age_ms ?? 0) / 1000)), 'fact-age'),
    ...fact(words.agent, request.user_agent || words.unknown, 'fact-agent'),
  ];
  if (request.client) facts.unshift(...fact(words.client, request.client.name ?? String(request.client), 'fact-client'));
  by_id('facts').replaceChildren(...facts);
  const types = match.mode === 'phone_types';
  by_id('number-field').hidden = !types;
  by_id('number').value = '';
  by_id('choose-confirm').disabled = !types && match.mode !== 'none';
  say(by_id('decide-error'), types || match.mode === 'none' ? '' : words.unsupported);
  count_down(Date.now() + expires_in_ms);
  step('request');
}

function count_down(ends_at_ms) {
  const tick = () => {
    const left = Math.ceil((ends_at_ms - Date.now()) / 1000);
    say(by_id('decide-left'), left > 0 ? text.confirm.left(left) : text.confirm.timeUp);
  };
  clearInterval(ticker);
  ticker = setInterval(tick, 500);
  tick();
}

async function confirm() {
  const types = asked.match.mode === 'phone_types';
  const code = types ? by_id('number').value : undefined;
  if (types && code.length !== 2) {
    refuse(text.refusals.match_required);
    return;
  }
  await busy(async () => {
    await client.request('POST', path('confirm'), { scan_token: asked.scan_token, code });
    result(text.confirm.done, { good: true, room: true });
  }, by_id('decide-error'));
}

async function deny() {
  await busy(async () => {
    await client.request('POST', path('deny'), { scan_token: asked.scan_token });
    result(text.confirm.denied, { room: true });
  }, by_id('decide-error'));
}

/** Runs one call with the buttons held, so that nothing is asked twice. */
async function busy(run, error_at) {
  const buttons = [...document.querySelectorAll('main section:not([hidden]) button')].filter((button) => !button.disabled);
  for (const button of buttons) button.disabled = true;
  say(error_at, '');
  try {
    await run();
  } catch (error) {
    refused(error, error_at);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** Every refusal in words, at the place where something can be done about it. */
function refused(error, error_at) {
  const words = text.refusals[error.code] ?? text.refusals.other;
  const { body } = error;
  if (error.code === 'match_failed') return mismatch(body);
  if (error.code === 'already_final') return result(final_words(body));
  if (error.status === 401) return begin(null);
  const here = `${words.title}. ${words.text}`;
  if (error.code === 'match_required') refuse(words);
  else if (error.code === 'rate_limited') say(error_at, `${here} ${text.refusalAfter(seconds(error.after_ms))}`);
  else if (error.code === 'scan_token_invalid') result(words, { again: text.confirm.scanAgain });
  else if (error.code === 'already_confirmed') result(words, { room: true });
  else if (['not_found', 'already_scanned', 'policy_denied', 'step_up_required'].includes(error.code)) result(words);
  else say(error_at, here);
}

function mismatch(body) {
  wrong += 1;
  const left = body?.tries_left ?? TRIES - wrong;
  if (body?.state === 'denied' || left <= 0) return result(text.finals.match_failed);
  refuse(text.refusals.match_failed, text.triesLeft(left));
}

function refuse(words, more = '') {
  say(by_id('decide-error'), `${words.title}. ${words.text} ${more}`.trim());
  by_id('number').setAttribute('aria-invalid', 'true');
  by_id('number').value = '';
  // Now, and once the buttons are free again.
  by_id('number').focus();
}

function final_words(body) {
  if (body?.reason === 'match_failed') return text.finals.match_failed;
  return text.finals[body?.state] ?? text.refusals.already_final;
}

function result(words, { again = null, room = false, good = false } = {}) {
  clearInterval(ticker);
  asked = null;
  by_id('step-result').toggleAttribute('data-good', good);
  say(by_id('result-title'), words.title);
  say(by_id('result-text'), words.text);
  by_id('result-again').hidden = !again;
  if (again) say(by_id('result-again'), again);
  by_id('result-room').hidden = !room;
  step('result');
}
