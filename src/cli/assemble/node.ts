import { crc32 } from 'node:zlib';
import { systemRandom } from '../../base/random.js';
import { systemClock } from '../../base/system-clock.js';
import type { WriteConcern } from '../../codec/client-messages.js';
import { FuseCounts } from '../../control/fuse-counts.js';
import type { LogFormat, LogLevel } from '../../control/log-level.js';
import { createLogger } from '../../control/logger.js';
import { measureLogStore } from '../../control/measured-log-store.js';
import { Monitor } from '../../control/monitor.js';
import { Neighbours } from '../../control/neighbours.js';
import { startNodeControl } from '../../control/node-control.js';
import { addFuseMetrics, createNodeMetrics } from '../../control/node-metrics.js';
import { loadPages } from '../../control/pages.js';
import type { Node } from '../../node/node.js';
import { createNode } from '../../node/runtime.js';
import { openDataDirectory } from '../../storage/data-directory.js';
import { diskSpaceOf } from '../../storage/disk-space.js';
import { createRocksLogStore } from '../../storage/rocksdb-log.js';
import { createRocksStateStore } from '../../storage/rocksdb-state.js';
import { createFaultyTransport } from '../../transport/faulty.js';
import { observeTransport } from '../../transport/observed.js';
import { createWebSocketTransport } from '../../transport/ws.js';
import type { Member } from '../members.js';
import { VERSION } from '../version.js';
import { connectClient } from './client.js';
import type { MountObserver } from './mount.js';

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
    diskSpace: () => diskSpaceOf(settings.data),
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

export interface RunningNode {
  readonly node: Node;
  /** Counts the requests of mounts in this process. */
  readonly fuse: MountObserver;
  /** Resolves with the reason when the node cannot go on. */
  readonly failed: Promise<Error>;
  stop(): Promise<void>;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
