import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { renderTable } from '../../src/cli/table.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import { ROOT_INO } from '../../src/filesystem/records.js';
import { type BenchCluster, median, quantile } from './cluster.js';

const ECHO = fileURLToPath(new URL('echo.js', import.meta.url));
const COMMAND_BYTES = 256;
const SAMPLES = 5000;
/**
 * Before the samples, so that all processes run compiled code, as they do in service: on two cores V8's
 * compiler takes a fifth of the processor until about 6,000 commits are done.
 */
const WARM_UP = 8000;
const ROUND_TRIPS = 2000;
const CLIENTS = 64;
const MANY_WARM_UP_SECONDS = 5;
const MANY_SECONDS = 5;

/** Commit latency against what the hardware needs at least: one disk sync and one round trip. */
export async function benchCommits(cluster: BenchCluster): Promise<string> {
  const syncUs = medianSync(join(cluster.root, 'sync-probe'));
  const roundTripUs = await medianRoundTrip();
  const { times: one, cpuUs } = await latencies(cluster, SAMPLES);
  const oneUs = median(one);
  const oneRate = 1e6 / (one.reduce((a, b) => a + b, 0) / one.length);
  const manyRate = await throughput(cluster, CLIENTS);
  return [
    renderTable(
      ['COMMITS', 'VALUE'],
      [
        ['fdatasync of 512 bytes, median', `${syncUs.toFixed(0)} us`],
        ['WebSocket round trip between two processes, median', `${roundTripUs.toFixed(0)} us`],
        [`one client, ${COMMAND_BYTES}-byte commands, median`, `${oneUs.toFixed(0)} us`],
        ['one client, p99', `${quantile(one, 0.99).toFixed(0)} us`],
        [
          'ratio to sync + round trip (aim: at most 4)',
          (oneUs / (syncUs + roundTripUs)).toFixed(2),
        ],
        ['processor time of all nodes for one commit', `${cpuUs.toFixed(0)} us`],
        ['one client, commits a second', oneRate.toFixed(0)],
        [`${CLIENTS} clients, commits a second`, manyRate.toFixed(0)],
        ['ratio (aim: at least 8)', (manyRate / oneRate).toFixed(1)],
      ],
    ),
    '',
  ].join('\n');
}

function medianSync(file: string): number {
  const fd = openSync(file, 'w');
  writeSync(fd, Buffer.alloc(1 << 20));
  fdatasyncSync(fd);
  const block = Buffer.alloc(512, 1);
  const times = Array.from({ length: 500 }, (_, i) => {
    const start = performance.now();
    writeSync(fd, block, 0, block.length, i * 512);
    fdatasyncSync(fd);
    return (performance.now() - start) * 1000;
  });
  closeSync(fd);
  return median(times);
}

async function medianRoundTrip(): Promise<number> {
  const echo = spawn(process.execPath, [ECHO], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [port] = (await once(echo.stdout, 'data')) as [Buffer];
  const socket = new WebSocket(`ws://127.0.0.1:${port.toString().trim()}`, {
    perMessageDeflate: false,
  });
  await once(socket, 'open');
  const times: number[] = [];
  const message = Buffer.alloc(COMMAND_BYTES);
  for (let i = 0; i < WARM_UP + ROUND_TRIPS; i++) {
    const start = performance.now();
    const answered = new Promise((done) => socket.once('message', done));
    socket.send(message);
    await answered;
    if (i >= WARM_UP) times.push((performance.now() - start) * 1000);
  }
  socket.close();
  echo.stdin.end();
  await once(echo, 'exit');
  return median(times);
}

async function makeFile(client: FilesystemClient, name: string): Promise<number> {
  const { inode } = await client.execute<'make-node'>({
    type: 'make-node',
    parent: ROOT_INO,
    name: Buffer.from(name),
    mode: 0o100644,
    rdev: 0,
    uid: 0,
    gid: 0,
  });
  return inode.ino;
}

/** Microseconds of each of `count` commands, one after another, and the nodes' processor time for one. */
async function latencies(
  cluster: BenchCluster,
  count: number,
): Promise<{ times: number[]; cpuUs: number }> {
  const client = cluster.client('bench-one');
  try {
    const ino = await makeFile(client, 'one');
    const times: number[] = [];
    let cpuBeforeMs = 0;
    for (let i = 0; i < count + WARM_UP; i++) {
      if (i === WARM_UP) cpuBeforeMs = cluster.cpuMs();
      const start = performance.now();
      await client.execute<'write'>({
        type: 'write',
        ino,
        offset: 0,
        data: Buffer.alloc(COMMAND_BYTES, i),
      });
      if (i >= WARM_UP) times.push((performance.now() - start) * 1000);
    }
    return { times, cpuUs: ((cluster.cpuMs() - cpuBeforeMs) * 1000) / count };
  } finally {
    await client.close();
  }
}

/** Commits a second of `count` clients, each with one command at a time. */
async function throughput(cluster: BenchCluster, count: number): Promise<number> {
  const load = await Load.start(cluster, count);
  try {
    await load.rate(MANY_WARM_UP_SECONDS);
    return await load.rate(MANY_SECONDS);
  } finally {
    await load.end();
  }
}

/** Clients that write to files of their own. */
export class Load {
  private constructor(
    private readonly clients: readonly FilesystemClient[],
    private readonly files: readonly number[],
  ) {}

  static async start(cluster: BenchCluster, count: number): Promise<Load> {
    const clients = Array.from({ length: count }, (_, i) => cluster.client(`bench-${i}`));
    const files = await Promise.all(clients.map((client, i) => makeFile(client, `many-${i}`)));
    return new Load(clients, files);
  }

  /** Commits a second while every client has one command on its way, for so long. */
  async rate(seconds: number): Promise<number> {
    const start = performance.now();
    const end = start + seconds * 1000;
    let done = 0;
    await Promise.all(
      this.clients.map(async (client, i) => {
        const ino = this.files[i] ?? 0;
        while (performance.now() < end) {
          const data = Buffer.alloc(COMMAND_BYTES, i);
          await client.execute<'write'>({ type: 'write', ino, offset: 0, data });
          done++;
        }
      }),
    );
    return done / ((performance.now() - start) / 1000);
  }

  /** So many commits a second, evenly, for so long; fewer when the cluster cannot. */
  async pace(perSecond: number, seconds: number): Promise<void> {
    const start = performance.now();
    const stepMs = (1000 * this.clients.length) / perSecond;
    await Promise.all(
      this.clients.map(async (client, i) => {
        const ino = this.files[i] ?? 0;
        const firstMs = (i * stepMs) / this.clients.length;
        for (let dueMs = firstMs; dueMs < seconds * 1000; dueMs += stepMs) {
          const waitMs = start + dueMs - performance.now();
          if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
          const data = Buffer.alloc(COMMAND_BYTES, i);
          await client.execute<'write'>({ type: 'write', ino, offset: 0, data });
        }
      }),
    );
  }

  async end(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
  }
}
