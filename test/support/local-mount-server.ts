import { systemClock } from '../../src/base/system-clock.js';
import { createMountOperations } from '../../src/mount/operations.js';
import { LocalCluster } from './local-client.js';
import { serveMount } from './mount-server.js';

/** Serves a mount of a cluster that is one tree in memory; arguments as in mount-server.ts. */
const cluster = new LocalCluster();

function connect(name: string) {
  const client = cluster.connect({ name, keepAliveMs: 200 });
  const operations = createMountOperations({ client, level: 'strong', clock: systemClock });
  const close = async () => {
    await operations.close();
    await client.close();
  };
  return { operations, close };
}

const here = connect('here');
const elsewhere = connect('elsewhere');
await serveMount({
  operations: here.operations,
  setNotifier: (notifier) => here.operations.setNotifier(notifier),
  elsewhere: elsewhere.operations,
  async close() {
    await here.close();
    await elsewhere.close();
  },
});
