import t from 'tap';
import { createFilesystemClient } from '../../src/client/client.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import { type ClientWorld, filesystemClientSuite } from '../conformance/filesystem-client.js';
import {
  ClientCluster,
  memoryNetwork,
  type TestNetwork,
  webSocketNetwork,
} from '../support/client-cluster.js';

async function world(
  network: TestNetwork,
  { inProcess = false, cache = false } = {},
): Promise<ClientWorld> {
  const cluster = new ClientCluster(network);
  await cluster.start();
  const addresses = await cluster.addresses();
  const [preferred = ''] = addresses;
  const own = cluster.nodes.find((node) => node.status().address === preferred);
  const dialer = inProcess && own !== undefined ? cluster.dialerIn(own) : cluster.dialer();
  const clients: FilesystemClient[] = [];
  return {
    client(options = {}) {
      const client = createFilesystemClient({ dialer, addresses, name: 'test', cache, ...options });
      clients.push(client);
      return client;
    },
    async failover() {
      await cluster.stop(await cluster.leader());
    },
    async loseQuorum() {
      await Promise.all(
        cluster.nodes.filter((node) => node !== own).map((node) => cluster.stop(node)),
      );
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
      await cluster.stopAll();
    },
  };
}

filesystemClientSuite(t, 'over a network in memory', () => world(memoryNetwork()));
filesystemClientSuite(t, 'with answers from memory', () => world(memoryNetwork(), { cache: true }));

filesystemClientSuite(t, 'in the process of a node', () =>
  world(memoryNetwork(), { inProcess: true, cache: true }),
);

filesystemClientSuite(t, 'over WebSocket', async () => world(await webSocketNetwork()));
