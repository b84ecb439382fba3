import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

export const read = (name) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));

const CLOSED = 'https://contract.invalid/closed';

/** The same, but that a field without a name in it is a fault: what is documented is all there is. */
function closed(value) {
  if (Array.isArray(value)) return value.map(closed);
  if (value === null || typeof value !== 'object') return value;
  const inner = Object.fromEntries(Object.entries(value).map(([key, part]) => [key, closed(part)]));
  const is_object = inner.type === 'object' && inner.properties && !('additionalProperties' in inner);
  return is_object ? { ...inner, additionalProperties: false } : inner;
}

/**
 * Checks values against a document's schemas, closed ones.
 * @param {object} document @returns {(pointer: string, value: any) => void} throws what is wrong
 */
export function checker(document) {
  const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false, allErrors: true, validateFormats: false });
  ajv.addVocabulary(Object.keys(document).filter((key) => !key.startsWith('$') && !['title', 'description', 'anyOf'].includes(key)));
  ajv.addSchema({ ...closed(document), $id: CLOSED });
  return (pointer, value) => {
    const check = ajv.getSchema(`${CLOSED}#${pointer}`);
    if (!check) throw new Error(`there is no ${pointer}`);
    if (!check(value)) {
      const faults = check.errors.map(({ instancePath, message, params }) => `${instancePath || 'it'} ${message} ${JSON.stringify(params)}`);
      throw new Error(`not as ${pointer} says:\n${faults.join('\n')}\n${JSON.stringify(value).slice(0, 1_000)}`);
    }
  };
}

/** A name as a part of a JSON pointer in a URI. */
export const escaped = (name) => encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'));
