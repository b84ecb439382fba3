import { uuid } from '../client.js';

const DEVICE = 'countersign.device';
const SESSION = 'countersign.session';
const ATTEMPT = 'countersign.attempt';

/** A storage that may be forbidden: then nothing outlives the page, and everything else works. */
function guarded(storage) {
  return {
    read(key) {
      try {
        return JSON.parse(storage().getItem(key));
      } catch {
        return null;
      }
    },
    write(key, value) {
      try {
        if (value === null) storage().removeItem(key);
        else storage().setItem(key, JSON.stringify(value));
      } catch {
        // Kept in memory by whoever asked.
      }
    },
  };
}

const lasting = guarded(() => localStorage);
const passing = guarded(() => sessionStorage);

/** This browser, as the gateway knows it: tokens are bound to the id. */
export function this_device() {
  let id = lasting.read(DEVICE);
  if (typeof id !== 'string') {
    id = uuid();
    lasting.write(DEVICE, id);
  }
  return { id, name: device_name(navigator.userAgent), kind: 'web' };
}

/** Tokens live in memory and, for a reload of this tab, in its session storage. */
export const load_session = () => passing.read(SESSION);
export const save_session = (saved) => passing.write(SESSION, saved);

/** A code on the screen outlives a reload the same way. */
export const load_attempt = () => passing.read(ATTEMPT);
export const save_attempt = (kept) => passing.write(ATTEMPT, kept);

/** `Firefox on Linux`: for people to recognise, not for programs to trust. */
function device_name(agent) {
  const first = (table) => table.find(([pattern]) => pattern.test(agent))?.[1];
  const browser = first([
    [/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\/|FxiOS\//, 'Firefox'], [/Chrome\/|CriOS\//, 'Chrome'], [/Safari\//, 'Safari'],
  ]) ?? 'Browser';
  const system = first([
    [/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS X/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux'],
  ]);
  return system ? `${browser} on ${system}` : browser;
}
