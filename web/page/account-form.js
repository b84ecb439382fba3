import { capital, explain, seconds, text } from '../strings.js';
import { make } from './dom.js';

/**
 * Fills a form for signing in, or making an account first.
 * @param {HTMLFormElement} form
 * @param {import('../client.js').Client} client
 * @param {{stay?: (yes: boolean) => void}} [options] `stay`: it is asked whether to stay signed in on this device, and the answer is
 *   told before each sign-in
 */
export function account_form(form, client, { stay } = {}) {
  const words = text.account;
  const field = (name, label, hint, attributes) => {
    const input = make('input', { id: `account-${name}`, name, 'data-testid': `account-${name}`, ...attributes });
    const parts = [make('label', { for: input.id, text: label }), input];
    if (hint) {
      parts.push(make('p', { class: 'small', id: `${input.id}-hint`, text: hint }));
      input.setAttribute('aria-describedby', `${input.id}-hint`);
    }
    return { input, row: make('div', { class: 'field' }, ...parts) };
  };
  const user = field('user', words.userId, words.userIdHint, { autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', maxlength: 64, required: true });
  const name = field('shown-name', words.name, words.nameHint, { autocomplete: 'nickname', maxlength: 64 });
  const password = field('password', words.password, null, { type: 'password', maxlength: 128, required: true });
  const error = make('p', { class: 'error', role: 'alert', 'data-testid': 'account-error' });
  const submit = make('button', { type: 'submit', class: 'main', 'data-testid': 'account-submit' });
  const other = make('button', { type: 'button', class: 'link', 'data-testid': 'account-other' });
  const staying = stay_signed_in();
  form.replaceChildren(user.row, name.row, password.row, ...(stay ? [staying.row] : []), error, submit, other);

  let registering = false;
  const set_mode = (register) => {
    registering = register;
    form.dataset.mode = register ? 'register' : 'sign-in';
    name.row.hidden = !register;
    submit.textContent = register ? words.register : words.signIn;
    other.textContent = register ? words.toSignIn : words.toRegister;
    password.input.autocomplete = register ? 'new-password' : 'current-password';
    error.textContent = '';
  };
  set_mode(false);
  other.addEventListener('click', () => {
    set_mode(!registering);
    user.input.focus();
  });

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const missing = [user.input, password.input].find((input) => !input.value);
    if (missing) return missing.focus();
    const account = { user_id: user.input.value.trim(), password: password.input.value };
    error.textContent = '';
    submit.disabled = true;
    submit.textContent = words.working;
    try {
      if (registering) {
        await client.register({ ...account, name: name.input.value.trim() || undefined });
        // Should the login fail, trying again must not ask for the account a second time.
        set_mode(false);
      }
      stay?.(staying.input.checked);
      await client.login(account);
      form.reset();
      set_mode(false);
    } catch (failure) {
      error.textContent = in_words(failure);
    } finally {
      submit.disabled = false;
      submit.textContent = registering ? words.register : words.signIn;
    }
  });
}

/** A phone is somebody's own, and opens every code in a new tab; of what has a mouse it is not taken for granted. */
function stay_signed_in() {
  const checked = matchMedia('(pointer: coarse)').matches;
  const input = make('input', { id: 'account-stay', name: 'stay', type: 'checkbox', checked, 'data-testid': 'account-stay' });
  return { input, row: make('label', { class: 'check' }, input, text.account.stay) };
}

function in_words(failure) {
  const words = text.account;
  if (failure.code === 'user_exists') return words.exists;
  if (failure.status === 401) return words.wrong;
  if (failure.code === 'registration_closed') return words.registrationClosed;
  if (failure.status === 400 || failure.status === 422 || failure.status === 413) return words.bad(failure.body?.detail);
  if (failure.status === 429) return capital(text.errors.rate_limited(seconds(failure.after_ms)));
  return capital(explain(failure));
}
