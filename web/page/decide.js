import { text } from '../strings.js';
import { by_id, make, say } from './dom.js';

/** The form on which the phone's person decides: what asks, the digits, the password where asked for, yes and no. */
export class Decide {
  #asked = null;
  #ticker = null;

  /** @param {{confirm(answer: object): void, deny(): void}} on */
  constructor({ confirm, deny }) {
    const number = by_id('number');
    number.addEventListener('input', () => { number.value = number.value.replace(/\D/g, '').slice(0, 2); });
    by_id('decide').addEventListener('submit', (event) => {
      event.preventDefault();
      const answer = this.#answer();
      if (answer) confirm(answer);
    });
    by_id('choose-deny').addEventListener('click', () => deny());
  }

  /** @param {object} asked what `scan` answered @param {string} user_id whose password may be asked for */
  show(asked, user_id) {
    this.#asked = asked;
    const { mode, code } = asked.match;
    by_id('facts').replaceChildren(...facts(asked.request));
    by_id('number-field').hidden = mode !== 'phone_types';
    by_id('number').value = '';
    by_id('number').removeAttribute('aria-invalid');
    by_id('digits-field').hidden = mode !== 'pc_types';
    say(by_id('digits'), code ?? '');
    by_id('password-field').hidden = true;
    by_id('password').value = '';
    by_id('password-user').value = user_id;
    const known = ['phone_types', 'pc_types', 'none'].includes(mode);
    by_id('choose-confirm').disabled = !known;
    say(by_id('decide-error'), known ? '' : text.confirm.unsupported);
    this.#count_down(Date.now() + asked.expires_in_ms);
  }

  hide() {
    clearInterval(this.#ticker);
    this.#asked = null;
    by_id('password').value = '';
  }

  /** The number is missing or wrong. */
  refuse_number(words, more = '') {
    say(by_id('decide-error'), `${words.title}. ${words.text} ${more}`.trim());
    const number = by_id('number');
    number.setAttribute('aria-invalid', 'true');
    number.value = '';
    number.focus();
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
    const code = this.#asked.match.mode === 'phone_types' ? by_id('number').value : undefined;
    const password = by_id('password-field').hidden ? undefined : by_id('password').value;
    if (code !== undefined && code.length !== 2) this.refuse_number(text.refusals.match_required);
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

/** What is known about the device that asks, as terms and descriptions. */
function facts(request) {
  const words = text.confirm;
  const fact = (name, value, testid, more) => [make('dt', { text: name }), make('dd', { text: value, 'data-testid': testid, ...more })];
  const kind = words.kinds[request.device?.kind] ?? words.kinds.other;
  return [
    ...(request.client ? fact(words.client, request.client.name ?? String(request.client), 'fact-client') : []),
    ...fact(words.device, `${request.device?.name || words.unnamed} (${kind})`, 'fact-device'),
    ...fact(words.ip, request.ip ?? words.unknown, 'fact-ip'),
    ...fact(words.network, request.same_network ? words.sameNetwork : words.otherNetwork, 'fact-network'),
    ...fact(words.age, words.ageAgo(Math.round((request.age_ms ?? 0) / 1000)), 'fact-age'),
    // It scrolls when it is long, by keyboard too.
    ...fact(words.agent, request.user_agent || words.unknown, 'fact-agent', { tabindex: 0 }),
  ];
}
