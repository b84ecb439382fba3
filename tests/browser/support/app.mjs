import assert from 'node:assert/strict';
import { eventually } from './eventually.mjs';

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';

/** Asks one of the OAuth endpoints as the program on a device does. @returns {Promise<{status: number, body: any}>} */
export async function ask_oauth(url, path, form, headers = {}) {
  const answer = await fetch(`${url}/oauth/${path}`, { method: 'POST', headers, body: new URLSearchParams(form) });
  const text = await answer.text();
  return { status: answer.status, body: text ? JSON.parse(text) : null };
}

/**
 * An app that shows a user code, and what it does with it.
 * @param {string} url the gateway's
 * @param {{client_id: string, scope?: string, device_name?: string, device_kind?: string}} form
 * @param {string} [device] the id of a device that the tokens are bound to
 */
export async function start_app(url, form, device) {
  const headers = device ? { 'Countersign-Device': device } : {};
  const { status, body } = await ask_oauth(url, 'device_authorization', form, headers);
  assert.equal(status, 200, JSON.stringify(body));
  const { client_id } = form;
  const token = () => ask_oauth(url, 'token', { grant_type: DEVICE_CODE, device_code: body.device_code, client_id }, headers);
  return {
    ...body,
    token,
    /** Its tokens, once somebody has confirmed. */
    tokens: () => eventually(async () => {
      const answer = await token();
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return answer.body;
    }),
    refresh: (refresh_token) => ask_oauth(url, 'token', { grant_type: 'refresh_token', refresh_token, client_id }, headers),
  };
}
