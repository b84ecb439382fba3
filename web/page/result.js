import { explain, text } from '../strings.js';
import { end_sessions } from './calls.js';
import { by_id, say } from './dom.js';

/** The last step on the phone: how it stands or ended, and what can be done about it. */
export class Result {
  #client;
  #by_typing;
  #session = null;

  /** @param {import('../client.js').Client} client @param {{by_typing: boolean}} page whether codes are typed on it */
  constructor(client, { by_typing }) {
    this.#client = client;
    this.#by_typing = by_typing;
    by_id('result-end').addEventListener('click', () => this.#end_session());
  }

  /**
   * @param {{title: string, text: string}} words
   * @param {object} [more]
   * @param {'good' | 'bad' | 'waiting'} [more.kind]
   * @param {string | null} [more.again] words of the button that begins anew
   * @param {string | null} [more.session] of the device that was signed in: offers to end it
   * @param {boolean} [more.another] offers to type another code, where codes are typed
   * @param {boolean} [more.onward] offers that, the room and the devices
   */
  show(words, { kind = 'bad', again = null, session = null, onward = false, another = onward } = {}) {
    this.#session = session;
    by_id('step-result').dataset.kind = kind;
    say(by_id('result-title'), words.title);
    say(by_id('result-text'), words.text);
    say(by_id('result-error'), '');
    by_id('result-again').hidden = !again;
    say(by_id('result-again'), again ?? '');
    by_id('result-end').hidden = !session;
    by_id('result-code').hidden = !(another && this.#by_typing);
    by_id('result-devices').hidden = !onward;
    by_id('result-room').hidden = !onward;
  }

  /** Something to know while it waits. */
  remark(words) {
    say(by_id('result-error'), words);
  }

  async #end_session() {
    const button = by_id('result-end');
    button.disabled = true;
    say(by_id('result-error'), '');
    try {
      await end_sessions(this.#client, this.#session);
      this.show(text.confirm.ended, { kind: 'good', onward: true });
      by_id('result-title').focus({ preventScroll: true });
    } catch (error) {
      say(by_id('result-error'), text.confirm.notEnded(explain(error)));
    } finally {
      button.disabled = false;
    }
  }
}
