import t from 'tap';
import { mountConformance } from '../conformance/mount.js';

for (const way of ['in-process', 'remote']) {
  const serverModule = new URL(`../support/${way}-mount-server.js`, import.meta.url);
  t.test(`a mount of a cluster, ${way}`, (t) =>
    mountConformance(t, { serverModule, adapter: 'fuse-kernel' }),
  );
}
