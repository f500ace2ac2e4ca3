import {
  type ChildProcess,
  type ExecFileException,
  execFile,
  execFileSync,
} from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectClient } from '../../src/cli/assemble/client.js';
import { freePorts } from '../../src/cli/free-ports.js';
import { newestLeader } from '../../src/cli/status.js';
import type { NodeReport } from '../../src/client/filesystem-client.js';
import type { NodeStatus } from '../../src/codec/client-messages.js';
import { Disk } from './disk.js';
import { Process, runWorker } from './processes.js';
import { NodeProxy, Roads } from './proxy.js';
import type { Tally } from './tally.js';
import { inTime, waitFor } from './waiting.js';

/** Not a word that any other frame has in it. */
const CLUSTER = 'tempest';
const STATUS_MS = 2_000;
const HEALTHY_MS = 120_000;
const LIST_MS = 10_000;

const run = promisify(execFile);

/** Small limits, so that logs are compacted and snapshots streamed all the time. */
const NODE_FLAGS = ['--snapshot-log-entries', '1000', '--snapshot-log-mib', '4'];

export interface TortureNode {
  readonly name: string;
  readonly process: Process;
  readonly disk: Disk;
  readonly proxy: NodeProxy;
  /** Its files were damaged: it may refuse to go on, and is rebuilt then. */
  damaged: boolean;
  /** Its disk is full, or was and it has not recovered from that: it may end by itself. */
  wasFull: boolean;
}

export interface TortureMount {
  readonly name: string;
  readonly directory: string;
  readonly process: Process;
}

/** A real cluster and its mounts, every connection through a proxy, every node on a disk of its own. */
export class World {
  readonly root = mkdtempSync(join(process.env.MOOTFS_TORTURE_DIR ?? tmpdir(), 'mootfs-torture.'));
  readonly roads = new Roads();
  readonly nodes: readonly TortureNode[];
  readonly mounts: readonly TortureMount[];
  readonly violations: string[] = [];
  /** Programs on the mounts. */
  readonly workers = new Set<ChildProcess>();
  private readonly addresses: readonly string[];
  private removed: Promise<void> | null = null;

  static async make(
    count: number,
    flags: readonly string[],
    clocks: () => string,
    tally: Tally,
  ): Promise<World> {
    return new World(count, await freePorts(2 * count), flags, clocks, tally);
  }

  private constructor(
    count: number,
    ports: readonly number[],
    flags: readonly string[],
    clocks: () => string,
    readonly tally: Tally,
  ) {
    const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
    const proxyPort = (i: number) => ports[i] ?? 0;
    const nodePort = (i: number) => ports[count + i] ?? 0;
    const proxied = names.map((_, i) => `127.0.0.1:${proxyPort(i)}`);
    this.addresses = names.map((_, i) => `127.0.0.1:${nodePort(i)}`);
    const peers = names.map((name, i) => `${name}=${proxied[i]}`).join(',');
    for (const name of ['disks', 'images', 'mnt', 'logs', 'histories']) {
      mkdirSync(join(this.root, name));
    }
    this.nodes = names.map((name, i) => {
      const disk = new Disk(join(this.root, 'images', name), join(this.root, 'disks', name));
      const args = [
        ...['node', '--id', name, '--data', disk.data, '--peers', peers],
        ...['--listen', this.addresses[i] ?? '', '--control', 'off'],
        ...['--cluster', CLUSTER, ...NODE_FLAGS],
        ...flags,
      ];
      const node: TortureNode = {
        name,
        disk,
        process: new Process(
          name,
          join(this.root, 'logs', `${name}.log`),
          () => ({ args, clock: clocks() }),
          (code) => this.onNodeDeath(node, code),
        ),
        proxy: new NodeProxy(this.roads, name, proxyPort(i), nodePort(i), nameOf),
        damaged: false,
        wasFull: false,
      };
      return node;
    });
    this.mounts = names.map((_, i) => {
      const name = `m${i + 1}`;
      const directory = join(this.root, 'mnt', String(i + 1));
      mkdirSync(directory);
      const nodes = [proxied[i], ...proxied.filter((_, other) => other !== i)].join(',');
      const args = [
        ...['mount', directory, '--nodes', nodes, '--cluster', CLUSTER, '--deadline', 'hard'],
      ];
      return {
        name,
        directory,
        process: new Process(
          name,
          join(this.root, 'logs', `${name}.log`),
          () => ({ args, clock: clocks() }),
          (code) => this.violations.push(`${name} ended by itself with ${code}`),
        ),
      };
    });
  }

  async start(): Promise<void> {
    for (const { proxy } of this.nodes) await proxy.listen();
    for (const node of this.nodes) node.process.start();
    await this.healthy();
    for (const mount of this.mounts) await this.startMount(mount);
  }

  async startMount({ name, directory, process }: TortureMount): Promise<void> {
    process.start();
    await waitFor(`mount ${name}`, STATUS_MS * 30, () => isMounted(directory));
  }

  /**
   * A node that refuses its data is rebuilt, and one whose disk was full is started when there is room;
   * that is what their messages say to do.
   */
  private onNodeDeath(node: TortureNode, code: number): void {
    if (node.damaged && code === 4) {
      this.tally.damageFoundByNode++;
      this.rebuild(node);
    } else if (node.wasFull && code === 4) {
      this.tally.fullDisksFatal++;
      if (!node.disk.isFull) node.process.start();
    } else {
      this.violations.push(
        `${node.name} ended by itself with ${code}:\n${node.process.lastWords()}`,
      );
    }
  }

