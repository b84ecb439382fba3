import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fresh } from './support/browser.mjs';
import { eventually, shows } from './support/eventually.mjs';
import { code_of, guest, number_of, scan, stage, type_number } from './support/stage.mjs';

const on = stage();

test('the gateway is replaced: pages come back by themselves and say what is over', async () => {
  const proxy = await on.proxy();
  const room = fresh('chat:restart');
  const ann = await guest(on, 'ann', { room, url: proxy.url });
  const pc = await (await on.somebody()).tab(`${proxy.url}/?room=${room}`);
  const { qr_id } = await code_of(pc);
  await on.replace();

  // Without a shared store accounts and codes are gone with the process; nobody is left before a dead page.
  await shows(ann.at('notice'), /Your session is over/);
  await ann.at('qr-image').waitFor();
  await shows(ann.at('connection'), 'Connected');
  await shows(pc.at('qr-status'), /no longer knows this code/);
  await pc.at('qr-again').click();
  const again = await eventually(async () => {
    const code = await code_of(pc);
    assert.notEqual(code.qr_id, qr_id);
    return code;
  });
  const phone = await (await on.somebody()).tab(on.reach(again.url));
  await scan(phone, fresh('ben'), 'Ben');
  await type_number(phone, await number_of(pc));
  await pc.at('room').waitFor();
});
