import { text } from '../strings.js';
import { by_id, say } from './dom.js';

/** Where the gateway listens unless it is told. */
const PORT = '8080';

/** Whether only this machine finds itself under this name. @param {string} hostname as URL has it */
export const is_own_name = (hostname) => hostname === 'localhost' || hostname.endsWith('.localhost')
  || /^127\.\d+\.\d+\.\d+$/.test(hostname) || ['[::1]', '[::]', '0.0.0.0'].includes(hostname);

/**
 * Says that no phone can open the code's address, and what to start, when that is so.
 * @param {string} url the code's
 */
export function explain_reach(url) {
  const { hostname, host, port } = new URL(url);
  const own = is_own_name(hostname);
  by_id('reach').hidden = !own;
  if (!own) return;
  const at = port || '80';
  say(by_id('reach-why'), text.reach.why(host));
  const listen = at === PORT ? '' : ` --listen 0.0.0.0:${at}`;
  say(by_id('reach-command'), `countersign serve --trial-on-lan${listen}`);
}
