import { systemClock } from '../../src/base/system-clock.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import { createMountOperations } from '../../src/mount/operations.js';
import type { ServedMount } from './mount-server.js';

/** A mount's operations at level strong over a client of their own. */
export function operationsOver(client: FilesystemClient) {
  const operations = createMountOperations({ client, level: 'strong', clock: systemClock });
  const close = async () => {
    await operations.close();
    await client.close();
  };
  return { operations, close };
}

type Connected = ReturnType<typeof operationsOver>;

/** What a mount server is made of: the mount's own operations, and those of another mount. */
export function serverParts(
  here: Connected,
  elsewhere: Connected,
  end: () => Promise<void> = async () => undefined,
): ServedMount {
  return {
    operations: here.operations,
    setNotifier: (notifier) => here.operations.setNotifier(notifier),
    elsewhere: elsewhere.operations,
    async close() {
      await here.close();
      await elsewhere.close();
      await end();
    },
  };
}
