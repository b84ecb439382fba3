import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Validator } from '@seriousme/openapi-schema-validator';
import asyncapi_parser from '@asyncapi/parser';
import Ajv from 'ajv/dist/2020.js';
import { made } from './make.mjs';
import { read } from './support/validator.mjs';

test('the files are what their sources make', async () => {
  for (const [path, content] of await made()) {
    assert.equal(readFileSync(path, 'utf8'), content, `${fileURLToPath(path)} is stale: npm run make`);
  }
});

test('openapi.json is OpenAPI 3.1', async () => {
  const document = read('openapi.json');
  const result = await new Validator().validate(structuredClone(document));
  assert.deepEqual(result.errors ?? [], []);
  assert.equal(result.valid, true);
  const ids = Object.values(document.paths).flatMap((path) => Object.values(path).map(({ operationId }) => operationId));
  assert.equal(new Set(ids).size, ids.length, 'each operation has a name of its own');
});

test('path parameters are declared, and no others', () => {
  for (const [path, operations] of Object.entries(read('openapi.json').paths)) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const { operationId, parameters = [] } of Object.values(operations)) {
      assert.deepEqual(parameters.filter((p) => p.in === 'path').map(({ name }) => name), named, operationId);
    }
  }
});

test('every reference leads somewhere', () => {
  for (const name of ['openapi.json', 'asyncapi.json', 'schema.json']) {
    const document = read(name);
    for (const [, pointer] of JSON.stringify(document).matchAll(/"\$ref":"#([^"]+)"/g)) {
      const found = pointer.split('/').slice(1).reduce((at, key) => at?.[key], document);
      assert.notEqual(found, undefined, `${name}: ${pointer}`);
    }
  }
});

test('asyncapi.json is AsyncAPI 3', async () => {
  const { document, diagnostics } = await new asyncapi_parser.Parser().parse(readFileSync(new URL('asyncapi.json', import.meta.url), 'utf8'));
  const serious = diagnostics.filter(({ severity }) => severity <= 1).map(({ code, message, path }) => `${code} ${message} ${path.join('.')}`);
  assert.deepEqual(serious, []);
  assert.equal(document.version(), '3.0.0');
});

test('schema.json is JSON Schema 2020-12', () => {
  const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false });
  assert.equal(typeof ajv.compile(read('schema.json')), 'function');
});

test('the types are good TypeScript, and the client is used with them', () => {
  const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', import.meta.url));
  const at = fileURLToPath(new URL('.', import.meta.url));
  const run = () => execFileSync(process.execPath, [tsc, '--project', 'tsconfig.json'], { cwd: at, encoding: 'utf8', stdio: 'pipe' });
  assert.doesNotThrow(run, (error) => { throw new Error(error.stdout); });
});
