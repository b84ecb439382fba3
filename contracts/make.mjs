import { readFileSync, writeFileSync } from 'node:fs';
import { compile } from 'json-schema-to-typescript';
import { asyncapi } from './source/asyncapi.mjs';
import { commands } from './source/commands.mjs';
import { openapi } from './source/openapi.mjs';
import { definitions, push_names, schema } from './source/schema.mjs';

const at = (path) => new URL(path, import.meta.url);
const VERSION = /^version = "(.+)"$/m.exec(readFileSync(at('../Cargo.toml'), 'utf8'))[1];

/** The same with references into the components of the document. */
const placed = (value) => JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/'));
const text = (value) => `${JSON.stringify(value, null, 1)}\n`;

async function types() {
  const banner = '// Made from contracts/source by `npm run make` in contracts/; do not edit.\n// What travels over the WebSocket and HTTP; docs/protocol.md is the prose.';
  const options = { bannerComment: banner, additionalProperties: false, style: { singleQuote: true, printWidth: 120 } };
  // Named by a field each, because the generator writes what a root leads to.
  const { $defs: defs, description, anyOf } = schema;
  const all = { ...defs, Frame: { description, anyOf } };
  const fields = Object.fromEntries(Object.keys(all).map((name) => [name, { $ref: `#/$defs/${name}` }]));
  const root = { title: 'Types', description: 'Every type by its name.', type: 'object', required: Object.keys(fields), properties: fields, $defs: all };
  const made = await compile(structuredClone(root), 'Types', options);
  const by_type = (name, suffix, says) => `\n/** ${says} */\nexport interface ${name} {\n${
    Object.entries(commands).map(([type, command]) => `  '${type}': ${command.name}${suffix};`).join('\n')}\n}\n`;
  return made
    + by_type('Commands', 'Command', 'Commands by their `type`.')
    + by_type('Replies', 'Reply', 'What answers a command, by the command\'s `type`.');
}

/** Every file that is made, and what it says. */
export async function made() {
  return new Map([
    ['schema.json', text(schema)],
    ['openapi.json', text(placed(openapi(definitions, VERSION)))],
    ['asyncapi.json', text(placed(asyncapi(definitions, push_names, VERSION)))],
    ['../web/client/countersign.d.ts', await types()],
  ].map(([path, content]) => [at(path), content]));
}

if (process.argv[1] === at('make.mjs').pathname) {
  for (const [path, content] of await made()) writeFileSync(path, content);
}
