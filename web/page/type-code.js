import { text } from '../strings.js';
import { by_id, say } from './dom.js';
import { as_user_code, may_be_user_code, user_code_field } from './user-code.js';

/** The step at which somebody types the code that a device shows. */
export class TypeCode {
  #input = by_id('typed-code');

  /** @param {{find(user_code: string): void, stop(): void}} on `find` gets what can be a code */
  constructor({ find, stop }) {
    user_code_field(this.#input);
    this.#input.addEventListener('input', () => this.#input.removeAttribute('aria-invalid'));
    by_id('type-code').addEventListener('submit', (event) => {
      event.preventDefault();
      if (may_be_user_code(this.#input.value)) find(as_user_code(this.#input.value));
      // What can be none costs no try.
      else this.refuse(text.typeCode.incomplete);
    });
    by_id('code-not-mine').addEventListener('click', () => stop());
  }

  /** What was typed is not taken; it stays, so that one wrong letter can be made right. @param {{title: string, text: string}} words */
  refuse(words) {
    say(by_id('code-error'), `${words.title}. ${words.text}`);
    this.#input.setAttribute('aria-invalid', 'true');
    this.#input.focus();
    this.#input.select();
  }

  clear() {
    this.#input.value = '';
  }
}
