import net from 'node:net';

/**
 * A wire that can be cut: forwards TCP to the gateway until told otherwise.
 * @param {string} target the gateway's URL
 */
export async function start_proxy(target) {
  let to = new URL(target);
  const pairs = new Set();
  let refusing = false;
  let deaf = false;

  const server = net.createServer((near) => {
    if (refusing) return near.destroy();
    const far = net.connect(Number(to.port), to.hostname);
    const pair = { near, far };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.setNoDelay(true).on('close', end).on('error', end);
    near.on('data', (chunk) => far.write(chunk));
    far.on('data', (chunk) => { if (!deaf) near.write(chunk); });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

  const destroy_all = () => {
    for (const { near, far } of [...pairs]) {
      near.destroy();
      far.destroy();
    }
  };
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Ends every connection and lets no new one through. */
    cut() {
      refusing = true;
      destroy_all();
    },
    /** What the gateway says no longer arrives; what the browser says still does. */
    deafen() {
      deaf = true;
    },
    /** New connections go to another gateway. */
    lead_to(other) {
      to = new URL(other);
    },
    /** New connections work again. */
    mend() {
      refusing = false;
      deaf = false;
    },
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      destroy_all();
      await closed;
    },
  };
}
