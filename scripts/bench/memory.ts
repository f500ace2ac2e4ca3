import { type ChildProcess, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderTable } from '../../src/cli/table.js';
import type { BenchCluster } from './cluster.js';
import { makeFiles } from './files.js';

const FILES = 100_000;
const FILES_PER_DIRECTORY = 500;
const MIB_WRITTEN = 2048;
const FILE_MIB = 256;

/**
 * Resident memory of every process after the start, after many files, and after many bytes; after as many again,
 * which have only made the log longer; and the most that it ever was.
 */
export async function benchMemory(cluster: BenchCluster): Promise<string> {
  const mount = await cluster.mount(0);
  const names = [...cluster.nodes.map((_, i) => `node n${i + 1}`), 'mount'];
  const columns = [measure(cluster)];
  await makeFiles(cluster, FILES, FILES_PER_DIRECTORY);
  execFileSync('find', [mount, '-type', 'f', '-size', '+1000000'], { stdio: 'inherit' });
  columns.push(measure(cluster));
  for (let times = 0; times < 2; times++) {
    write(mount);
    columns.push(measure(cluster));
  }
  columns.push(measure(cluster, 'VmHWM'));
  const header = [
    'MEMORY, MiB',
    'AFTER START',
    `AFTER ${FILES} FILES`,
    `AFTER ${MIB_WRITTEN} MiB`,
    `AFTER ${2 * MIB_WRITTEN} MiB`,
    'PEAK',
  ];
  return `${renderTable(
    header,
    names.map((name, i) => [name, ...columns.map((column) => String(column[i] ?? ''))]),
  )}\n`;
}

function write(mount: string): void {
  const script = `const fs = require('fs'); const block = Buffer.alloc(1 << 20, 5);
    for (let i = 0; i < ${MIB_WRITTEN / FILE_MIB}; i++) {
      const fd = fs.openSync(process.argv[1] + '/big', 'w');
      for (let k = 0; k < ${FILE_MIB}; k++) fs.writeSync(fd, block);
      fs.closeSync(fd);
    }`;
  execFileSync(process.execPath, ['-e', script, mount], { stdio: 'inherit' });
}

function measure(cluster: BenchCluster, figure?: Figure): number[] {
  return [...cluster.nodes, ...cluster.mounts].map((child) => residentMiB(child, figure));
}

/** proc_pid_status(5): what is resident now, or was at the peak. */
type Figure = 'VmRSS' | 'VmHWM';

export function residentMiB(child: ChildProcess | null, figure: Figure = 'VmRSS'): number {
  const status = readFileSync(join('/proc', String(child?.pid), 'status'), 'utf8');
  const found = new RegExp(`${figure}:\\s+(\\d+)`).exec(status);
  return Math.round(Number(found?.[1] ?? 0) / 1024);
}
