// The JavaScript client and the types of the wire, as an application in TypeScript uses them.
import { Client } from '../web/client.js';
import type { Commands, Message, Push, Replies, Tokens } from '../web/client/countersign';

/** A room that writes down who said what. */
export async function transcript(url: string, token: Tokens): Promise<string[]> {
  const client = new Client({ url, device: { id: 'transcript-1', name: 'Transcript', kind: 'other' } });
  await client.open();
  await client.call('auth', { token: token.access_token });
  const joined = await client.call('join', { room: 'chat:lobby' });
  const line = ({ from, body }: Message) => `${from?.name ?? from?.id ?? 'the server'}: ${JSON.stringify(body)}`;
  const sent = await client.call('send', { room: joined.room, body: { text: `${joined.counts.viewers} are here` }, cid: crypto.randomUUID() });
  if ('shed' in sent) await new Promise((resolve) => { setTimeout(resolve, sent.after_ms); });
  return joined.messages.map(line);
}

/** Every push has its own fields, found by its `type`. */
export function told(push: Push): string {
  switch (push.type) {
    case 'hello': return `up to ${push.limits.frame_bytes_max} bytes`;
    case 'message': return push.room;
    case 'counts': return `${push.viewers} of ${push.members}`;
    case 'qr': return push.state === 'confirmed' ? push.ticket ?? 'ask for the tokens' : push.state;
    case 'session': return push.state === 'new_device' ? push.device.kind : push.state;
    case 'presence': return push.joined.map(({ id }) => id).join();
    case 'room': return push.info.title ?? push.room;
    case 'me': return push.role;
    case 'gap': return `${push.to - push.from + 1} are missing`;
    case 'left': return push.reason;
    case 'reconnect': return `in ${push.after_ms} ms`;
  }
}

/** What is not in the protocol does not compile. */
// @ts-expect-error a like has a number
export const wrong: Commands['like'] = { id: 1, type: 'like', room: 'chat:lobby' };
// @ts-expect-error a reply to `ping` brings nothing but its id
export const nothing = (reply: Replies['ping']) => reply.epoch;
