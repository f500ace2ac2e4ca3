import { statfs } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { isMootError, MootError } from '../base/errors.js';
import { systemRandom } from '../base/random.js';
import { systemClock } from '../base/system-clock.js';
import { createFilesystemClient } from '../client/client.js';
import type { FilesystemClient } from '../client/filesystem-client.js';
import { createInProcessDialer } from '../client/in-process.js';
import type { ReadLevel, WriteConcern } from '../codec/client-messages.js';
import { FuseCounts } from '../control/fuse-counts.js';
import { createLogger, type LogFormat, type LogLevel } from '../control/logger.js';
import { measureLogStore } from '../control/measured-log-store.js';
import { Metrics } from '../control/metrics.js';
import { Monitor } from '../control/monitor.js';
import { Neighbours } from '../control/neighbours.js';
import { startNodeControl } from '../control/node-control.js';
import { addFuseMetrics, createNodeMetrics } from '../control/node-metrics.js';
import { loadPages } from '../control/pages.js';
import { startControlServer, text } from '../control/server.js';
import type { HandedMount } from '../mount/fuse-kernel/as-user.js';
import { mountFuseKernel } from '../mount/fuse-kernel/mount-fuse-kernel.js';
import { mountFuseNative } from '../mount/fuse-native.js';
import type { KernelNotifier, Mount, MountOperations, RequestObserver } from '../mount/mount.js';
import { createMountOperations } from '../mount/operations.js';
import type { Node } from '../node/node.js';
import { recoverAlone, type Survivor } from '../node/recover.js';
import { createNode } from '../node/runtime.js';
import { type Verification, verifyStores } from '../node/verify.js';
import { openDataDirectory, readDataDirectory } from '../storage/data-directory.js';
import { refuseInUse } from '../storage/in-use.js';
import { createRocksLogStore } from '../storage/rocksdb-log.js';
import { createRocksStateStore } from '../storage/rocksdb-state.js';
import { createFaultyTransport, createLimitedDialer } from '../transport/faulty.js';
import { MetCluster } from '../transport/met-cluster.js';
import { observeTransport } from '../transport/observed.js';
import { createWebSocketDialer, createWebSocketTransport } from '../transport/ws.js';
import type { Member } from './members.js';
import type { Adapter, LockScope } from './mount-options.js';
import { VERSION } from './version.js';

/** The only place that names the concrete classes together: how a node, a client, a mount is made of its parts. */

export interface NodeSettings {
  readonly cluster: string;
  readonly id: string;
  readonly data: string;
  readonly listen: string;
  /** Where others reach it. */
  readonly address: string;
  readonly peers: readonly Member[];
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly snapshotLogMib: number;
  readonly snapshotLogEntries: number;
  readonly sessionTimeoutMs: number;
  /** host:port of the page, the events and the metrics; null: none. */
  readonly control: string | null;
  /** Where others reach that. */
  readonly controlReachedAt: string | null;
  readonly allowFaults: boolean;
  /** host:port of whoever started this node and can start it again. */
  readonly director: string | null;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly leaseMs: number;
  readonly writeConcern: WriteConcern;
}

/** How much of the log stays behind a compaction, so that a follower that lags a little needs no snapshot. */
const SNAPSHOT_TAIL_SHARE = 0.1;

