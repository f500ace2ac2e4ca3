import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';
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
/** Before the samples, so that all processes run compiled code, as they do in service. */
const WARM_UP = 2000;
const CLIENTS = 64;
const MANY_SECONDS = 5;

/** Commit latency against what the hardware needs at least: one disk sync and one round trip. */
export async function benchCommits(cluster: BenchCluster): Promise<string> {
  const syncUs = medianSync(join(cluster.root, 'sync-probe'));
  const roundTripUs = await medianRoundTrip();
  const cpuBefore = cpuMs(cluster);
  const one = await latencies(cluster, SAMPLES);
  const cpuUs = ((cpuMs(cluster) - cpuBefore) * 1000) / (SAMPLES + WARM_UP);
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
  for (let i = 0; i < 2000; i++) {
    const start = performance.now();
    const answered = new Promise((done) => socket.once('message', done));
    socket.send(message);
    await answered;
    times.push((performance.now() - start) * 1000);
  }
  socket.close();
  echo.stdin.end();
  await once(echo, 'exit');
  return median(times);
}

/** What the nodes have used by now: proc_pid_stat(5), utime and stime, in ticks of 10 ms. */
function cpuMs(cluster: BenchCluster): number {
  return cluster.nodes.reduce((sum, node) => {
    const stat = readFileSync(`/proc/${node?.pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) * 10;
  }, 0);
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

/** Microseconds of each of `count` commands, one after another. */
async function latencies(cluster: BenchCluster, count: number): Promise<number[]> {
  const client = cluster.client('bench-one');
  try {
    const ino = await makeFile(client, 'one');
    const times: number[] = [];
    for (let i = 0; i < count + WARM_UP; i++) {
      const start = performance.now();
      await client.execute<'write'>({
        type: 'write',
        ino,
        offset: 0,
        data: Buffer.alloc(COMMAND_BYTES, i),
      });
      if (i >= WARM_UP) times.push((performance.now() - start) * 1000);
    }
    return times;
  } finally {
    await client.close();
  }
}

/** Commits a second of `count` clients, each with one command at a time. */
async function throughput(cluster: BenchCluster, count: number): Promise<number> {
  const clients = Array.from({ length: count }, (_, i) => cluster.client(`bench-${i}`));
  try {
    const files = await Promise.all(clients.map((client, i) => makeFile(client, `many-${i}`)));
    const end = performance.now() + MANY_SECONDS * 1000;
    const start = performance.now();
    let done = 0;
    await Promise.all(
      clients.map(async (client, i) => {
        const ino = files[i] ?? 0;
        while (performance.now() < end) {
          await client.execute<'write'>({
            type: 'write',
            ino,
            offset: 0,
            data: Buffer.alloc(COMMAND_BYTES, i),
          });
          done++;
        }
      }),
    );
    return done / ((performance.now() - start) / 1000);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}
