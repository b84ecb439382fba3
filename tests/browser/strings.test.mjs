import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { en as console_en } from '../../web/console/strings/en.js';
import { zh as console_zh } from '../../web/console/strings/zh.js';
import { en as pages_en } from '../../web/strings/en.js';
import { zh as pages_zh } from '../../web/strings/zh.js';
import { languages } from '../../web/strings.js';

const [en, zh] = [{ ...pages_en, console: console_en }, { ...pages_zh, console: console_zh }];

/** The same in both, because it is a name. */
const NAMES = new Set(['brand']);

/** Every text under its path. @returns {Map<string, string | Function>} */
function leaves(table, path = '', found = new Map()) {
  for (const [key, value] of Object.entries(table)) {
    const at = path ? `${path}.${key}` : key;
    if (typeof value === 'object') leaves(value, at, found);
    else found.set(at, value);
  }
  return found;
}

/** Which of the values it is given a sentence says, whatever it says around them. */
function values(sentence) {
  if (typeof sentence === 'string') return [];
  // Words, and numbers that no sentence says by itself.
  const tries = [['«a»', '«b»', '«c»'], [71, 72, 73]];
  return tries.flatMap((given) => given.filter((value) => sentence(...given).includes(String(value))));
}

test('both languages have the same texts with the same values', () => {
  const [english, chinese] = [leaves(en), leaves(zh)];
  assert.deepEqual([...chinese.keys()].toSorted(), [...english.keys()].toSorted());
  for (const [key, sentence] of english) {
    const other = chinese.get(key);
    assert.equal(typeof other, typeof sentence, key);
    assert.deepEqual(values(other), values(sentence), key);
  }
});

test('every text of the second language is in that language', () => {
  for (const [key, sentence] of leaves(zh)) {
    const said = typeof sentence === 'string' ? sentence : sentence('«a»', '«b»', '«c»');
    assert.ok(NAMES.has(key) || /\p{Script=Han}/u.test(said), `${key}: ${said}`);
    assert.doesNotMatch(said, /undefined/, key);
  }
});

test('a page without scripts says so in every language, as nothing chooses one', () => {
  const tags = { en: 'en', zh: 'zh-Hans' };
  for (const page of ['index.html', 'confirm.html', 'console/index.html']) {
    const html = readFileSync(new URL(`../../web/${page}`, import.meta.url), 'utf8');
    const [, without] = /<noscript>(.*)<\/noscript>/s.exec(html);
    const told = [...without.matchAll(/<p lang="([^"]+)">([^<]*JavaScript[^<]*)<\/p>/g)];
    assert.deepEqual(told.map(([, tag]) => tag), Object.keys(languages).map((language) => tags[language]), page);
    for (const [, tag, words] of told) assert.equal(/\p{Script=Han}/u.test(words), tag === 'zh-Hans', words);
  }
});

test('a test of values that notices a missing one', () => {
  assert.deepEqual(values((name) => `${name}!`), ['«a»', 71]);
  assert.notDeepEqual(values((from) => `${from}`), values((from, to) => `${from} ${to}`));
});
