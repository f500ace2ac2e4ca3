import { type ChildProcess, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderTable } from '../../src/cli/table.js';
import type { BenchCluster } from './cluster.js';
import { makeFiles } from './files.js';

const FILES = 100_000;
const FILES_PER_DIRECTORY = 500;
const MIB_WRITTEN = 2048;

/** Resident memory of every process after the start, after many files, and after many bytes. */
export async function benchMemory(cluster: BenchCluster): Promise<string> {
  const mount = await cluster.mount(0);
  const names = [...cluster.nodes.map((_, i) => `node n${i + 1}`), 'mount'];
  const columns = [measure(cluster)];
  await makeFiles(cluster, FILES, FILES_PER_DIRECTORY);
  execFileSync('find', [mount, '-type', 'f', '-size', '+1000000'], { stdio: 'inherit' });
  columns.push(measure(cluster));
  runNode(
    `const fs = require('fs'); const block = Buffer.alloc(1 << 20, 5);
     for (let i = 0; i < ${MIB_WRITTEN / 256}; i++) {
       const fd = fs.openSync(process.argv[1] + '/big', 'w');
       for (let k = 0; k < 256; k++) fs.writeSync(fd, block);
       fs.closeSync(fd);
     }`,
    mount,
  );
  columns.push(measure(cluster));
  const header = ['MEMORY, MiB', 'AFTER START', `AFTER ${FILES} FILES`, `AFTER ${MIB_WRITTEN} MiB`];
  return `${renderTable(
    header,
    names.map((name, i) => [name, ...columns.map((column) => String(column[i] ?? ''))]),
  )}\n`;
}

function measure(cluster: BenchCluster): number[] {
  return [...cluster.nodes, ...cluster.mounts].map(residentMiB);
}

/** proc_pid_status(5), VmRSS. */
export function residentMiB(child: ChildProcess | null): number {
  const status = readFileSync(join('/proc', String(child?.pid), 'status'), 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

function runNode(script: string, ...args: readonly string[]): void {
  execFileSync(process.execPath, ['-e', script, ...args], { stdio: 'inherit' });
}
