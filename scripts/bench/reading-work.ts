import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Looks at the files below the named directory; prints one JSON object: row name to figure. */
const [root = ''] = process.argv.slice(2);
const FILES = 500;
const ROUNDS = 20;
const buffer = Buffer.alloc(4096);

const rows: Record<string, () => number> = {
  'stat of cached files, a second': () => cached((path) => statSync(path)),
  'open, read and close of cached files, a second': () =>
    cached((path) => {
      const fd = openSync(path, 'r');
      readSync(fd, buffer, 0, buffer.length, 0);
      closeSync(fd);
    }),
  'stat of names that are not there, a second': () =>
    cached((path) => statSync(`${path}-not`, { throwIfNoEntry: false })),
  'ls -l of 10,000 files, cold, s': () => cold(() => run('ls', ['-l', join(root, 'm1')])),
  'ls -l of 10,000 files, warm, s': () => seconds(() => run('ls', ['-l', join(root, 'm1')])),
  'find -size of 100,000 files, cold, s': () => cold(find),
  'find -size of 100,000 files, warm, s': () => seconds(find),
};

/** Of a few files, again and again, after a first round. */
function cached(look: (path: string) => unknown): number {
  const paths = Array.from({ length: FILES }, (_, i) => join(root, 'm0', `f${i}`));
  for (const path of paths) look(path);
  const took = seconds(() => {
    for (let round = 0; round < ROUNDS; round++) for (const path of paths) look(path);
  });
  return (FILES * ROUNDS) / took;
}

function cold(work: () => void): number {
  // 3: pages, names and inodes (proc_sys_vm(5)).
  writeFileSync('/proc/sys/vm/drop_caches', '3');
  return seconds(work);
}

function find(): void {
  run('find', [root, '-type', 'f', '-size', '+1000000']);
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function seconds(work: () => unknown): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

process.stdout.write(
  JSON.stringify(Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, row()]))),
);