export async function startNode(settings: NodeSettings): Promise<RunningNode> {
  const { cluster, id, peers } = settings;
  const directory = await openDataDirectory(settings.data, { cluster, id });
  const mustExist = !directory.fresh;
  const logger = createLogger({
    node: id,
    level: settings.logLevel,
    format: settings.logFormat,
  });
  const { report } = logger;
  const monitor = new Monitor(systemClock, logger.event);
  let onStoreFailure: (error: unknown) => void = () => {};
  const storeFailed = new Promise<Error>((resolve) => {
    onStoreFailure = (error) => resolve(asError(error));
  });
  const log = createRocksLogStore({ directory: directory.logDirectory, mustExist });
  const state = createRocksStateStore({
    directory: directory.treeDirectory,
    mustExist,
    onFailure: (error) => onStoreFailure(error),
  });
  const { store: measuredLog, syncs } = measureLogStore(log);
  const network = createWebSocketTransport({
    cluster,
    id,
    address: settings.listen,
    reachedAt: settings.address,
    peers,
    report,
  });
  // Who may not make faults has no part that could.
  const faulty = settings.allowFaults ? createFaultyTransport(network, systemClock) : null;
  const transport = observeTransport(faulty?.transport ?? network, monitor);
  const timing = {
    electionTimeoutMinMs: settings.electionTimeoutMs,
    electionTimeoutMaxMs: settings.electionTimeoutMs * 2,
    heartbeatMs: settings.heartbeatMs,
  };
  const snapshotTailEntries = Math.floor(settings.snapshotLogEntries * SNAPSHOT_TAIL_SHARE);
  const node = createNode({
    version: VERSION,
    memoryBytes: () => process.memoryUsage.rss(),
    config: {
      cluster,
      id,
      address: settings.address,
      peers,
      ...timing,
      snapshotLogBytes: settings.snapshotLogMib * 2 ** 20,
      snapshotLogEntries: settings.snapshotLogEntries,
      snapshotTailEntries,
      sessionTimeoutMs: settings.sessionTimeoutMs,
      control: settings.controlReachedAt,
      leaseMs: settings.leaseMs,
      writeConcern: settings.writeConcern,
    },
    log: measuredLog,
    state,
    onOpened: () => directory.markUsed(),
    transport,
    observer: monitor,
    clock: systemClock,
    random: systemRandom,
    digest: (bytes, seed) => crc32(bytes, seed),
    diskSpace: () => diskSpace(settings.data),
    report,
  });
  const failed = Promise.race([node.failed, storeFailed]);
  let failure: Error | null = null;
  void failed.then((error) => {
    failure = error;
  });
  const metrics = createNodeMetrics({ node, transport, monitor, syncs, stores: { log, state } });
  const fuse = new FuseCounts();
  addFuseMetrics(metrics, fuse);
  const startControl = async (address: string) => {
    const known = [settings.address, ...peers.map((peer) => peer.address)];
    const client = connectClient({ nodes: known, cluster, name: `control of ${id}` });
    const neighbours = new Neighbours(client, () => node.status(), systemClock);
    const pages = await loadPages();
    const server = await startNodeControl({
      ...{ address, node, transport, monitor, timing, snapshotTailEntries, report },
      faults: faulty?.faults ?? null,
      crash: () => process.kill(process.pid, 'SIGKILL'),
      director: settings.director,
      members: () => neighbours.members(),
      metrics: () => metrics.answer(),
      failure: () => failure,
      pages,
    }).catch(async (error: unknown) => {
      await client.close();
      throw error;
    });
    neighbours.start();
    return async () => {
      neighbours.stop();
      await Promise.all([server.close(), client.close()]);
    };
  };
  let stopControl = async () => {};
  const stop = async () => {
    await stopControl();
    await node.stop();
  };
  try {
    await node.start();
    if (settings.control !== null) stopControl = await startControl(settings.control);
  } catch (error) {
    await stop();
    throw error;
  }
  return { node, failed, fuse, stop };
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

/** See recoverAlone. A directory with anything wrong in it is refused. */
export async function recoverDirectory(
  path: string,
  options: {
    readonly accepted: boolean;
    readonly newCluster: string | null;
    readonly address: string | null;
  },
): Promise<Survivor> {
  const { problems } = await verifyDirectory(path);
  refuseProblems(path, problems);
  const { id, used, logDirectory, treeDirectory, renameCluster } = await readDataDirectory(path);
  if (!used) throw new MootError('BAD_ARGUMENT', `${path} was never used by a node`);
  const stores = { mustExist: true, readOnly: !options.accepted };
  const survivor = await recoverAlone(
    { id, address: options.address, random: systemRandom },
    createRocksLogStore({ ...stores, directory: logDirectory }),
    createRocksStateStore({ ...stores, directory: treeDirectory, onFailure: () => {} }),
    () => options.accepted,
  );
  if (options.accepted && options.newCluster !== null) await renameCluster(options.newCluster);
  return survivor;
}

/** What is wrong with the directory must be known before anybody relies on it alone. */
function refuseProblems(directory: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new MootError(
    'DATA_CORRUPT',
    `${directory} is damaged (${problems[0]}${problems.length > 1 ? `, and ${problems.length - 1} more` : ''}): see mootfs check`,
  );
}

export interface RunningNode {
  readonly node: Node;
  /** Counts the requests of mounts in this process. */
  readonly fuse: RequestObserver;
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
  /** Nodes that it refuses are out of reach, also when others name them. */
  readonly reaches?: (address: string) => boolean;
}

/** A client of the cluster over the network; nothing is sent before its first call. */
export function connectClient(settings: ClientSettings): FilesystemClient {
  const { cluster, name } = settings;
  const dialer = createWebSocketDialer({ cluster, name });
  return createFilesystemClient({
    dialer: settings.reaches === undefined ? dialer : createLimitedDialer(dialer, settings.reaches),
    addresses: settings.nodes,
    name,
    ...(settings.level === undefined ? {} : { readLevel: settings.level }),
    ...(settings.deadline === undefined ? {} : { deadlineMs: settings.deadline }),
  });
}

/** The control server of a mount process of its own: /metrics and /healthz. */
export async function startMountControl(
  address: string,
  directory: string,
): Promise<{
  /** Counts the mount's requests. */
  readonly observer: RequestObserver;
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

export interface MountSettings {
  readonly directory: string;
  /** Addresses, the preferred node's first. */
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly adapter: Adapter;
  readonly level: ReadLevel;
  readonly deadline: number;
  readonly writeThrough?: boolean;
  readonly locks: LockScope;
  /** Options of mount(8) for the kernel. Default: nosuid and nodev. */
  readonly flags?: readonly string[];
  /** The node of this process, reached at the first address; null: all nodes are elsewhere. */
  readonly node: Node | null;
  readonly observer?: RequestObserver;
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

/** What stands in the first column of df(1). */
export const SOURCE = 'mootfs';

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
