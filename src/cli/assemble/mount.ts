import { isMootError } from '../../base/errors.js';
import { systemClock } from '../../base/system-clock.js';
import { createFilesystemClient } from '../../client/client.js';
import type { FilesystemClient } from '../../client/filesystem-client.js';
import { createInProcessDialer } from '../../client/in-process.js';
import { FuseCounts } from '../../control/fuse-counts.js';
import { Metrics } from '../../control/metrics.js';
import { addFuseMetrics } from '../../control/node-metrics.js';
import { startControlServer, text } from '../../control/server.js';
import type { HandedMount } from '../../mount/fuse-kernel/as-user.js';
import { mountFuseKernel } from '../../mount/fuse-kernel/mount-fuse-kernel.js';
import { mountFuseNative } from '../../mount/fuse-native.js';
import type { KernelNotifier, Mount, MountOperations, RequestObserver } from '../../mount/mount.js';
import { createMountOperations } from '../../mount/operations.js';
import type { Node } from '../../node/node.js';
import { MetCluster } from '../../transport/met-cluster.js';
import { createWebSocketDialer } from '../../transport/ws.js';
import { SOURCE } from '../mount-flags.js';
import type { Adapter, LockScope, MountOptions } from '../mount-options.js';
import { VERSION } from '../version.js';

/** Looks on at what the kernel asks, and at what the mount must ask then. */
export type MountObserver = RequestObserver & { onQuery(isKept: boolean): void };

export interface MountSettings extends MountOptions {
  readonly directory: string;
  /** Addresses, the preferred node's first. */
  readonly nodes: readonly string[];
  /** Options of mount(8) for the kernel. Default: nosuid and nodev. */
  readonly flags?: readonly string[];
  /** The node of this process, reached at the first address; null: all nodes are elsewhere. */
  readonly node: Node | null;
  readonly observer?: MountObserver;
  /** For the adapter kernel: fusermount3 has mounted already. */
  readonly handed?: HandedMount;
}

/** A node on its feet answers much sooner. */
const MEET_MS = 1_000;

/** Before there is a mount at which everything fails. Who cannot be reached now may be there later. */
async function refuseOtherClusters(client: FilesystemClient): Promise<void> {
  try {
    await client.query({ type: 'statfs' }, { level: 'local', deadlineMs: MEET_MS });
  } catch (error) {
    if (!isMootError(error) || error.code === 'WRONG_CLUSTER') throw error;
  }
}

const ADAPTERS: Record<Adapter, (options: AdapterOptions) => Promise<AdaptedMount>> = {
  kernel: mountFuseKernel,
  'fuse-native': mountFuseNative,
};

interface AdapterOptions {
  readonly directory: string;
  readonly operations: MountOperations;
  readonly source: string;
  readonly locks: LockScope;
  readonly flags?: readonly string[];
  readonly observer?: RequestObserver;
  readonly handed?: HandedMount;
}

/** An adapter that can tell its kernel of changes has a notifier. */
type AdaptedMount = Mount & { readonly notifier?: KernelNotifier };

export async function startMount(
  settings: MountSettings,
): Promise<{ readonly mount: Mount; stop(): Promise<void> }> {
  const { cluster, directory, level, deadline, nodes } = settings;
  const name = `mount ${directory}`;
  const met = new MetCluster(cluster);
  const network = createWebSocketDialer({ cluster, name, met });
  const client = createFilesystemClient({
    dialer:
      settings.node === null
        ? network
        : createInProcessDialer(settings.node, nodes[0] ?? '', network, met),
    addresses: nodes,
    name,
    holdsOpen: true,
    deadlineMs: deadline,
    readLevel: level,
    cache: level === 'strong',
    onQuery: (isKept) => settings.observer?.onQuery(isKept),
  });
  const operations = createMountOperations({
    client,
    level,
    clock: systemClock,
    deadlineMs: deadline,
    writeThrough: settings.writeThrough === true,
  });
  const close = () => operations.close().finally(() => client.close());
  try {
    await refuseOtherClusters(client);
    const mount = await ADAPTERS[settings.adapter]({
      directory,
      operations,
      source: SOURCE,
      locks: settings.locks,
      ...(settings.flags === undefined ? {} : { flags: settings.flags }),
      ...(settings.observer === undefined ? {} : { observer: settings.observer }),
      ...(settings.handed === undefined ? {} : { handed: settings.handed }),
    });
    if (mount.notifier !== undefined) operations.setNotifier(mount.notifier);
    return {
      mount,
      async stop() {
        try {
          await mount.unmount();
        } finally {
          await close();
        }
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The control server of a mount process of its own: /metrics and /healthz. */
export async function startMountControl(
  address: string,
  directory: string,
): Promise<{
  /** Counts the mount's requests. */
  readonly observer: MountObserver;
  /** From now on it is healthy. */
  mounted(): void;
  close(): Promise<void>;
}> {
  const fuse = new FuseCounts();
  const metrics = new Metrics();
  addFuseMetrics(metrics, fuse);
  let serves = false;
  const server = await startControlServer({
    address,
    report: (_, line) => process.stderr.write(`${line}\n`),
    document: () => ({ mount: directory, version: VERSION }),
    ...{ documentMs: MOUNT_DOCUMENT_MS, eventsMs: MOUNT_DOCUMENT_MS },
    takeEvents: () => [],
    onWatched: () => undefined,
    friends: () => [],
    calls: {},
    pages: {
      '/metrics': () => metrics.answer(),
      '/healthz': () => (serves ? text(200, 'ok\n') : text(503, 'not mounted yet\n')),
    },
  });
  return {
    observer: fuse,
    mounted: () => {
      serves = true;
    },
    close: () => server.close(),
  };
}

const MOUNT_DOCUMENT_MS = 1_000;