  async kill({ process }: Pick<TortureNode, 'process'>): Promise<void> {
    this.tally.kills++;
    await process.end('SIGKILL');
  }

  rebuild(node: TortureNode): void {
    node.disk.wipe();
    node.damaged = false;
    node.process.start();
  }

  /** Past the proxies. The client learns the addresses before them, too: there nobody answers twice. */
  async status(): Promise<readonly NodeReport[]> {
    const client = connectClient({ nodes: this.addresses, cluster: CLUSTER, name: 'status' });
    try {
      const reports = await client.status(STATUS_MS);
      return reports.filter(({ address }) => this.addresses.includes(address));
    } finally {
      await client.close();
    }
  }

  async serves(node: TortureNode): Promise<boolean> {
    return (await this.status()).some(({ status }) => status?.id === node.name);
  }

  async leader(): Promise<TortureNode | null> {
    const id = newestLeader(await this.status());
    return this.nodes.find(({ name }) => name === id) ?? null;
  }

  /** Every node answers, has caught up, and is equal to all others. */
  async healthy(limitMs = HEALTHY_MS): Promise<void> {
    await waitFor('all nodes to be healthy', limitMs, async () => {
      const found = (await this.status()).flatMap(({ status }) => status ?? []);
      return found.length === this.nodes.length && areEqual(found);
    });
  }

  /** A program's write through a mount is taken, after a while perhaps. */
  async writable({ name, directory }: TortureMount): Promise<void> {
    await inTime(runWorker(['probe', directory, name]), `a write on ${name}`);
  }

  /** Every node answers, and none has anything to catch up with that it may have lost. */
  async recovered(limitMs = HEALTHY_MS): Promise<void> {
    await waitFor('all nodes to have recovered', limitMs, async () => {
      const found = (await this.status()).flatMap(({ status }) => status ?? []);
      const last = Math.max(...found.map(({ appliedIndex }) => appliedIndex));
      return (
        found.length === this.nodes.length &&
        found.some(({ role }) => role === 'leader') &&
        found.every(({ recovering, appliedIndex }) => !recovering && appliedIndex >= last - 500)
      );
    });
  }

  /** Nothing is in anybody's way any more. */
  heal(): void {
    this.roads.heal();
    for (const node of this.nodes) {
      node.disk.thaw();
      node.disk.makeRoom();
      node.process.signal('SIGCONT');
      node.process.start();
    }
    for (const mount of this.mounts) mount.process.signal('SIGCONT');
  }

  /** Ends everything politely; whatever does not end well is a violation. */
  async stop(): Promise<void> {
    for (const { name, process } of this.mounts) {
      const code = await process.end('SIGTERM');
      if (code !== 0) this.violations.push(`${name} stopped with ${code}`);
    }
    for (const { name, process } of this.nodes) {
      const code = await process.end('SIGTERM');
      if (code !== 0) this.violations.push(`${name} stopped with ${code}`);
    }
  }

  /** Leaves nothing behind but, when `keep`, the files. Once: who asks again waits for the first. */
  remove(keep: boolean): Promise<void> {
    this.removed ??= this.clear(keep);
    return this.removed;
  }

  private async clear(keep: boolean): Promise<void> {
    for (const worker of this.workers) worker.kill('SIGKILL');
    this.roads.heal();
    for (const { process, disk } of this.nodes) {
      disk.thaw();
      await process.end('SIGKILL');
    }
    for (const { process, directory } of this.mounts) {
      await process.end('SIGKILL');
      if (isListed(directory)) execFileSync('umount', ['-l', directory]);
    }
    for (const { proxy } of this.nodes) await proxy.close();
    for (const { disk } of this.nodes) disk.remove();
    if (!keep) rmSync(this.root, { recursive: true, force: true });
  }
}

function areEqual(found: readonly NodeStatus[]): boolean {
  const states = new Set(found.map((s) => `${s.appliedIndex} ${s.stateHash}`));
  return states.size === 1 && found.every((s) => !s.recovering && s.appliedIndex > 0);
}

/** The greeting, a caller's first frame, has the cluster's name in it, and behind that its own. */
function nameOf(head: string): string | null {
  const at = head.indexOf(CLUSTER);
  if (at < 0) return null;
  const behind = head.slice(at + CLUSTER.length);
  const mount = /mnt\/(\d)/.exec(behind);
  if (mount !== null) return `m${mount[1]}`;
  return /n\d/.exec(behind)?.[0] ?? null;
}

function isListed(directory: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8').includes(` ${directory} fuse`);
}

/**
 * Listed first, in a process of its own: a dead mount, which stays in the table until the next mount comes,
 * refuses that at once; where it takes long the cluster is waited for. Before the next mount the bare
 * directory can be listed, too.
 */
async function isMounted(directory: string): Promise<boolean> {
  try {
    await run('ls', [directory], { timeout: LIST_MS, killSignal: 'SIGKILL' });
  } catch (error) {
    if (!(error as ExecFileException).killed) return false;
  }
  return isListed(directory);
}
