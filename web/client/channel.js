/**
 * A channel to the other tabs of this browser, null where there is none: a browser that keeps nothing for a page refuses it.
 * @param {typeof BroadcastChannel | undefined} Channel
 * @param {string} name
 * @param {(data: any) => void} heard what another tab says
 * @returns {BroadcastChannel | null}
 */
export function channel(Channel, name, heard) {
  if (!Channel) return null;
  try {
    const made = new Channel(name);
    made.onmessage = ({ data }) => heard(data);
    // Where there are processes and not pages, it is no reason to go on.
    made.unref?.();
    return made;
  } catch {
    return null;
  }
}
