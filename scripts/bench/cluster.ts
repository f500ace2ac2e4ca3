import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectClient } from '../../src/cli/assemble/client.js';
import { freePorts } from '../../src/cli/free-ports.js';
import { newestLeader } from '../../src/cli/status.js';
import type { FilesystemClient, NodeReport } from '../../src/client/filesystem-client.js';

const MOOTFS = fileURLToPath(new URL('../../src/cli/mootfs', import.meta.url));
const START_TIMEOUT_MS = 60_000;
/** A mount alone may take thirty seconds to bring away what was written. */
const EXIT_MS = 45_000;

/** A real cluster of processes on loopback, below a temporary directory, for measuring. */
export class BenchCluster {
  readonly root = mkdtempSync(join(process.env.MOOTFS_BENCH_DIR ?? tmpdir(), 'mootfs-bench.'));
  readonly nodes: (ChildProcess | null)[] = [];
  readonly mounts: ChildProcess[] = [];

  private constructor(
    readonly addresses: readonly string[],
    /** Of the nodes' control ports; empty: they have none. */
    readonly controls: readonly string[],
  ) {}

  /** `control`: with control ports, by which nodes may be cut from each other. */
  static async start(count: number, options: { control?: boolean } = {}): Promise<BenchCluster> {
    const ports = await freePorts(options.control === true ? 2 * count : count);
    const addresses = ports.map((port) => `127.0.0.1:${port}`);
    const cluster = new BenchCluster(addresses.slice(0, count), addresses.slice(count));
    for (let i = 0; i < count; i++) cluster.startNode(i);
    await cluster.waitForLeader();
    return cluster;
  }

  startNode(i: number): void {
    const peers = this.addresses.map((address, n) => `n${n + 1}=${address}`).join(',');
    const data = join(this.root, `n${i + 1}`);
    this.nodes[i] = this.run(`n${i + 1}`, [
      'node',
      '--id',
      `n${i + 1}`,
      '--data',
      data,
      '--peers',
      peers,
      '--control',
      this.controls[i] ?? 'off',
      ...(this.controls[i] === undefined ? [] : ['--allow-faults']),
    ]);
  }

  /** Node `i` and the others hear nothing of each other, or do again. Clients reach them all. */
  async cutOff(i: number, isCut: boolean): Promise<void> {
    await Promise.all(
      this.controls.map(async (control, n) => {
        const others = n === i ? this.addresses.flatMap((_, k) => (k === i ? [] : k)) : [i];
        const from = isCut ? others.map((k) => `n${k + 1}`) : [];
        const answer = await fetch(`http://${control}/api/call/cut`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ from }),
        });
        if (!answer.ok) throw new Error(`n${n + 1}: ${await answer.text()}`);
      }),
    );
  }

  /** Its process is gone at once; `startNode` starts it again. */
  async killNode(i: number): Promise<void> {
    const node = this.nodes[i];
    if (node === undefined || node === null || node.exitCode !== null) return;
    const exited = new Promise((done) => node.once('exit', done));
    node.kill('SIGKILL');
    await exited;
  }

  /** Mounts through node `i` first; resolves to the directory. */
  async mount(i: number, ...flags: readonly string[]): Promise<string> {
    const directory = join(this.root, 'mnt', String(i + 1));
    mkdirSync(directory, { recursive: true });
    const nodes = [this.addresses[i] ?? '', ...this.addresses.filter((_, n) => n !== i)];
    const child = this.run(`mount${i + 1}`, [
      'mount',
      directory,
      '--nodes',
      nodes.join(','),
      ...flags,
    ]);
    this.mounts.push(child);
    await waitFor(`mount ${directory}`, async () => mountTable().includes(` ${directory} fuse`));
    return directory;
  }

  /** What the nodes have used by now: proc_pid_stat(5), utime and stime, in ticks of 10 ms. */
  cpuMs(): number {
    return this.nodes.reduce((sum, node) => {
      const stat = readFileSync(`/proc/${node?.pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return sum + (Number(fields[11]) + Number(fields[12])) * 10;
    }, 0);
  }

  client(name: string): FilesystemClient {
    return connectClient({ nodes: this.addresses, cluster: 'mootfs', name });
  }

  async reports(): Promise<readonly NodeReport[]> {
    const client = this.client('bench');
    try {
      return await client.status(1000);
    } finally {
      await client.close();
    }
  }

  /** Index of the node that leads. */
  async leader(): Promise<number> {
    let leader = -1;
    await waitFor('a leader', async () => {
      const id = newestLeader(await this.reports());
      leader = id === null ? -1 : Number(id.slice(1)) - 1;
      return leader >= 0;
    });
    return leader;
  }

  async waitForLeader(): Promise<void> {
    await this.leader();
  }

  /** All nodes answer and stand at the same applied index. */
  async waitForAgreement(): Promise<void> {
    await waitFor('equal nodes', async () => {
      const reports = await this.reports();
      return new Set(reports.map((r) => r.status?.appliedIndex ?? Math.random())).size === 1;
    });
  }

  async stop(): Promise<void> {
    for (const child of [...this.mounts, ...this.nodes]) await end(child ?? null);
    // Who had to be killed leaves a dead mount.
    for (const [, directory] of mountTable().matchAll(/^\S+ (\S+) fuse/gm)) {
      if (directory?.startsWith(this.root)) execFileSync('umount', ['-l', directory]);
    }
    rmSync(this.root, { recursive: true, force: true });
  }

  private run(name: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.root, `${name}.log`), 'a');
    return spawn(MOOTFS, [...args, '--stop-with-stdin'], {
      stdio: ['pipe', log, log],
    });
  }
}

function mountTable(): string {
  return readFileSync('/proc/self/mounts', 'utf8');
}

async function end(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((done) => child.once('exit', done));
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), EXIT_MS);
  await exited;
  clearTimeout(kill);
}

export async function waitFor(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + START_TIMEOUT_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
