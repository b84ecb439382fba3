import { Client } from './client.js';
import { account_form } from './page/account-form.js';
import { until_answered } from './page/calls.js';
import { Decide } from './page/decide.js';
import { Devices } from './page/devices.js';
import { by_id, fill_texts, say } from './page/dom.js';
import { language_switch } from './page/language.js';
import { heed_other_tabs } from './page/other-tabs.js';
import { Outcome } from './page/outcome.js';
import { Result } from './page/result.js';
import { load_confirmed, save_confirmed, session_store, this_device } from './page/store.js';
import { TypeCode } from './page/type-code.js';
import { seconds, text } from './strings.js';

fill_texts();
language_switch();
/** Names the code that was scanned; of one that is typed here it is known once that was right. */
let qr_id = decodeURIComponent(location.pathname.split('/')[2] ?? '') || null;
const by_typing = qr_id === null;
const path = (verb) => `/v1/qr/${encodeURIComponent(qr_id)}/${verb}`;
const client = new Client({ url: location.origin, device: this_device(), session: session_store.load(), shared: session_store });
const devices = new Devices(client);
const decide = new Decide({ confirm, deny });
const typing = new TypeCode({ find, stop: () => result(text.confirm.stopped) });
const outcome = new Outcome(client, () => path('outcome'), { ended, lost, answering });
const shown = new Result(client, { by_typing });
account_form(by_id('account-form'), client, { stay: (yes) => session_store.stay(yes) });
why_sign_in();

/** An end is shown after this time at the latest, with or without why. */
const TELLING_MS = 3_000;
/** What `scan` answered, while it is to be decided. */
let asked = null;
/** Raised with every step: an answer to a step that is over changes nothing. */
let turn = 0;

client.on('session', (saved, why) => {
  const going_on = asked !== null || by_id('step-result').dataset.kind === 'waiting';
  const replaced = session_store.save(saved, why);
  if (replaced) client.dismissSession(replaced).catch(() => {});
  if (!saved) devices.close();
  if (why === 'refreshed') return;
  account(saved);
  why_sign_in(saved ? '' : text.account.ended[why]);
  if (why === 'locked') result(text.refusals.account_locked, { again: text.account.signIn });
  else if (!saved && why !== 'signed_out' && going_on) result(text.finals.revoked, { again: text.account.signIn });
  else begin(saved);
});
by_id('sign-out').addEventListener('click', () => client.logout().catch(() => {}));
by_id('in-front').addEventListener('click', () => scan());
by_id('not-in-front').addEventListener('click', () => result(text.confirm.stopped));
by_id('result-again').addEventListener('click', () => begin(client.session));
by_id('result-devices').addEventListener('click', () => devices.open());

account(client.session);
begin(client.session);
heed_other_tabs(client, session_store, { join: true });

function account(saved) {
  by_id('account').hidden = !saved;
  say(by_id('account-name'), saved?.user.name || saved?.user.id || '');
  say(by_id('account-id'), saved?.user.id ?? '');
}

/** @param {string} [ended] how the session that there was ended, if nobody ended it here */
function why_sign_in(ended = '') {
  say(by_id('sign-in-why'), `${ended} ${by_typing ? text.typeCode.signInFirst : text.confirm.signInFirst}`.trim());
  say(by_id('announce'), ended);
}

/** The first step this person can take. Nothing is asked of the gateway yet, but how it ended if this page confirmed it. */
function begin(saved) {
  asked = null;
  outcome.stop();
  for (const at of ['ready-error', 'code-error']) say(by_id(at), '');
  if (!saved) step('sign-in');
  else if (qr_id === null) step('code');
  else if (load_confirmed()?.qr_id === qr_id) pending();
  else step('ready');
}

function step(name) {
  turn += 1;
  const same = by_id('confirm').dataset.step === name;
  by_id('confirm').dataset.step = name;
  for (const other of ['sign-in', 'code', 'ready', 'request', 'result']) by_id(`step-${other}`).hidden = other !== name;
  if (name !== 'request') decide.hide();
  if (name !== 'result') by_id('step-result').dataset.kind = '';
  // A screen reader reads the heading that gets the focus; a change below a heading that has it has to be announced.
  if (name === 'result' && same) say(by_id('announce'), `${by_id('result-title').textContent}. ${by_id('result-text').textContent}`);
  // The sign-in form must not pull up a keyboard by itself; the others begin at their heading.
  else if (name !== 'sign-in') by_id(`step-${name}`).querySelector('h1').focus({ preventScroll: true });
}

async function scan() {
  await busy(by_id('ready-error'), () => client.request('POST', path('scan'), {}), show_request);
}

/** What was typed is right: from here on the page is that of the code it belongs to, over a reload too. */
async function find(user_code) {
  await busy(by_id('code-error'), () => client.request('POST', '/v1/qr/scan', { user_code }), (answer) => {
    qr_id = answer.qr_id;
    history.replaceState(null, '', `/q/${encodeURIComponent(qr_id)}`);
    typing.clear();
    show_request(answer);
  });
}

