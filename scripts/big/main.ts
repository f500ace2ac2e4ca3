import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { BenchCluster } from '../bench/cluster.js';
import { residentMiB } from '../bench/memory.js';

/**
 * `make big`: one directory with ENTRIES (1,000,000) files through a mount: made, listed, looked at,
 * removed. Prints the rate of each tenth and the resident memory of the mount and the nodes, and
 * fails where the last tenth has less than a third of the first one's rate, or a process has grown by
 * more than it may. As root.
 */
const ENTRIES = Number(process.env.ENTRIES ?? 1_000_000);
const SLOWER_AT_MOST = 3;
/** What a process may need for work of any kind: caches, write buffers, garbage that is not collected yet. */
const GROWTH_MIB_MAX = 384;
/** And for each entry: the mount has what the kernel knows, a node what it may cache. */
const GROWTH_BYTES_PER_ENTRY_MAX = 1_024;
const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

if (!Number.isSafeInteger(ENTRIES / 10) || ENTRIES < 10_000) {
  throw new Error(`ENTRIES=${process.env.ENTRIES}: 10000 or more, and ten divides it`);
}

const failures: string[] = [];
const cluster = await BenchCluster.start(3);
try {
  const mount = await cluster.mount(0);
  const directory = join(mount, 'big');
  // Made by another process: this one may not touch a mount and wait.
  execFileSync('mkdir', [directory]);
  await work(directory);
  await cluster.waitForAgreement();
} finally {
  await cluster.stop();
}
for (const failure of failures) process.stdout.write(`FAILED: ${failure}\n`);
process.exit(failures.length > 0 ? 1 : 0);

async function work(directory: string): Promise<void> {
  const names = ['mount', ...cluster.nodes.map((_, i) => `n${i + 1}`)];
  const before = resident();
  const most = [...before];
  const first = new Map<string, number>();
  process.stdout.write(
    `${row(['', 'ENTRIES', 'A SECOND', ...names.map((name) => `${name} MiB`)])}`,
  );
  process.stdout.write(row(['start', '0', '', ...before.map(String)]));
  const child = spawn(process.execPath, [WORKER, directory, `${ENTRIES}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  for await (const line of createInterface(child.stdout)) {
    const [kind = '', entries = '', rate = ''] = line.split(' ');
    const now = resident();
    now.forEach((mib, i) => {
      most[i] = Math.max(most[i] ?? 0, mib);
    });
    process.stdout.write(row([kind, entries, rate, ...now.map(String)]));
    const atFirst = first.get(kind);
    if (atFirst === undefined) first.set(kind, Number(rate));
    else if (Number(entries) === ENTRIES && Number(rate) * SLOWER_AT_MOST < atFirst) {
      failures.push(`${kind}: ${rate} a second in the end, ${atFirst} at first`);
    }
  }
  const code = await ended;
  if (code !== 0) failures.push(`the program on the mount ended with ${code}`);
  const growthMax = Math.round(GROWTH_MIB_MAX + (ENTRIES * GROWTH_BYTES_PER_ENTRY_MAX) / 2 ** 20);
  names.forEach((name, i) => {
    const growth = (most[i] ?? 0) - (before[i] ?? 0);
    if (growth > growthMax) failures.push(`${name} grew by ${growth} MiB, more than ${growthMax}`);
  });
}

function resident(): number[] {
  return [...cluster.mounts, ...cluster.nodes].map((child) => residentMiB(child));
}

function row(cells: readonly string[]): string {
  return `${cells.map((cell, i) => (i === 0 ? cell.padEnd(8) : cell.padStart(10))).join('')}\n`;
}
