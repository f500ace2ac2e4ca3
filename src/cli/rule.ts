import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MootError } from '../base/errors.js';
import { ClusterLink } from '../control/cluster-link.js';
import type { NodeEvent } from '../control/events.js';
import { ControlLink } from '../control/link.js';
import { Operations, type Processes } from '../control/operations.js';
import { openSocket } from '../control/socket.js';
import { connectClient } from './assemble/client.js';
import type { Ruled } from './console/context.js';
import { directLocalCluster } from './director.js';
import { anyPorts, LocalCluster, portsFrom } from './local-cluster.js';
import type { LocalOptions } from './local-options.js';
import { CONTROL_PORT_ABOVE } from './members.js';

const ANSWER_MS = 10_000;
/** The logs are small on purpose: people want to see snapshots. */
const SNAPSHOT_LOG_ENTRIES = 200;

type OnEvents = (id: string, events: readonly NodeEvent[]) => void;

/**
 * A cluster on this machine, of processes of our own; when `stop` resolves before it is there: none. Nothing is
 * left of what could not be started.
 */
export async function startLocal(
  nodes: number,
  options: LocalOptions,
  stop: Promise<unknown>,
  onEvents: OnEvents,
): Promise<Ruled> {
  /** In the order in which they were made. */
  const undo: (() => unknown)[] = [];
  const close = async () => {
    for (const one of undo.splice(0).reverse()) await one();
  };
  try {
    const data = options.data ?? mkdtempSync(join(tmpdir(), 'mootfs-'));
    if (options.data === undefined) undo.push(() => rmSync(data, { recursive: true, force: true }));
    const ports =
      options.port === 0 ? await anyPorts(nodes, data) : portsFrom(options.port, nodes, true);
    const cluster = new LocalCluster({
      ...options,
      nodes,
      data,
      mounts: options.mount ? options.mounts : null,
      ports,
      restart: false,
      snapshotLogEntries: SNAPSHOT_LOG_ENTRIES,
      writeConcern: options.writeConcern ?? 'majority',
    });
    undo.push(() => cluster.stop());
    const directorPort = ports.control?.director ?? 0;
    const director = await directLocalCluster(cluster, directorPort, options.cluster);
    undo.push(() => director.close());
    if (!(await cluster.start(stop))) throw new MootError('INTERRUPTED', 'asked to stop');
    const ruled = await ruledOf(cluster.controls, cluster, options.cluster, onEvents);
    undo.push(() => ruled.close());
    return { ...ruled, own: { cluster, director }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A cluster that runs, by the control address of one of its nodes or more. */
export async function joinCluster(controls: readonly string[], onEvents: OnEvents): Promise<Ruled> {
  const probe = new ClusterLink(controls, openSocket);
  const document = await probe.until(() => probe.documents[0] ?? null, ANSWER_MS);
  probe.close();
  if (document === null) {
    throw new MootError(
      'UNREACHABLE',
      `no control server answers at ${controls.join(', ')} (a node's is ${CONTROL_PORT_ABOVE} above its own port)`,
    );
  }
  const director = document.director === null ? null : new RemoteDirector(document.director);
  const ruled = await ruledOf(controls, director, document.cluster, onEvents);
  return {
    ...ruled,
    own: null,
    async close() {
      director?.close();
      await ruled.close();
    },
  };
}

async function ruledOf(
  controls: readonly string[],
  processes: Processes | null,
  cluster: string,
  onEvents: OnEvents,
): Promise<Omit<Ruled, 'own'>> {
  const link = new ClusterLink(controls, openSocket, { onEvents });
  const known = () => {
    const [first] = link.documents;
    return first !== undefined && link.documents.length >= first.members.length;
  };
  // Some of them may be dead; then those that answer are ruled.
  await link.until(known, ANSWER_MS);
  const addresses = link.documents[0]?.members.map((member) => member.address) ?? [];
  const client = connectClient({ nodes: addresses, cluster, name: 'console' });
  return {
    link,
    operations: new Operations(link, processes),
    client,
    async close() {
      link.close();
      await client.close();
    },
  };
}

/** The director of a running cluster, over its control port. */
class RemoteDirector implements Processes {
  private readonly link: ControlLink<unknown, unknown>;

  constructor(address: string) {
    this.link = new ControlLink(address, openSocket, {
      onDocument: () => undefined,
      onEvents: () => undefined,
    });
  }

  async crash(id: string): Promise<void> {
    await this.link.call('crash', { id });
  }

  async recover(id: string): Promise<void> {
    await this.link.call('recover', { id }, 60_000);
  }

  close(): void {
    this.link.close();
  }
}
