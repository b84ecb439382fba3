import { en } from './strings/en.js';
import { zh } from './strings/zh.js';
import { guarded } from './client/device.js';

const LANGUAGE = 'countersign.language';

/** Every language there is, under its tag; each with the same keys, and sentences of the same values. */
export const languages = { en, zh };
const names = { en: 'English', zh: '中文' };
const tags = { en: 'en', zh: 'zh-Hans' };

/** The one chosen here before, else the browser's, else English. @returns {'en' | 'zh'} */
function preferred() {
  const chosen = guarded(() => localStorage).read(LANGUAGE);
  if (Object.hasOwn(languages, chosen ?? '')) return chosen;
  const tag = globalThis.navigator?.language?.toLowerCase().split('-')[0];
  return Object.hasOwn(languages, tag ?? '') ? tag : 'en';
}

const language = preferred();
/** The language of this page, as `lang` and Intl take it. */
export const tag = tags[language];
/** Every word the pages say, in the language of this page. */
export const text = languages[language];

/** The table of this page's language, for words that not every page has. @template T @param {Record<'en' | 'zh', T>} tables @returns {T} */
export const in_language = (tables) => tables[language];

/** The languages to change to. @returns {{name: string, tag: string, choose(): void}[]} `choose` loads the page again */
export const others = () => Object.keys(languages).filter((other) => other !== language).map((other) => ({
  name: names[other],
  tag: tags[other],
  choose() {
    guarded(() => localStorage).write(LANGUAGE, other);
    location.reload();
  },
}));

/** A failed call in words. @param {{code: string, after_ms?: number}} error @returns {string} */
export function explain(error) {
  const entry = text.errors[error.code];
  if (typeof entry === 'function') return entry(seconds(error.after_ms));
  return entry ?? text.errors.other(error.code);
}

/** Whole seconds to wait, never zero. @param {number | undefined} ms */
export function seconds(ms) {
  return Math.max(1, Math.ceil((ms ?? 1000) / 1000));
}

/** A sentence's first letter large. @param {string} words */
export const capital = (words) => words[0].toUpperCase() + words.slice(1);
