import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderTable } from '../../src/cli/table.js';
import { ROOT_INO } from '../../src/filesystem/records.js';
import type { BenchCluster } from './cluster.js';

const FILES = 100_000;
const FILES_PER_DIRECTORY = 500;
const MIB_WRITTEN = 2048;

/** Resident memory of every process after the start, after many files, and after many bytes. */
export async function benchMemory(cluster: BenchCluster): Promise<string> {
  const mount = await cluster.mount(0);
  const names = [...cluster.nodes.map((_, i) => `node n${i + 1}`), 'mount'];
  const columns = [measure(cluster)];
  await makeFiles(cluster);
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

/** Many small files, by a client that does not wait for each; a mount would take its time for them. */
async function makeFiles(cluster: BenchCluster): Promise<void> {
  const client = cluster.client('bench-files');
  const owner = { rdev: 0, uid: 0, gid: 0 };
  const makeNode = async (parent: number, name: string, mode: number) => {
    const made = client.execute<'make-node'>({
      type: 'make-node',
      parent,
      name: Buffer.from(name),
      mode,
      ...owner,
    });
    return (await made).inode.ino;
  };
  try {
    for (let d = 0; d < FILES / FILES_PER_DIRECTORY; d++) {
      const directory = await makeNode(ROOT_INO, `m${d}`, 0o040755);
      const files = Array.from({ length: FILES_PER_DIRECTORY }, async (_, i) => {
        const ino = await makeNode(directory, `f${i}`, 0o100644);
        const data = Buffer.from(`file ${i}`);
        await client.execute<'write'>({ type: 'write', ino, offset: 0, data });
      });
      await Promise.all(files);
    }
  } finally {
    await client.close();
  }
}

function measure(cluster: BenchCluster): number[] {
  return [...cluster.nodes, ...cluster.mounts].map((child) => {
    const status = readFileSync(join('/proc', String(child?.pid), 'status'), 'utf8');
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  });
}

function runNode(script: string, ...args: readonly string[]): void {
  execFileSync(process.execPath, ['-e', script, ...args], { stdio: 'inherit' });
}
