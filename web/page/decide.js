import { text } from '../strings.js';
import { by_id, make, say } from './dom.js';
import { may_be_user_code, user_code_field } from './user-code.js';

/** What the phone may have to type: where it is typed, whether it can be right, and what is said of it. */
const FORMS = {
  digits: { field: 'number-field', input: 'number', kept: false, whole: (typed) => typed.length === 2, words: text.refusals },
  // Who has one letter of eight wrong need not type the others again.
  user_code: { field: 'user-code-field', input: 'user-code', kept: true, whole: may_be_user_code, words: text.confirm.userCode },
};

/** The form on which the phone's person decides: what asks and for what, the code, the password where asked for, yes and no. */
export class Decide {
  /** The one of FORMS that is to be typed here. */
  #form = null;
  #ticker = null;

  /** @param {{confirm(answer: object): void, deny(): void}} on */
  constructor({ confirm, deny }) {
    const number = by_id('number');
    number.addEventListener('input', () => { number.value = number.value.replace(/\D/g, '').slice(0, 2); });
    user_code_field(by_id('user-code'));
    by_id('decide').addEventListener('submit', (event) => {
      event.preventDefault();
      const answer = this.#answer();
      if (answer) confirm(answer);
    });
    by_id('choose-deny').addEventListener('click', () => deny());
  }

  /** @param {object} asked what `scan` answered @param {string} user_id whose password may be asked for */
  show(asked, user_id) {
    const { mode, form = 'digits', code } = asked.match;
    const { client } = asked.request;
    say(by_id('who-asks'), client ? text.confirm.clientAsks(client) : text.confirm.whoAsks);
    by_id('wants').hidden = !client;
    by_id('wants-list').replaceChildren(...(client ? wants(asked.request) : []));
    by_id('facts').replaceChildren(...facts(asked.request));
    this.#form = mode === 'phone_types' && Object.hasOwn(FORMS, form) ? FORMS[form] : null;
    for (const other of Object.values(FORMS)) {
      by_id(other.field).hidden = other !== this.#form;
      by_id(other.input).value = '';
      by_id(other.input).removeAttribute('aria-invalid');
    }
    by_id('digits-field').hidden = mode !== 'pc_types';
    say(by_id('digits'), code ?? '');
    by_id('password-field').hidden = true;
    by_id('password').value = '';
    by_id('password-user').value = user_id;
    const known = this.#form !== null || ['pc_types', 'none'].includes(mode);
    by_id('choose-confirm').disabled = !known;
    say(by_id('decide-error'), known ? '' : text.confirm.unsupported);
    this.#count_down(Date.now() + asked.expires_in_ms);
  }

  hide() {
    clearInterval(this.#ticker);
    this.#form = null;
    by_id('password').value = '';
  }

  /** What was to be typed is missing or wrong. @param {'match_required' | 'match_failed'} why */
  refuse_typed(why, more = '') {
    const { input, kept, words } = this.#form;
    const { title, text: told } = words[why];
    say(by_id('decide-error'), `${title}. ${told} ${more}`.trim());
    const typed = by_id(input);
    typed.setAttribute('aria-invalid', 'true');
    if (!kept) typed.value = '';
    typed.focus();
    typed.select();
  }

  /** The other screen has not been given the digits. */
  not_typed() {
    say(by_id('decide-error'), text.confirm.notTyped);
  }

  /** The service wants the password, or another one than it got. */
  ask_password() {
    const again = !by_id('password-field').hidden;
    by_id('password-field').hidden = false;
    this.#refuse_password(again ? text.confirm.passwordWrong : text.confirm.passwordMissing, again);
  }

  #refuse_password(words, wrong) {
    say(by_id('decide-error'), words);
    const password = by_id('password');
    password.toggleAttribute('aria-invalid', false);
    if (wrong) password.setAttribute('aria-invalid', 'true');
    password.value = '';
    password.focus();
  }

  /** @returns {{code?: string, password?: string} | null} null when something is missing, which is told */
  #answer() {
    const code = this.#form ? by_id(this.#form.input).value : undefined;
    const password = by_id('password-field').hidden ? undefined : by_id('password').value;
    if (this.#form && !this.#form.whole(code)) this.refuse_typed('match_required');
    else if (password === '') this.#refuse_password(text.confirm.passwordMissing, false);
    else return { code, password };
    return null;
  }

  #count_down(ends_at_ms) {
    const tick = () => {
      const left = Math.ceil((ends_at_ms - Date.now()) / 1000);
      say(by_id('decide-left'), left > 0 ? text.confirm.left(left) : text.confirm.timeUp);
    };
    clearInterval(this.#ticker);
    this.#ticker = setInterval(tick, 500);
    tick();
  }
}

/** What a client is given if the answer is yes, the most of it first. */
function wants({ scopes = [], full_access = false }) {
  const words = text.confirm.wants;
  const known = { openid: words.openid, profile: words.profile };
  const want = (told) => make('li', { text: told, 'data-testid': 'want' });
  const listed = [...new Set(scopes)].map((scope) => want(Object.hasOwn(known, scope) ? known[scope] : words.other(scope)));
  if (full_access) return [want(words.everything), ...listed];
  return listed.length > 0 ? listed : [want(words.id)];
}

/** What is known about the device that asks, as terms and descriptions. */
function facts(request) {
  const words = text.confirm;
  const fact = (name, value, testid, more) => [make('dt', { text: name }), make('dd', { text: value, 'data-testid': testid, ...more })];
  const kind = words.kinds[request.device?.kind] ?? words.kinds.other;
  return [
    ...fact(words.device, `${request.device?.name || words.unnamed} (${kind})`, 'fact-device'),
    ...fact(words.ip, request.ip ?? words.unknown, 'fact-ip'),
    ...fact(words.network, request.same_network ? words.sameNetwork : words.otherNetwork, 'fact-network'),
    ...fact(words.age, words.ageAgo(Math.round((request.age_ms ?? 0) / 1000)), 'fact-age'),
    // It scrolls when it is long, by keyboard too.
    ...fact(words.agent, request.user_agent || words.unknown, 'fact-agent', { tabindex: 0 }),
  ];
}
