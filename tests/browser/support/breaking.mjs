import http from 'node:http';
import net from 'node:net';

/**
 * A proxy that does to WebSockets and event streams what proxies do. Its knobs can be turned while it runs:
 *
 * - `upgrade`: `pass`; a status to refuse with; `hang` (no answer); `cut` (let through, cut before the first frame);
 *   `mute` (let through, and no frame after)
 * - `events`: `pass`; a status to refuse with; `hold` (the answer is kept back); `first` (nothing after the first piece)
 *
 * What was asked is written down in `asked`, as `GET /v1/…`, upgrades as `UPGRADE`.
 * @param {string} target the gateway's URL
 */
export async function start_breaking_proxy(target, knobs = {}) {
  const to = new URL(target);
  const sockets = new Set();
  const upgraded = new Set();
  const proxy = { upgrade: 'pass', events: 'pass', asked: [], ...knobs };

  const server = http.createServer((request, answer) => {
    proxy.asked.push(`${request.method} ${request.url}`);
    const events = /^\/v1\/qr\/[^/]+\/events/.test(request.url) ? proxy.events : 'pass';
    if (typeof events === 'number') {
      request.resume();
      answer.writeHead(events, { 'Content-Type': 'text/html' }).end('<h1>A proxy said no</h1>');
      return;
    }
    const far = http.request({ host: to.hostname, port: to.port, method: request.method, path: request.url, headers: request.headers });
    far.on('error', () => answer.destroy());
    far.on('response', (response) => {
      response.on('error', () => answer.destroy());
      if (events === 'hold') return response.resume();
      answer.writeHead(response.statusCode, response.headers);
      answer.flushHeaders();
      if (events === 'pass') return response.pipe(answer);
      let first = true;
      return response.on('data', (piece) => {
        if (first) answer.write(piece);
        first = false;
      });
    });
    answer.on('close', () => far.destroy());
    request.pipe(far);
  });

  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, near, head) => {
    proxy.asked.push('UPGRADE');
    const how = proxy.upgrade;
    if (how === 'hang') return;
    if (typeof how === 'number') {
      near.end(`HTTP/1.1 ${how} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    pass(request, near, head, how);
  });

  function pass(request, near, head, how) {
    const far = net.connect(Number(to.port), to.hostname);
    const pair = { near, far };
    upgraded.add(pair);
    const end = () => {
      upgraded.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on('error', end).on('close', end);
    const lines = request.rawHeaders.flatMap((name, n, all) => (n % 2 ? [] : [`${name}: ${all[n + 1]}`]));
    far.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    far.write(head);
    near.pipe(far);
    if (how === 'pass') {
      far.pipe(near);
      return;
    }
    // Only the head of the gateway's answer.
    let answer = Buffer.alloc(0);
    far.on('data', (piece) => {
      if (answer === null) return;
      answer = Buffer.concat([answer, piece]);
      const ends = answer.indexOf('\r\n\r\n');
      if (ends < 0) return;
      near.write(answer.subarray(0, ends + 4));
      answer = null;
      if (how === 'cut') near.end();
    });
  }

  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${server.address().port}`,
    /** How often this was asked. @param {RegExp} what */
    times: (what) => proxy.asked.filter((line) => what.test(line)).length,
    /** Cuts every WebSocket there is. */
    cut_sockets() {
      for (const { near, far } of [...upgraded]) {
        near.destroy();
        far.destroy();
      }
    },
    async stop() {
      const closed = new Promise((resolve) => { server.close(resolve); });
      for (const socket of sockets) socket.destroy();
      this.cut_sockets();
      await closed;
    },
  });
}
