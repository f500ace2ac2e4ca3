import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderTable } from '../../src/cli/table.js';
import type { BenchCluster } from './cluster.js';

const WORK = fileURLToPath(new URL('work.js', import.meta.url));
const PACKAGES = fileURLToPath(new URL('../../../node_modules', import.meta.url));
const TREE_FILES = 3000;

/** The same work on a mount and on the local disk below it, side by side. */
export async function benchMount(cluster: BenchCluster, rows: string): Promise<string> {
  const mount = await cluster.mount(0);
  const local = join(cluster.root, 'local');
  mkdirSync(local);
  const tarball = packTree(cluster.root);
  const onMount = await runWork(mount, tarball, rows);
  const onDisk = await runWork(local, tarball, rows);
  const table = Object.keys(onMount).map((name) => {
    const a = onMount[name] ?? Number.NaN;
    const b = onDisk[name] ?? Number.NaN;
    return [name, figure(a), figure(b), (a / b).toPrecision(2)];
  });
  return `${renderTable(['ON A MOUNT', 'MOOTFS', 'LOCAL DISK', 'RATIO'], table)}\n`;
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** A real package tree: the first 3,000 files of this project's own dependencies. */
function packTree(root: string): string {
  const list = readdirSync(PACKAGES, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(PACKAGES.length + 1))
    .sort()
    .slice(0, TREE_FILES);
  const names = join(root, 'tree.list');
  writeFileSync(names, list.join('\n'));
  const tarball = join(root, 'tree.tar');
  execFileSync('tar', ['cf', tarball, '-C', PACKAGES, '-T', names]);
  return tarball;
}

async function runWork(
  directory: string,
  tarball: string,
  rows: string,
): Promise<Record<string, number>> {
  const env = { ...process.env, MOOTFS_BENCH_FILES: String(TREE_FILES) };
  const child = spawn(process.execPath, [WORK, directory, tarball, rows], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
  });
  const code = await new Promise((done) => child.once('close', done));
  if (code !== 0) throw new Error(`the work on ${directory} ended with ${code}`);
  return JSON.parse(output) as Record<string, number>;
}
