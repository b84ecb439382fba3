import { STATUS_CODES } from 'node:http';
import { error_codes } from './codes.mjs';
import { oauth_status } from './oauth.mjs';
import { routes } from './routes.mjs';

const DESCRIPTION = `QR login, accounts and sessions over HTTP. What happens on the WebSocket is in /asyncapi.json.

Every answer may have fields that this document does not name: ignore them. Errors are problem documents (RFC 9457) and
are never stored; below \`/oauth/\` they are those of RFC 6749 §5.2, but where no route was asked yet. An address or a method that is not here is 404 \`not_found\` or 405 \`method_not_allowed\` (with
\`Allow\`); where GET is, HEAD is too, but for \`/v1/ws\` and event streams. What cannot be read as HTTP at all gets 400 or 431 without a body.

Below \`/v1/\` and \`/oauth/\`, answers to pages of an allowed origin carry \`Access-Control-Allow-Origin\` and expose \`Retry-After\`, \`ETag\`,
\`DPoP-Nonce\` and \`X-Request-Id\`, which names the request in the gateway's log; preflights are answered with 204. \`Vary: Origin\` and \`X-Content-Type-Options: nosniff\` come with every
answer that a route gives.`;

const SECURITY = {
  bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token bound to a device, with the device.' },
  dpop: { type: 'http', scheme: 'DPoP', description: 'An access token bound to a key, with a proof in the header `DPoP` (RFC 9449).' },
  client: { type: 'http', scheme: 'basic', description: 'Id and secret of a confidential client, each form-urlencoded before (RFC 6749 §2.3.1). Or both in the form; a public client sends its `client_id` there.' },
  granted: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token of a client that is bound to no device.' },
  claim: { type: 'http', scheme: 'Claim', description: 'The claim that opened the QR login, with its device.' },
  device: { type: 'apiKey', in: 'header', name: 'Countersign-Device', description: 'The device id, 1 to 128 bytes of visible ASCII.' },
  proof: { type: 'apiKey', in: 'header', name: 'DPoP', description: 'A DPoP proof for this request.' },
};
const TOKEN = [{ bearer: [], device: [] }, { dpop: [], proof: [] }];
const AUTH = {
  token: TOKEN,
  claim: [{ claim: [], device: [] }],
  device: [{ device: [] }],
  opener: [{ device: [] }, {}],
  client: [{ client: [] }, {}],
  client_device: [{ client: [] }, { client: [], device: [] }, { device: [] }, {}],
  userinfo: [{ granted: [] }, ...TOKEN],
  maybe: [...TOKEN, { device: [] }, {}],
};

const text = (description, schema = {}) => ({ description, schema: { type: 'string', ...schema } });
const HEADERS = {
  RetryAfter: { description: 'Seconds.', required: true, schema: { type: 'integer', minimum: 1 } },
  Challenge: { description: 'What is asked for.', required: true, schema: { type: 'string', enum: ['Bearer', 'Bearer error="invalid_token"'] } },
  ScopeChallenge: { ...text('What would do.', { const: 'Bearer error="insufficient_scope", scope="openid"' }), required: true },
  NoCache: { ...text('For caches of HTTP/1.0 (RFC 6749 §5.1).', { const: 'no-cache' }) },
  ClientChallenge: { ...text('How to authenticate.', { pattern: '^Basic ' }), required: true },
  NoStore: { ...text('Keep no copy.', { const: 'no-store' }), required: true },
};
const header = (name) => ({ $ref: `#/components/headers/${name}` });
const MORE = {
  401: { 'WWW-Authenticate': header('Challenge') },
  426: { Upgrade: { ...text('What is spoken here.', { const: 'websocket' }), required: true }, 'Sec-WebSocket-Version': { ...text('Of RFC 6455.', { const: '13' }), required: true } },
  429: { 'Retry-After': header('RetryAfter') },
  503: { 'Retry-After': header('RetryAfter') },
};

const schema_of = (name) => (typeof name === 'string' ? { $ref: `#/$defs/${name}` } : name ?? { type: 'string' });

/** One event of a stream: a document of this version of OpenAPI describes a stream by what each event is. */
const event_of = (name) => ({
  type: 'object',
  description: 'One event.',
  required: ['id', 'data'],
  properties: {
    id: { type: 'string', pattern: '^[0-9]+$', description: 'Its `seq`.' },
    event: { const: 'message', description: 'Events have no name.' },
    data: { type: 'string', contentMediaType: 'application/json', contentSchema: schema_of(name), description: `The JSON of one ${name}.` },
  },
});

/** Codes by the status that they are answered with. */
function by_status(codes, status_of) {
  const found = new Map();
  for (const each of codes) {
    const [code, fixed] = each.split('@');
    for (const status of [fixed ?? status_of(code)].flat()) {
      if (status === undefined) throw new Error(`no code ${code}`);
      found.set(Number(status), [...(found.get(Number(status)) ?? []), code]);
    }
  }
  return found;
}

