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
 * Looking at what is there: on mounts at the levels strong and session, through a filesystem of another
 * make that only passes on to the local disk (bindfs, where it is installed), and on that disk itself.
 */
export async function benchReading(cluster: BenchCluster): Promise<string> {
  const mount = await cluster.mount(0);
  const atSession = await cluster.mount(1, '--level', 'session');
  await makeFiles(cluster, DIRECTORIES * FILES_PER_DIRECTORY, FILES_PER_DIRECTORY);
  const local = join(cluster.root, 'local');
  makeLocalFiles(local);
  const passed = join(cluster.root, 'passed');
  mkdirSync(passed);
  const isPassed = spawnSync('bindfs', [local, passed]).status === 0;
  try {
    const strong = work(mount);
    const session = work(atSession);
    const onPassed = isPassed ? work(passed) : {};
    const onDisk = work(local);
    const places = [strong, session, onPassed, onDisk];
    const table = Object.keys(strong).map((row) => [
      row,
      ...places.map((place) => place[row]?.toPrecision(3) ?? '-'),
      ...[strong, session].map((place) => ratio(place[row], onPassed[row])),
    ]);
    const ratios = ['STRONG / BINDFS', 'SESSION / BINDFS'];
    const header = ['READING', 'STRONG', 'SESSION', 'BINDFS', 'LOCAL DISK', ...ratios];
    return `${renderTable(header, table)}\n`;
  } finally {
    if (isPassed) execFileSync('umount', [passed]);
  }
}

function ratio(one: number | undefined, other: number | undefined): string {
  return one === undefined || other === undefined ? '-' : (one / other).toPrecision(2);
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