function show_request(answer) {
  asked = answer;
  decide.show(asked, client.user?.id ?? '');
  step('request');
  outcome.start();
}

async function confirm({ code, password }) {
  const body = { scan_token: asked.scan_token, code, password };
  await busy(by_id('decide-error'), () => client.request('POST', path('confirm'), body), () => pending());
}

async function deny() {
  const body = { scan_token: asked.scan_token };
  await busy(by_id('decide-error'), () => client.request('POST', path('deny'), body), () => {
    const who = client_name();
    result(who ? { ...text.confirm.denied, text: text.confirm.deniedClient(who) } : text.confirm.denied, { onward: true });
  });
}

/** Confirmed, as far as this phone can tell. It is not done before the other screen is. */
function pending() {
  save_confirmed({ qr_id, device: device_name(), client: client_name() });
  result(text.confirm.pending, { kind: 'waiting' });
  outcome.start();
}

function device_name() {
  return asked?.request.device?.name || load_confirmed()?.device || text.confirm.otherDevice;
}

/** The registered client that asks, if one does. */
function client_name() {
  return asked ? asked.request.client : load_confirmed()?.client;
}

function ended(end) {
  if (end.reason === 'revoked') return revoked(end);
  if (end.state !== 'redeemed') return result(final_words(end), { onward: true });
  const { title, titleClient, text: told } = text.confirm.done;
  const who = client_name();
  const words = { title: who ? titleClient(who) : title(device_name()), text: told };
  return result(words, { kind: 'good', session: end.session, onward: true });
}

/** This phone's session is over, or its account locked: asked once more, the gateway says which, and the client tells it. */
async function revoked(end) {
  const began = turn;
  await client.request('GET', '/v1/me', undefined, { timeout_ms: TELLING_MS }).catch(() => {});
  if (began === turn) result(final_words(end));
}

function lost() {
  save_confirmed(null);
  result(text.finals.lost, { onward: true });
}

function answering(yes) {
  if (by_id('step-result').dataset.kind === 'waiting') shown.remark(yes ? '' : text.confirm.unheard);
}

function result(words, more = {}) {
  // Only the end is still asked for, and only while it is not known.
  if (more.kind !== 'waiting') outcome.stop();
  shown.show(words, more);
  asked = null;
  step('result');
}

/**
 * Makes one call with the buttons held, again when its answer is lost: a second scan by this phone gets a new token, a
 * second confirmation says that there was one, a second denial finds it denied.
 */
async function busy(error_at, call, then) {
  const buttons = [...document.querySelectorAll('main section:not([hidden]) button')].filter((button) => !button.disabled);
  for (const button of buttons) button.disabled = true;
  say(error_at, '');
  const began = turn;
  try {
    const answer = await until_answered(call);
    if (began === turn) then(answer);
  } catch (error) {
    if (began === turn) refused(error, error_at);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** Every refusal in words, at the place where something can be done about it. */
function refused(error, error_at) {
  const words = text.refusals[error.code] ?? text.refusals.other;
  const at_typing = error_at === by_id('code-error');
  if (at_typing && Object.hasOwn(text.typeCode.refusals, error.code)) return typing.refuse(text.typeCode.refusals[error.code]);
  if (error.code === 'match_failed') return mismatch(error.body);
  if (error.code === 'already_final') return already_final(error.body);
  if (error.code === 'already_confirmed') return pending();
  if (error.code === 'step_up_required') return decide.ask_password();
  // The client has told that nobody is signed in (any more), and that has been shown.
  if (error.status === 401 || error.code === 'account_locked') return undefined;
  if (error.code === 'match_required') return asked.match.mode === 'phone_types' ? decide.refuse_typed('match_required') : decide.not_typed();
  if (error.code === 'scan_token_invalid') return result(words, { again: text.confirm.scanAgain });
  if (['not_found', 'already_scanned', 'policy_denied'].includes(error.code)) return result(words, { another: true });
  const later = error.code === 'rate_limited' ? text.refusalAfter(seconds(error.after_ms)) : '';
  return say(error_at, `${words.title}. ${words.text} ${later}`.trim());
}

function mismatch(body) {
  const left = body?.tries_left;
  if (body?.state === 'denied' || left === 0) return result(final_words({ reason: 'match_failed' }), { another: true });
  return decide.refuse_typed('match_failed', left === undefined ? '' : text.triesLeft(left));
}

/** Perhaps by this page's own call whose answer was lost: then there is more to tell. */
function already_final(body) {
  if (body?.state === 'redeemed' && asked) return pending();
  return result(final_words(body), { onward: true });
}

function final_words(end) {
  if (end?.reason === 'match_failed' && asked?.match.form === 'user_code') return text.finals.code_failed;
  return text.finals[end?.reason] ?? text.finals[end?.state] ?? text.refusals.already_final;
}
