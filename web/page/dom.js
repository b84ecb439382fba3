import { text } from '../strings.js';

/** @param {string} id @returns {HTMLElement} */
export const by_id = (id) => document.getElementById(id);

/**
 * Makes an element. What other people wrote goes in as text only, never as markup.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes] `text` is the text content
 * @param {...Node} children
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') made.textContent = String(value);
    else made.setAttribute(name, value === true ? '' : String(value));
  }
  made.append(...children);
  return made;
}

/** Puts the words of strings.js, or of a table of the page's own, into a page's own elements. */
export function fill_texts(root = document, words = text) {
  const word = (path) => path.split('.').reduce((at, key) => at[key], words);
  for (const at of root.querySelectorAll('[data-text]')) at.textContent = word(at.dataset.text);
  for (const at of root.querySelectorAll('[data-label]')) at.setAttribute('aria-label', word(at.dataset.label));
  for (const at of root.querySelectorAll('[data-placeholder]')) at.placeholder = word(at.dataset.placeholder);
}

/** Changes a text only when it is another one: a live region would read it out again. */
export function say(at, words) {
  if (at.textContent !== words) at.textContent = words;
}

/** Their picture if they have one, else their first letter. @param {{name?: string, id?: string, avatar?: string}} user */
export function avatar(user) {
  const letter = make('span', { class: 'avatar', 'aria-hidden': 'true', text: [...(user.name || user.id || '?')][0].toUpperCase() });
  if (!user.avatar?.startsWith('https://')) return letter;
  const image = make('img', { class: 'avatar', src: user.avatar, alt: '', width: 32, height: 32, referrerpolicy: 'no-referrer' });
  image.addEventListener('error', () => image.replaceWith(letter));
  return image;
}