const refusal = (schema, status, code, codes) => ({ schema: { $ref: `#/$defs/${schema}`, properties: { ...status, [code]: { enum: codes } } } });

/** Answers of one status that differ in nothing are one component. */
function problems({ errors, oauth_errors = [] }, components) {
  const known = by_status(errors, (code) => error_codes.find(({ name }) => name === code)?.status);
  const oauth = by_status(oauth_errors, (code) => oauth_status[code] ?? 400);
  const answers = {};
  for (const status of [...new Set([...known.keys(), ...oauth.keys()])].sort((a, b) => a - b)) {
    const [codes, refused] = [known.get(status) ?? [], oauth.get(status) ?? []];
    const of_client = refused.includes('invalid_client');
    const name = `E${status}-${[...codes, ...(refused.length > 0 ? ['oauth', ...refused] : [])].join('-')}`;
    components[name] = {
      description: `${STATUS_CODES[status]}: ${[...new Set([...refused, ...codes])].map((code) => `\`${code}\``).join(', ')}.`,
      headers: {
        'Cache-Control': header('NoStore'),
        ...(refused.length > 0 && { Pragma: header('NoCache') }),
        ...(of_client ? { 'WWW-Authenticate': header('ClientChallenge') } : MORE[status]),
        ...(status === 403 && refused.includes('invalid_scope') && { 'WWW-Authenticate': header('ScopeChallenge') }),
      },
      content: {
        ...(refused.length > 0 && { 'application/json': refusal('OAuthError', {}, 'error', refused) }),
        ...(codes.length > 0 && { 'application/problem+json': refusal('Problem', { status: { const: status } }, 'code', codes) }),
      },
    };
    answers[status] = { $ref: `#/components/responses/${name}` };
  }
  return answers;
}

function answer(status, { schema, old_caches, event, type = 'application/json', types, cache, csp, anybody, buffering, anything, nothing, says }) {
  const headers = {
    ...(cache && { 'Cache-Control': cache === 'no-store' ? header('NoStore') : { ...text('How long to keep it.', { const: cache }), required: true } }),
    ...(old_caches && { Pragma: header('NoCache') }),
    ...(csp && {
      'Content-Security-Policy': { ...text('Our own scripts only.'), required: true },
      'Referrer-Policy': { ...text('Addresses are told to nobody.', { const: 'no-referrer' }), required: true },
      'X-Frame-Options': { ...text('Nobody may frame it.', { const: 'DENY' }), required: true },
    }),
    ...(anybody && { 'Access-Control-Allow-Origin': text('Scripts and documents are for pages of any origin.', { const: '*' }) }),
    ...(buffering && { 'X-Accel-Buffering': { ...text('A proxy passes events on as they come.', { const: 'no' }), required: true } }),
    ...(status === '101' && { 'Sec-WebSocket-Protocol': text('Echoed when it was offered.', { const: 'countersign.v1.json' }) }),
  };
  const has_body = status !== '204' && status !== '101' && !nothing;
  const body = event ? event_of(event) : anything ? { type: 'object' } : schema ? schema_of(schema) : { type: 'string' };
  const content = has_body && Object.fromEntries((types ?? [type]).map((name) => [name, { schema: body }]));
  return {
    description: says ?? STATUS_CODES[status],
    ...(Object.keys(headers).length > 0 && { headers }),
    ...(content && { content }),
  };
}

function operation(route, components) {
  const parameter = (where) => ({ name, schema, description, required }) => ({
    name, in: where, required: where === 'path' || Boolean(required), description, schema: schema_of(schema),
  });
  const parameters = [
    ...(route.path_parameters ?? []).map(parameter('path')),
    ...(route.query ?? []).map(parameter('query')),
    ...(route.headers ?? []).map(parameter('header')),
  ];
  const taken = route.form ? 'application/x-www-form-urlencoded' : 'application/json';
  const body = (route.body ?? route.form) && { required: true, content: { [taken]: { schema: schema_of(route.body ?? route.form) } } };
  return {
    operationId: route.id,
    tags: [route.tag],
    summary: route.summary,
    security: route.auth ? AUTH[route.auth] : [],
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: body }),
    responses: {
      ...Object.fromEntries(Object.entries(route.answers).map(([status, what]) => [status, answer(status, what)])),
      ...problems(route, components),
    },
  };
}

/** @param {Record<string, object>} schemas every definition @param {string} version of the gateway */
export function openapi(schemas, version) {
  const [paths, responses] = [{}, {}];
  for (const route of routes) {
    paths[route.path] ??= {};
    if (paths[route.path][route.method]) throw new Error(`${route.method} ${route.path} is there twice`);
    paths[route.path][route.method] = operation(route, responses);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Countersign', version, description: DESCRIPTION, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: { schemas, responses, headers: HEADERS, securitySchemes: SECURITY },
  };
}
