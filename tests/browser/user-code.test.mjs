import assert from 'node:assert/strict';
import { test } from 'node:test';
import { as_user_code, may_be_user_code } from '../../web/page/user-code.js';

test('what is typed is shown as codes are shown', () => {
  for (const [typed, shown] of [
    ['', ''], ['b', 'B'], ['bcdf', 'BCDF'], ['bcdf-', 'BCDF'], ['bcdfg', 'BCDF-G'], ['BCDF-GHJK', 'BCDF-GHJK'],
    [' bcdf ghjk ', 'BCDF-GHJK'], ['b-c-d-f.g h j k', 'BCDF-GHJK'], ['BCDF–GHJK', 'BCDF-GHJK'], ['bcdfghjklm', 'BCDF-GHJK'],
    // Of an input method for wide scripts.
    ['ｂｃｄｆＧＨＪＫ', 'BCDF-GHJK'],
    // What is in no code is not hidden from who typed it.
    ['bo0k', 'BO0K'], ['代码', ''],
  ]) assert.equal(as_user_code(typed), shown, typed);
});

test('what can be no code is told apart', () => {
  for (const typed of ['BCDF-GHJK', 'bcdfghjk', 'WXZV-TSRQ', 'ｂｃｄｆghjk']) assert.equal(may_be_user_code(typed), true, typed);
  for (const typed of ['', 'BCDF-GHJ', 'ACDF-GHJK', 'BCDF-GHJ1', 'BCDF-GHJY', '代码代码代码代码']) assert.equal(may_be_user_code(typed), false, typed);
});
