import { statfs } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { systemClock } from '../base/clock.js';
import { systemRandom } from '../base/random.js';
import { createFilesystemClient } from '../client/client.js';
import type { FilesystemClient } from '../client/filesystem-client.js';
import { createInProcessDialer } from '../client/in-process.js';
import type { ReadLevel } from '../codec/client-messages.js';
import { mountFuseKernel } from '../mount/fuse-kernel/mount-fuse-kernel.js';
import { mountFuseNative } from '../mount/fuse-native.js';
import type { KernelNotifier, Mount, MountOperations } from '../mount/mount.js';
import { createMountOperations } from '../mount/operations.js';
import type { Node } from '../node/node.js';
import { createNode } from '../node/runtime.js';
import { type Verification, verifyStores } from '../node/verify.js';
import { openDataDirectory, readDataDirectory } from '../storage/data-directory.js';
import { refuseInUse } from '../storage/in-use.js';
import { createRocksLogStore } from '../storage/rocksdb-log.js';
import { createRocksStateStore } from '../storage/rocksdb-state.js';
import { createWebSocketDialer, createWebSocketTransport } from '../transport/ws.js';
import type { Member } from './members.js';
import type { Adapter } from './mount-options.js';
import { VERSION } from './version.js';

/** The only place that names the concrete classes together: how a node, a client, a mount is made of its parts. */

export interface NodeSettings {
  readonly cluster: string;
  readonly id: string;
  readonly data: string;
  readonly listen: string;
  readonly peers: readonly Member[];
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly snapshotLogMib: number;
  readonly snapshotLogEntries: number;
  readonly sessionTimeoutMs: number;
}

/** How much of the log stays behind a compaction, so that a follower that lags a little needs no snapshot. */
const SNAPSHOT_TAIL_SHARE = 0.1;

export async function startNode(settings: NodeSettings): Promise<RunningNode> {
  const { cluster, id, peers } = settings;
  const directory = await openDataDirectory(settings.data, { cluster, id });
  const mustExist = !directory.fresh;
  const report = (line: string) => {
    process.stderr.write(`${new Date().toISOString()} ${id} ${line}\n`);
  };
  let onStoreFailure: (error: unknown) => void = () => {};
  const storeFailed = new Promise<Error>((resolve) => {
    onStoreFailure = (error) => resolve(asError(error));
  });
  const node = createNode({
    version: VERSION,
    memoryBytes: () => process.memoryUsage.rss(),
    config: {
      cluster,
      id,
      address: peers.find((peer) => peer.id === id)?.address ?? settings.listen,
      peers,
      electionTimeoutMinMs: settings.electionTimeoutMs,
      electionTimeoutMaxMs: settings.electionTimeoutMs * 2,
      heartbeatMs: settings.heartbeatMs,
      snapshotLogBytes: settings.snapshotLogMib * 2 ** 20,
      snapshotLogEntries: settings.snapshotLogEntries,
      snapshotTailEntries: Math.floor(settings.snapshotLogEntries * SNAPSHOT_TAIL_SHARE),
      sessionTimeoutMs: settings.sessionTimeoutMs,
    },
    log: createRocksLogStore({ directory: directory.logDirectory, mustExist }),
    state: createRocksStateStore({
      directory: directory.treeDirectory,
      mustExist,
      onFailure: (error) => onStoreFailure(error),
    }),
    transport: createWebSocketTransport({ cluster, id, address: settings.listen, peers, report }),
    clock: systemClock,
    random: systemRandom,
    digest: (bytes, seed) => crc32(bytes, seed),
    diskSpace: () => diskSpace(settings.data),
    report,
  });
  try {
    await node.start();
    await directory.markUsed();
  } catch (error) {
    await node.stop();
    throw error;
  }
  return { node, failed: Promise.race([node.failed, storeFailed]), stop: () => node.stop() };
}

/** Reads all of a stopped node's data, and changes nothing. */
export async function verifyDirectory(path: string): Promise<Verification> {
  const { used, logDirectory, treeDirectory } = await readDataDirectory(path);
  if (!used) return { problems: [], log: null, tree: null };
  await refuseInUse(logDirectory);
  const common = { mustExist: true, readOnly: true };
  return verifyStores(
    createRocksLogStore({ ...common, directory: logDirectory }),
    createRocksStateStore({ ...common, directory: treeDirectory, onFailure: () => {} }),
  );
}

export interface RunningNode {
  readonly node: Node;
  /** Resolves with the reason when the node cannot go on. */
  readonly failed: Promise<Error>;
  stop(): Promise<void>;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

async function diskSpace(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const { bsize, blocks, bavail } = await statfs(path);
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
}

export interface ClientSettings {
  readonly nodes: readonly string[];
  readonly cluster: string;
  /** For people, in a node's list of clients. */
  readonly name: string;
  readonly level?: ReadLevel;
  readonly deadline?: number;
}

/** A client of the cluster over the network; nothing is sent before its first call. */
export function connectClient(settings: ClientSettings): FilesystemClient {
  const { cluster, name } = settings;
  return createFilesystemClient({
    dialer: createWebSocketDialer({ cluster, name }),
    addresses: settings.nodes,
    name,
    ...(settings.level === undefined ? {} : { readLevel: settings.level }),
    ...(settings.deadline === undefined ? {} : { deadlineMs: settings.deadline }),
  });
}

export interface MountSettings {
  readonly directory: string;
  /** Addresses, the preferred node's first. */
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly adapter: Adapter;
  readonly level: ReadLevel;
  readonly deadline: number;
  readonly writeThrough?: boolean;
  /** The node of this process, reached at the first address; null: all nodes are elsewhere. */
  readonly node: Node | null;
}

const ADAPTERS: Record<Adapter, (options: AdapterOptions) => Promise<AdaptedMount>> = {
  kernel: mountFuseKernel,
  'fuse-native': mountFuseNative,
};

interface AdapterOptions {
  readonly directory: string;
  readonly operations: MountOperations;
  readonly source: string;
}

/** An adapter that can tell its kernel of changes has a notifier. */
type AdaptedMount = Mount & { readonly notifier?: KernelNotifier };

const SOURCE = 'mootfs';

export async function startMount(
  settings: MountSettings,
): Promise<{ readonly mount: Mount; stop(): Promise<void> }> {
  const { cluster, directory, level, deadline, nodes } = settings;
  const name = `mount ${directory}`;
  const network = createWebSocketDialer({ cluster, name });
  const client = createFilesystemClient({
    dialer:
      settings.node === null
        ? network
        : createInProcessDialer(settings.node, nodes[0] ?? '', network),
    addresses: nodes,
    name,
    holdsOpen: true,
    deadlineMs: deadline,
    readLevel: level,
    cache: level === 'strong',
  });
  const operations = createMountOperations({
    client,
    level,
    clock: systemClock,
    deadlineMs: deadline,
    writeThrough: settings.writeThrough === true,
  });
  try {
    const mount = await ADAPTERS[settings.adapter]({ directory, operations, source: SOURCE });
    if (mount.notifier !== undefined) operations.setNotifier(mount.notifier);
    return {
      mount,
      async stop() {
        await mount.unmount();
        await operations.close();
        await client.close();
      },
    };
  } catch (error) {
    await operations.close();
    await client.close();
    throw error;
  }
}
