import { guarded, kept_device_id } from '../client/device.js';
import { SessionStore } from './session-store.js';

const ATTEMPT = 'countersign.attempt';
const CONFIRMED = 'countersign.confirmed';

const passing = guarded(() => sessionStorage);

/** This browser, as the gateway knows it: tokens are bound to the id. */
export function this_device() {
  return { id: kept_device_id(), name: device_name(navigator.userAgent), kind: 'web' };
}

/** Tokens live in memory and, for a reload of this tab, in its session storage; in local storage when somebody asked to stay
 * signed in on this device. */
export const session_store = new SessionStore({
  tab: passing, lasting: guarded(() => localStorage), locks: navigator.locks, Channel: globalThis.BroadcastChannel,
});

/** A code on the screen outlives a reload the same way. */
export const load_attempt = () => passing.read(ATTEMPT);
export const save_attempt = (kept) => passing.write(ATTEMPT, kept);

/** On the phone: the code that was confirmed and the device that showed it, so that a reload still tells the end. */
export const load_confirmed = () => passing.read(CONFIRMED);
export const save_confirmed = (kept) => passing.write(CONFIRMED, kept);

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
