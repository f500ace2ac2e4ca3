import t from 'tap';
import { type ClientOptions, createFilesystemClient } from '../../src/client/client.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import { createInProcessDialer } from '../../src/client/in-process.js';
import { MetCluster } from '../../src/transport/met-cluster.js';
import type { Dialer } from '../../src/transport/transport.js';
import { type ClientWorld, filesystemClientSuite } from '../conformance/filesystem-client.js';
import { FakeCluster } from '../support/fake-cluster.js';

function worldOver(dialerOf: (cluster: FakeCluster) => Dialer): ClientWorld {
  const cluster = new FakeCluster();
  const clients: FilesystemClient[] = [];
  // The preferred node survives what the suite does.
  cluster.elect(cluster.node(1));
  return {
    client(options: Partial<ClientOptions> = {}) {
      const client = createFilesystemClient({
        dialer: dialerOf(cluster),
        addresses: cluster.addresses,
        name: 'test',
        ...options,
      });
      clients.push(client);
      return client;
    },
    async failover() {
      cluster.kill(cluster.node(1));
      setTimeout(() => cluster.elect(cluster.node(2)), 100);
    },
    async loseQuorum() {
      cluster.kill(cluster.node(1));
      cluster.kill(cluster.node(2));
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

filesystemClientSuite(t, 'over connections to a scripted cluster', async () =>
  worldOver((cluster) => cluster.dialer),
);

filesystemClientSuite(t, 'in the process of a scripted node', async () =>
  worldOver((cluster) => {
    const own = cluster.node(0);
    return createInProcessDialer(
      {
        cluster: { cluster: 'test', incarnation: 0 },
        connect: (client) => cluster.connect(own, client),
      },
      own.address,
      cluster.dialer,
      new MetCluster('test'),
    );
  }),
);
