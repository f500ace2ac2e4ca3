import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderTable } from '../../src/cli/table.js';
import type { BenchCluster } from './cluster.js';
import { makeFiles } from './files.js';

const WORK = fileURLToPath(new URL('reading-work.js', import.meta.url));
const DIRECTORIES = 10;
const FILES_PER_DIRECTORY = 10_000;

/**
 * Looking at what is there: on a mount, through a filesystem of another make that only passes on to
 * the local disk (bindfs, where it is installed), and on that disk itself.
 */
export async function benchReading(cluster: BenchCluster): Promise<string> {
  const mount = await cluster.mount(0);
  await makeFiles(cluster, DIRECTORIES * FILES_PER_DIRECTORY, FILES_PER_DIRECTORY);
  const local = join(cluster.root, 'local');
  makeLocalFiles(local);
  const passed = join(cluster.root, 'passed');
  mkdirSync(passed);
  const isPassed = spawnSync('bindfs', [local, passed]).status === 0;
  try {
    const onMount = work(mount);
    const onPassed = isPassed ? work(passed) : {};
    const onDisk = work(local);
    const table = Object.entries(onMount).map(([row, value]) => [
      row,
      ...[value, onPassed[row], onDisk[row]].map((one) => one?.toPrecision(3) ?? '-'),
      onPassed[row] === undefined ? '-' : (value / onPassed[row]).toPrecision(2),
    ]);
    const header = ['READING', 'MOOTFS', 'BINDFS', 'LOCAL DISK', 'MOOTFS / BINDFS'];
    return `${renderTable(header, table)}\n`;
  } finally {
    if (isPassed) execFileSync('umount', [passed]);
  }
}

function makeLocalFiles(local: string): void {
  for (let d = 0; d < DIRECTORIES; d++) {
    const directory = join(local, `m${d}`);
    mkdirSync(directory, { recursive: true });
    for (let i = 0; i < FILES_PER_DIRECTORY; i++) {
      writeFileSync(join(directory, `f${i}`), `file ${i}`);
    }
  }
}

/** In a process of its own: nobody uses a mount that it serves. */
function work(directory: string): Record<string, number> {
  const output = execFileSync(process.execPath, [WORK, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output.toString()) as Record<string, number>;
}
