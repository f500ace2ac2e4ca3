import { systemClock } from '../../src/base/system-clock.js';
import { createFilesystemClient } from '../../src/client/client.js';
import { createInProcessDialer } from '../../src/client/in-process.js';
import { createMountOperations } from '../../src/mount/operations.js';
import type { Dialer } from '../../src/transport/transport.js';
import { ClientCluster, webSocketNetwork } from './client-cluster.js';
import { serveMount } from './mount-server.js';

/** How a mount reaches its cluster: through a node of its own process, or over the network only. */
export type Way = 'in-process' | 'remote';

/**
 * Serves a mount of three nodes with memory stores that speak over WebSockets; arguments as in
 * mount-server.ts.
 */
export async function serveClusterMount(way: Way): Promise<void> {
  const cluster = new ClientCluster(await webSocketNetwork());
  await cluster.start();
  const addresses = await cluster.addresses();
  // A follower: what it does not decide itself goes to the leader.
  const near = cluster.nodes.find((node) => node.status().address === addresses[0]);
  if (near === undefined) throw new Error('every address is a node’s');
  const remote = cluster.dialer();
  const connect = (name: string, dialer: Dialer) => {
    const client = createFilesystemClient({
      ...{ addresses, dialer, name },
      holdsOpen: true,
      cache: true,
      keepAliveMs: 1_000,
    });
    const operations = createMountOperations({ client, level: 'strong', clock: systemClock });
    const close = async () => {
      await operations.close();
      await client.close();
    };
    return { operations, close };
  };
  const own = createInProcessDialer(near, near.status().address, remote);
  const here = connect('here', way === 'in-process' ? own : remote);
  const elsewhere = connect('elsewhere', remote);
  await serveMount({
    operations: here.operations,
    setNotifier: (notifier) => here.operations.setNotifier(notifier),
    elsewhere: elsewhere.operations,
    async close() {
      await here.close();
      await elsewhere.close();
      await cluster.stopAll();
    },
  });
}
