/** Letters of a user code; shown as two groups with a hyphen between them. */
const CHARS = 8;
const GROUP = CHARS / 2;
/** What user codes are made of (protocol: USER_CODE_LETTERS): no vowels, and nothing that is easily taken for something else. */
const LETTERS = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/;

/** What counts of a text, as it is shown: large, half-width, and without what stands between the letters. */
const plain = (typed) => typed.normalize('NFKC').toUpperCase().replace(/[^A-Z0-9]/g, '').slice(0, CHARS);

/**
 * What somebody typed or pasted, as codes are shown: `XXXX-XXXX`, or the beginning of it. What can be in no code stays, so
 * that they see what they typed.
 * @param {string} typed
 */
export function as_user_code(typed) {
  const letters = plain(typed);
  return letters.length > GROUP ? `${letters.slice(0, GROUP)}-${letters.slice(GROUP)}` : letters;
}

/** Whether it can be a code. @param {string} typed */
export const may_be_user_code = (typed) => LETTERS.test(plain(typed));

/** Shows what is typed here as a code; the caret stays at the letter where it is. @param {HTMLInputElement} input */
export function user_code_field(input) {
  const show = (event) => {
    // The letters of an input method are not there before it is done with them.
    if (event.isComposing) return;
    const code = as_user_code(input.value);
    if (code === input.value) return;
    const before = plain(input.value.slice(0, input.selectionStart)).length;
    const past_hyphen = before > GROUP || (before === GROUP && event.inputType === 'deleteContentForward');
    input.value = code;
    const caret = before + (past_hyphen ? 1 : 0);
    input.setSelectionRange(caret, caret);
  };
  input.addEventListener('input', show);
  input.addEventListener('compositionend', show);
}
