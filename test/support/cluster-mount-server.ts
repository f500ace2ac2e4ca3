import { createFilesystemClient } from '../../src/client/client.js';
import type { Dialer } from '../../src/transport/transport.js';
import { ClientCluster, webSocketNetwork } from './client-cluster.js';
import { operationsOver, serverParts } from './mount-operations.js';
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
  const connect = (name: string, dialer: Dialer) =>
    operationsOver(
      createFilesystemClient({
        ...{ addresses, dialer, name },
        holdsOpen: true,
        cache: true,
        keepAliveMs: 1_000,
      }),
    );
  const own = cluster.dialerIn(near);
  const here = connect('here', way === 'in-process' ? own : remote);
  await serveMount(serverParts(here, connect('elsewhere', remote), () => cluster.stopAll()));
}
