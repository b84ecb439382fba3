import { others, tag, text } from '../strings.js';
import { by_id, make } from './dom.js';

/** Says which language the page is in, and offers the others at its foot. */
export function language_switch() {
  document.documentElement.lang = tag;
  const at = by_id('languages');
  at.setAttribute('aria-label', text.language);
  at.replaceChildren(...others().map((other) => {
    const button = make('button', { type: 'button', class: 'link', lang: other.tag, text: other.name, 'data-testid': `language-${other.tag}` });
    button.addEventListener('click', () => other.choose());
    return button;
  }));
}
