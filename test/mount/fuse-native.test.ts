import t from 'tap';
import { mountConformance } from '../conformance/mount.js';

const serverModule = new URL('../support/local-mount-server.js', import.meta.url);

t.test('the fuse-native adapter', (t) =>
  mountConformance(t, { serverModule, adapter: 'fuse-native' }),
);
