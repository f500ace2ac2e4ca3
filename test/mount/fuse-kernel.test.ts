import t from 'tap';
import { mountConformance } from '../conformance/mount.js';

const serverModule = new URL('../support/local-mount-server.js', import.meta.url);

t.test('the fuse-kernel adapter', (t) =>
  mountConformance(t, { serverModule, adapter: 'fuse-kernel' }),
);
