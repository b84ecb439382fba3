import { uuid } from './id.js';

const DEVICE = 'countersign.device';

/** A storage that may be forbidden: then nothing outlives the page, and everything else works. @param {() => Storage} storage */
export function guarded(storage) {
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
        // Kept in memory by whoever asked. What was there before is not to be taken for it.
        forget(storage, key);
      }
    },
  };
}

function forget(storage, key) {
  try {
    storage().removeItem(key);
  } catch {
    // Then nothing can be there.
  }
}

/** This installation, as the gateway knows it: tokens are bound to it. Made at the first call, kept in local storage. */
export function kept_device_id() {
  const lasting = guarded(() => localStorage);
  const kept = lasting.read(DEVICE);
  if (typeof kept === 'string') return kept;
  const made = uuid();
  lasting.write(DEVICE, made);
  return made;
}
