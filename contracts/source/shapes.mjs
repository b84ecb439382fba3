/** A place where another definition is used. */
export const ref = (name) => ({ $ref: `#/$defs/${name}` });

/** An object with these fields; fields it does not name are allowed, and ignored by whoever reads it. */
export const object = (required, optional = {}, description) => ({
  type: 'object',
  ...(description && { description }),
  ...(Object.keys(required).length > 0 && { required: Object.keys(required) }),
  properties: { ...required, ...optional },
});

/** Optional fields of what a client sends: `null` there means absent. */
export const or_null = (fields) => Object.fromEntries(
  Object.entries(fields).map(([name, schema]) => [name, { anyOf: [schema, { type: 'null' }] }]),
);

export const string = (description, more = {}) => ({ type: 'string', description, ...more });
export const count = (description, more = {}) => ({ type: 'integer', minimum: 0, description, ...more });
export const flag = (description) => ({ type: 'boolean', description });
export const list = (items, more = {}) => ({ type: 'array', items, ...more });
export const one_of = (...values) => ({ type: 'string', enum: values });
/** A duration, relative to the moment the answer was made. */
export const ms = (description) => count(`${description}, milliseconds`);
/** An instant. */
export const at_ms = (description) => count(`${description}, Unix milliseconds`);
/** Any JSON. */
export const any = (description) => ({ type: ['object', 'array', 'string', 'number', 'boolean', 'null'], description });
