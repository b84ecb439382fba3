import { readFileSync } from 'node:fs';

const TEXT = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

/** Rows of the first table below a heading, cells without back-ticks. A test of the gateway holds them equal to its code. */
function rows(heading) {
  const text = TEXT.slice(TEXT.indexOf(heading));
  const cells = (line) => line.split('|').slice(1, -1).map((cell) => cell.trim().replaceAll('`', ''));
  const table = [];
  for (const line of text.split('\n').slice(1)) {
    if (line.startsWith('|')) table.push(cells(line));
    else if (table.length > 0) break;
  }
  if (table.length < 3) throw new Error(`docs/protocol.md has no table below ${heading}`);
  return table.slice(2);
}

/** @type {{name: string, status: number, retry: boolean, meaning: string}[]} */
export const error_codes = rows('### 7.1').map(([name, status, retry, meaning]) => ({
  name, status: Number(status), retry: retry === 'yes', meaning,
}));

/** @type {{code: number, reason: string, back: boolean, meaning: string}[]} */
export const close_codes = rows('### 7.2').map(([code, reason, back, meaning]) => ({
  code: Number(code), reason, back: back === 'yes', meaning,
}));
