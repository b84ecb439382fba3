import { close_codes } from './codes.mjs';
import { commands } from './commands.mjs';

const CLOSES = close_codes.map(({ code, reason, back, meaning }) => `| ${code} | \`${reason}\` | ${back ? 'yes' : 'no'} | ${meaning} |`).join('\n');
const DESCRIPTION = `One JSON object in each text frame. A client sends commands with an \`id\` of its choice; each gets one reply with that \`id\`.
Pushes have no \`id\`. \`hello\` is the first frame of the gateway. Frames may have fields that this document does not
name: ignore them.

How a connection ends; *back* says whether a client reconnects by itself:

| code | reason | back | meaning |
|---|---|---|---|
${CLOSES}`;

const MESSAGE = '#/channels/socket/messages/';
const CHANNEL = { $ref: '#/channels/socket' };

/** @param {Record<string, object>} schemas every definition @param {string[]} pushes names of those that are pushes @param {string} version */
export function asyncapi(schemas, pushes, version) {
  const messages = {};
  const message = (name) => {
    messages[name] = { name, contentType: 'application/json', ...(schemas[name].description && { summary: schemas[name].description }), payload: { $ref: `#/$defs/${name}` } };
    return { $ref: MESSAGE + name };
  };
  const refused = message('ErrorReply');
  const operations = {};
  for (const [type, { name, does }] of Object.entries(commands)) {
    operations[type.replace('.', '_')] = {
      action: 'receive',
      channel: CHANNEL,
      title: type,
      summary: does,
      messages: [message(`${name}Command`)],
      reply: { channel: CHANNEL, messages: [message(`${name}Reply`), refused] },
    };
  }
  operations.push = { action: 'send', channel: CHANNEL, summary: 'What the gateway tells unasked.', messages: pushes.map(message) };
  return {
    asyncapi: '3.0.0',
    info: { title: 'Countersign', version, description: DESCRIPTION, license: { name: 'MIT' } },
    defaultContentType: 'application/json',
    servers: {
      gateway: { host: '{host}', protocol: 'ws', description: '`wss` behind TLS.', variables: { host: { default: '127.0.0.1:8080', description: 'Where the gateway listens.' } } },
    },
    channels: {
      socket: {
        address: '/v1/ws',
        title: 'The WebSocket',
        description: 'Sub-protocol `countersign.v1.json`, echoed when offered. `GET /v1/ws` in openapi.json says how a handshake is refused.',
        messages,
        bindings: { ws: { method: 'GET' } },
      },
    },
    operations,
    components: { schemas },
  };
}
