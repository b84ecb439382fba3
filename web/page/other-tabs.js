import { SESSION } from './session-store.js';

/**
 * Has a page notice what other tabs do to the session on this device: renew it, end it, sign in. And what copies of this tab do to its
 * own: renew it.
 * @param {import('../client.js').Client} client
 * @param {import('./session-store.js').SessionStore} store
 * @param {{join: boolean}} options whether a page on which nobody is signed in goes on with a session that another tab keeps
 */
export function heed_other_tabs(client, store, { join }) {
  const look = () => {
    client.syncSession();
    // Whoever is about to sign in here is not to find somebody else.
    const kept = join && !client.session && !client.signingIn ? store.kept() : null;
    if (kept) client.resumeSession(kept);
  };
  store.onnewer = () => client.syncSession();
  // Without a key all of it was cleared.
  addEventListener('storage', ({ key }) => { if (key === null || key === SESSION) look(); });
  // A page that was asleep is not told.
  addEventListener('pageshow', look);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) look(); });
}
