import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * The programs' work that is measured, on the directory that is named: the same for a mount and
 * for the local disk. A process of its own, so that nobody uses a mount that it serves.
 * Prints one JSON object: row name to figure.
 */
const [directory = '', tarball = '', names = ''] = process.argv.slice(2);
const base = join(directory, `work-${process.pid}`);
const MIB = 2 ** 20;
/** Written and removed before anything is measured: a service that runs for days runs compiled code. */
const WARM_UP_FILES = 2000;
const EMPTY_FILES = 1000;
const SYNCED_FILES = 300;
const WRITERS = 16;
const FILES_A_WRITER = 50;
const STREAM_MIB = 256;
const SQLITE_ROWS = 150;

/** A program with a thread for each of its writers; prints the seconds that they took. */
const WRITE_TOGETHER = `
  const { open } = require('fs/promises');
  const data = Buffer.alloc(4096, 1);
  const write = async (w) => {
    for (let i = 0; i < ${FILES_A_WRITER}; i++) {
      const file = await open(process.argv[1] + '/' + w + '-' + i, 'w');
      await file.write(data);
      await file.sync();
      await file.close();
    }
  };
  const start = performance.now();
  Promise.all(Array.from({ length: ${WRITERS} }, (_, w) => write(w))).then(() =>
    process.stdout.write(String((performance.now() - start) / 1000)));`;

const rows: Record<string, () => number> = {
  'create, empty files/s': () => {
    const dir = fresh('create');
    const s = seconds(() => {
      for (let i = 0; i < EMPTY_FILES; i++) closeSync(openSync(join(dir, `f${i}`), 'w'));
    });
    return EMPTY_FILES / s;
  },
  '4 KiB + fsync, files/s': () => {
    const dir = fresh('synced');
    const data = Buffer.alloc(4096, 1);
    const s = seconds(() => {
      for (let i = 0; i < SYNCED_FILES; i++) {
        const fd = openSync(join(dir, `f${i}`), 'w');
        writeSync(fd, data);
        fsyncSync(fd);
        closeSync(fd);
      }
    });
    return SYNCED_FILES / s;
  },
  '4 KiB + fsync, 16 writers, files/s': () => {
    const dir = fresh('writers');
    const env = { ...process.env, UV_THREADPOOL_SIZE: String(WRITERS) };
    const took = execFileSync(process.execPath, ['-e', WRITE_TOGETHER, dir], { env });
    return (WRITERS * FILES_A_WRITER) / Number(took.toString());
  },
  'write 256 MiB, MiB/s': () => {
    const file = join(fresh('stream'), 'big');
    const block = Buffer.alloc(MIB, 7);
    const s = seconds(() => {
      const fd = openSync(file, 'w');
      for (let i = 0; i < STREAM_MIB; i++) {
        block.writeUInt32LE(i, 0);
        writeSync(fd, block);
      }
      fdatasyncSync(fd);
      closeSync(fd);
    });
    return STREAM_MIB / s;
  },
  'read 256 MiB, MiB/s': () => {
    const file = join(base, 'stream', 'big');
    dropCaches();
    const block = Buffer.alloc(MIB);
    const s = seconds(() => {
      const fd = openSync(file, 'r');
      for (let i = 0; i < STREAM_MIB; i++) {
        readSync(fd, block, 0, MIB, i * MIB);
        if (block.readUInt32LE(0) !== i) throw new Error(`wrong bytes at ${i} MiB`);
      }
      closeSync(fd);
    });
    return STREAM_MIB / s;
  },
  'tar x, files/s': () => {
    const dir = fresh('tar');
    return files() / seconds(() => run('tar', ['xf', tarball, '-C', dir]));
  },
  'git add + commit, s': () => {
    const dir = join(base, 'tar');
    run('git', ['-C', dir, 'init', '-q']);
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.com', '-c', 'gc.auto=0'];
    return seconds(() => {
      run('git', ['-C', dir, ...identity, 'add', '.']);
      run('git', ['-C', dir, ...identity, 'commit', '-qm', 'all']);
    });
  },
  'rm -rf, files/s': () => {
    rmSync(join(base, 'tar', '.git'), { recursive: true, force: true });
    return files() / seconds(() => run('rm', ['-rf', join(base, 'tar')]));
  },
  'sqlite, one-row commits/s': () => {
    const db = join(fresh('sqlite'), 'db');
    run('sqlite3', [db, 'create table t(a integer primary key, b text)']);
    const sql = Array.from(
      { length: SQLITE_ROWS },
      (_, i) => `insert into t(b) values('row ${i}');`,
    );
    return SQLITE_ROWS / seconds(() => execFileSync('sqlite3', [db], { input: sql.join('\n') }));
  },
};

function warmUp(): void {
  const dir = fresh('warm-up');
  const data = Buffer.alloc(4096, 1);
  for (let i = 0; i < WARM_UP_FILES; i++) {
    const file = join(dir, `f${i}`);
    writeFileSync(file, data);
    readFileSync(file);
    if (i % 2 === 0) rmSync(file);
  }
  rmSync(dir, { recursive: true });
}

function seconds(work: () => unknown): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

function fresh(name: string): string {
  const dir = join(base, name);
  mkdirSync(dir, { recursive: true });
  return dir;
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function files(): number {
  return Number(process.env.MOOTFS_BENCH_FILES);
}

/** So that a read comes from the filesystem and not from what the write left in memory. */
function dropCaches(): void {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  } catch {
    // Not root: the figure then shows the cache, for both sides alike.
  }
}

const result: Record<string, number> = {};
mkdirSync(base, { recursive: true });
try {
  warmUp();
  for (const [name, work] of Object.entries(rows)) {
    if (names !== '' && !names.split(',').some((part) => name.includes(part))) continue;
    result[name] = work();
  }
} finally {
  rmSync(base, { recursive: true, force: true });
}
process.stdout.write(`${JSON.stringify(result)}\n`);
