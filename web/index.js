import { Client } from './client.js';
import { account_form } from './page/account-form.js';
import { Devices } from './page/devices.js';
import { by_id, fill_texts, say } from './page/dom.js';
import { language_switch } from './page/language.js';
import { NewDevices } from './page/new-devices.js';
import { heed_other_tabs } from './page/other-tabs.js';
import { RoomView } from './page/room.js';
import { SignIn } from './page/sign-in.js';
import { session_store, this_device } from './page/store.js';
import { text } from './strings.js';

const NOTICE_MS = 6_000;

fill_texts();
language_switch();
const client = new Client({ url: location.origin, device: this_device(), session: session_store.load(), shared: session_store });
const devices = new Devices(client);
const new_devices = new NewDevices(client, devices);
const sign_in = new SignIn(client);
const room = new RoomView(client, new URLSearchParams(location.search).get('room') || 'chat:lobby');
account_form(by_id('account-form'), client);

client.on('transport', () => show_connection());
client.on('state', (state, { code }) => {
  show_connection();
  // 1000 is our own doing, and a session's end is told in its own words.
  const told = state !== 'closed' || [1000, 4500, 4503].includes(code);
  by_id('closed').hidden = told;
  if (!told) say(by_id('closed-reason'), text.closed.reasons[code] ?? text.closed.other(code));
});
by_id('closed-again').addEventListener('click', () => connect());

client.on('session', (saved, why) => {
  session_store.save(saved, why);
  if (why === 'refreshed') return;
  if (why === 'qr' || why === 'login') notice(text.signIn.welcome(saved.user.name || saved.user.id));
  if (!saved) devices.close();
  if (!saved) new_devices.clear();
  if (!saved) notice(text.account.ended[why] ?? '');
  show(saved);
});

by_id('sign-out').addEventListener('click', () => {
  client.logout().catch(() => notice(text.account.signOutUntold));
});

// A page that was asleep or offline finds out at once, not at the next deadline.
addEventListener('online', () => client.nudge());
addEventListener('pageshow', () => client.nudge());
document.addEventListener('visibilitychange', () => { if (!document.hidden) client.nudge(); });
// A code that is shown here goes on, whoever signs in at another tab.
heed_other_tabs(client, session_store, { join: false });

show(client.session);

function show(saved) {
  by_id('account').hidden = !saved;
  if (saved) {
    say(by_id('account-name'), saved.user.name || saved.user.id);
    say(by_id('account-id'), saved.user.id);
    sign_in.hide();
    if (!room.shown) scrollTo(0, 0);
    room.show();
  } else {
    room.hide();
    sign_in.show();
  }
  show_connection();
  connect();
}

/** What the bar says: a QR login gets on without a socket. */
function show_connection() {
  const around = !client.session && ['events', 'polling'].includes(client.transport);
  const state = around && client.state !== 'connected' ? 'around' : client.state;
  by_id('connection').dataset.state = state;
  say(by_id('connection'), text.connection[state]);
}

function connect() {
  // Why it was closed for good comes as a state.
  client.open().catch(() => {});
}

by_id('notice').addEventListener('click', () => notice(''));

let notice_timer = null;
function notice(words) {
  clearTimeout(notice_timer);
  const at = by_id('notice');
  say(at, words);
  at.hidden = !words;
  if (words) notice_timer = setTimeout(() => { at.hidden = true; }, NOTICE_MS);
}
