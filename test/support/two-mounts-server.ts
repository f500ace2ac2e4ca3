import { systemClock } from '../../src/base/system-clock.js';
import { mountFuseKernel } from '../../src/mount/fuse-kernel/mount-fuse-kernel.js';
import { createMountOperations } from '../../src/mount/operations.js';
import { LocalCluster } from './local-client.js';

/**
 * Serves two mounts of a cluster that is one tree in memory. Arguments: their directories. Says
 * 'mounted' to its parent, and unmounts when the parent disconnects.
 */
const cluster = new LocalCluster();
const mounts = await Promise.all(
  process.argv.slice(2).map(async (directory) => {
    const client = cluster.connect({ name: directory, keepAliveMs: 200 });
    const operations = createMountOperations({ client, level: 'strong', clock: systemClock });
    const mount = await mountFuseKernel({ directory, operations, source: 'mootfs', readers: 2 });
    operations.setNotifier(mount.notifier);
    return { client, operations, mount };
  }),
);
process.on('disconnect', () => {
  for (const { mount } of mounts) void mount.unmount();
});
process.send?.('mounted');
for (const { client, operations, mount } of mounts) {
  await mount.ended;
  await operations.close();
  await client.close();
}
