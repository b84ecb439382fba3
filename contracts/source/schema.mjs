import { answers, requests } from './bodies.mjs';
import { commands, error_reply, pushes } from './commands.mjs';
import { object, ref } from './shapes.mjs';
import { types } from './types.mjs';

const ID = { type: 'integer', minimum: 0, description: 'Chosen by the client, at most 2⁶⁴−1; the reply carries it back.' };

const sent = {};
const replied = {};
for (const [type, { name, does, fields: [required = {}, optional] = [], reply = [], either = [reply] }] of Object.entries(commands)) {
  const ok = ([filled = {}, may]) => object({ id: ID, type: { const: 'ok' }, ...filled }, may);
  const description = `The answer to \`${type}\`.`;
  sent[`${name}Command`] = object({ id: ID, type: { const: type }, ...required }, optional, does);
  replied[`${name}Reply`] = either.length === 1 ? { ...ok(either[0]), description } : { description, oneOf: either.map(ok) };
}

/** Names of the pushes. */
export const push_names = [...Object.keys(pushes), 'Message', 'QrWaiting', 'QrScanned', 'QrConfirmed', 'QrDone', 'QrEnded'];

const frames = {
  ...sent,
  ...replied,
  ErrorReply: error_reply,
  ...pushes,
  Command: { oneOf: Object.keys(sent).map(ref), description: 'What a client sends.' },
  Reply: { anyOf: [...Object.keys(replied).map(ref), ref('ErrorReply')], description: 'What answers a command; which fields it has depends on the command.' },
  Push: { oneOf: push_names.map(ref), description: 'What the gateway tells unasked.' },
};

/** Every definition by its name, in the order of reading. */
export const definitions = { ...types, ...frames, ...requests, ...answers };

export const schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'urn:countersign:v1',
  title: 'Frame',
  description: 'Everything that travels between a Countersign gateway and its clients; by itself, one frame of the WebSocket.',
  anyOf: ['Command', 'Reply', 'Push'].map(ref),
  $defs: definitions,
};
