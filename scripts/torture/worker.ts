import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { blockValue, fill, withFile } from './blocks.js';
import { pick } from './choice.js';
import { BLOCK_BYTES, Recorder } from './history.js';
import { LargeWork } from './large-work.js';

/**
 * A program on a mount, one call after another: `worker.js work|prepare|final|probe|digest|read MOUNT
 * NAME SEED HISTORY STOP`. It works until the file STOP is there.
 */

const FILES = 3;
const BLOCKS = 4;
const DIRECTORIES = 2;
const NAMES = ['a', 'b', 'c'];
const APPENDS = 2;
const APPEND = constants.O_WRONLY | constants.O_APPEND;
/**
 * Between two pieces of large work: at least so long, and some times as long as the last one took, so
 * that small work goes on where the machine is slow.
 */
const LARGE_PAUSE_MS = 2_000;
const LARGE_PAUSE_TIMES = 4;
/** Room that was made is noticed by then. */
const PROBE_MS = 60_000;
/** After an answer that is none: the mount is gone for a while. */
const TROUBLE_MS = 100;

const [mode = '', mount = '', name = '', seed = '0', historyFile = '', stopFile = ''] =
  process.argv.slice(2);

function prepare(): void {
  for (let i = 0; i < FILES; i++) {
    const fd = openSync(join(mount, `blocks${i}`), 'w');
    writeSync(fd, Buffer.alloc(BLOCK_BYTES * BLOCKS));
    fsyncSync(fd);
    closeSync(fd);
  }
  for (let i = 0; i < DIRECTORIES; i++) mkdirSync(join(mount, `names${i}`));
  for (let i = 0; i < APPENDS; i++) closeSync(openSync(join(mount, `records${i}`), 'w'));
  new LargeWork(new Recorder(historyFile), mount, name).prepare();
}

function work(): void {
  const random = seededRandom(Number(seed));
  const recorder = new Recorder(historyFile);
  const large = new LargeWork(recorder, mount, name);
  let largeAtMs = 0;
  for (let generation = 1; !existsSync(stopFile); generation++) {
    const beginMs = performance.now();
    const isLarge = beginMs >= largeAtMs;
    let answer: string | null = null;
    if (isMounted())
      answer = isLarge ? large.step(random, generation) : step(recorder, random, generation);
    const endMs = performance.now();
    if (isLarge) largeAtMs = endMs + LARGE_PAUSE_MS + LARGE_PAUSE_TIMES * (endMs - beginMs);
    if (answer === null) pause(TROUBLE_MS);
  }
}

/**
 * After the death of its process the mount is unmounted for a moment: what is answered then comes from
 * the bare directory, which is another device, and is no answer.
 */
function isMounted(): boolean {
  try {
    return statSync(mount).dev !== statSync(dirname(mount)).dev;
  } catch {
    return false;
  }
}

function isMissing(code: string): boolean {
  return code === 'ENOENT' && isMounted();
}

type Step = (recorder: Recorder, random: Random, generation: number) => string | null;

const STEPS: readonly (readonly [weight: number, step: Step])[] = [
  [30, writeBlock],
  [30, (recorder, random) => readBlock(recorder, below(random, FILES), below(random, BLOCKS))],
  [7, (recorder, random) => create(recorder, below(random, DIRECTORIES), pick(random, NAMES))],
  [6, (recorder, random) => unlink(recorder, below(random, DIRECTORIES), pick(random, NAMES))],
  [5, rename],
  [7, (recorder, random) => stat(recorder, below(random, DIRECTORIES), pick(random, NAMES))],
  [15, append],
];

function step(recorder: Recorder, random: Random, generation: number): string | null {
  const total = STEPS.reduce((sum, [weight]) => sum + weight, 0);
  let luck = below(random, total);
  for (const [weight, action] of STEPS) {
    if (luck < weight) return action(recorder, random, generation);
    luck -= weight;
  }
  return null;
}

function writeBlock(recorder: Recorder, random: Random, generation: number): string | null {
  const file = `blocks${below(random, FILES)}`;
  const block = below(random, BLOCKS);
  const value = `${file}:${block}:${name}:${generation}`;
  return recorder.run(
    { type: 'write', object: `${file}:${block}`, value },
    () =>
      withFile(join(mount, file), 'r+', (fd) => {
        writeSync(fd, fill(value, BLOCK_BYTES), 0, BLOCK_BYTES, block * BLOCK_BYTES);
        fsyncSync(fd);
        return 'ok';
      }),
    never,
  );
}

function readBlock(recorder: Recorder, file: number, block: number): string | null {
  return recorder.run(
    { type: 'read', object: `blocks${file}:${block}` },
    () =>
      withFile(join(mount, `blocks${file}`), 'r', (fd) => {
        const data = Buffer.alloc(BLOCK_BYTES);
        const length = readSync(fd, data, 0, BLOCK_BYTES, block * BLOCK_BYTES);
        return blockValue(data.subarray(0, length));
      }),
    never,
  );
}

function create(recorder: Recorder, directory: number, entry: string): string | null {
  return recorder.run(
    { type: 'create', object: `names${directory}`, name: entry },
    () => withFile(join(mount, `names${directory}`, entry), 'wx', (fd) => inodeText(fstatSync(fd))),
    (code) => code === 'EEXIST' || code === 'ENOSPC',
  );
}

function unlink(recorder: Recorder, directory: number, entry: string): string | null {
  return recorder.run(
    { type: 'unlink', object: `names${directory}`, name: entry },
    () => {
      unlinkSync(join(mount, `names${directory}`, entry));
      return 'ok';
    },
    isMissing,
  );
}

function rename(recorder: Recorder, random: Random): string | null {
  const directory = `names${below(random, DIRECTORIES)}`;
  const from = pick(random, NAMES);
  const to = pick(
    random,
    NAMES.filter((other) => other !== from),
  );
  return recorder.run(
    { type: 'rename', object: directory, name: from, to },
    () => {
      renameSync(join(mount, directory, from), join(mount, directory, to));
      return 'ok';
    },
    (code) => isMissing(code) || code === 'ENOSPC',
  );
}

function stat(recorder: Recorder, directory: number, entry: string): string | null {
  return recorder.run(
    { type: 'stat', object: `names${directory}`, name: entry },
    () => inodeText(statSync(join(mount, `names${directory}`, entry))),
    isMissing,
  );
}

function append(recorder: Recorder, random: Random, generation: number): string | null {
  const file = `records${below(random, APPENDS)}`;
  const value = `${name}:${generation}`;
  return recorder.run(
    { type: 'append', object: file, value },
    () =>
      // Not made here: a bare directory must not take it.
      withFile(join(mount, file), APPEND, (fd) => {
        writeSync(fd, `${value}\n`);
        fsyncSync(fd);
        return 'ok';
      }),
    never,
  );
}

/** Everything once more, when all is well again. */
function final(): void {
  const recorder = new Recorder(historyFile);
  for (let file = 0; file < FILES; file++) {
    for (let block = 0; block < BLOCKS; block++) readBlock(recorder, file, block);
  }
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    for (const entry of NAMES) stat(recorder, directory, entry);
  }
  new LargeWork(recorder, mount, name).readAll();
}

/** Writes a file of its own; what is refused, for want of room perhaps, is tried again. */
function probe(): void {
  const endMs = performance.now() + PROBE_MS;
  const path = join(mount, `probe-${name}`);
  for (;;) {
    try {
      withFile(path, 'w', (fd) => {
        writeSync(fd, fill(name, BLOCK_BYTES));
        fsyncSync(fd);
        return 'ok';
      });
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
      pause(TROUBLE_MS);
    }
  }
}

/** One line for the whole tree: names, types, sizes and contents. */
function digest(): void {
  const hash = createHash('sha256');
  const walk = (directory: string) => {
    for (const entry of readdirSync(directory, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const path = join(directory, entry.name);
      hash.update(`${path.slice(mount.length)}\n${entry.isDirectory()}\n`);
      if (entry.isDirectory()) walk(path);
      else hash.update(`${inodeText(statSync(path))}\n`).update(readFileSync(path));
    }
  };
  walk(mount);
  process.stdout.write(`${hash.digest('hex')}\n`);
}

/** Prints one file. */
function read(): void {
  process.stdout.write(readFileSync(mount));
}

function inodeText(stat: { readonly ino: number }): string {
  return `inode ${stat.ino}`;
}

function never(): boolean {
  return false;
}

function below(random: Random, end: number): number {
  return randomBetween(random, 0, end);
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const MODES: Readonly<Record<string, () => void>> = {
  prepare,
  work,
  final,
  probe,
  digest,
  read,
};
MODES[mode]?.();
