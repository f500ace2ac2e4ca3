import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { randomBetween, seededRandom } from '../../src/base/random.js';

/**
 * Changes something through one mount, and looks at it through the other right after: what is seen
 * must be the new state, whatever was seen, and may be kept, of the old one. One process, so that
 * nothing but the calls themselves says what comes first.
 *
 *     node worker.js SEED PROBES MOUNT MOUNT
 *
 * Prints a line for each stale answer, and in the end how many probes there were.
 */
const [seed = '1', wanted = '0', ...mounts] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const NAMES = 8;

/** What a path is by now, as far as a change has said so. */
interface State {
  readonly size: number;
  readonly mode: number;
  readonly mtimeSec: number | null;
  readonly nlink: number;
  readonly content: string;
}

const files = new Map<string, State>();
const directories = new Set<string>();
let probes = 0;
let stale = 0;
let steps = 0;

function one(): void {
  const writer = mounts[steps % 2] ?? '';
  const reader = mounts[(steps + 1) % 2] ?? '';
  const name = `f${randomBetween(random, 0, NAMES)}`;
  const other = `f${randomBetween(random, 0, NAMES)}`;
  // The reader's kernel has seen how it was.
  for (const seen of [name, other]) look(reader, seen);
  const open = openFor(reader, name);
  const what = change(writer, name, other);
  check(reader, name, what);
  if (other !== name) check(reader, other, what);
  if (open !== null) {
    const state = files.get(name);
    // O_DIRECT asks each time; of a file that was removed or replaced the name says nothing.
    if (state !== undefined && isContentChange(what)) {
      const buffer = Buffer.alloc(4096);
      const bytes = readSync(open, buffer, 0, buffer.length, 0);
      const right = state.content.slice(0, buffer.length);
      probe('read of an open file', what, buffer.toString('latin1', 0, bytes), right);
    }
    closeSync(open);
  }
  steps++;
}

function isContentChange(what: string): boolean {
  return what === 'append' || what === 'truncate' || what === 'overwrite';
}

function openFor(mount: string, name: string): number | null {
  if (!files.has(name) || random.next() < 0.7) return null;
  return openSync(join(mount, name), constants.O_RDONLY | constants.O_DIRECT);
}

function change(mount: string, name: string, other: string): string {
  const path = join(mount, name);
  const state = files.get(name);
  if (state === undefined) {
    if (directories.has(name)) {
      rmdirSync(path);
      directories.delete(name);
      return 'rmdir';
    }
    if (random.next() < 0.3) {
      mkdirSync(path);
      directories.add(name);
      return 'mkdir';
    }
    return write(path, name, 'create');
  }
  switch (randomBetween(random, 0, 8)) {
    case 0:
      unlinkSync(path);
      files.delete(name);
      if (state.nlink > 1) dropLink(state);
      return 'unlink';
    case 1: {
      if (directories.has(other) || other === name || state.nlink > 1) break;
      const replaced = files.get(other);
      renameSync(path, join(mount, other));
      if (replaced !== undefined && replaced.nlink > 1) dropLink(replaced);
      files.delete(name);
      files.set(other, state);
      return 'rename';
    }
    case 2: {
      const mode = 0o600 | randomBetween(random, 0, 0o100);
      chmodSync(path, mode);
      update(state, { ...state, mode });
      return 'chmod';
    }
    case 3: {
      const mtimeSec = 1_000_000_000 + randomBetween(random, 0, 1_000_000);
      utimesSync(path, mtimeSec, mtimeSec);
      update(state, { ...state, mtimeSec });
      return 'utimes';
    }
    case 4: {
      const size = randomBetween(random, 0, state.size + 1);
      truncateSync(path, size);
      const content = state.content.slice(0, size);
      update(state, { ...state, size, content, mtimeSec: null });
      return 'truncate';
    }
    case 5: {
      const more = text();
      appendFileSync(path, more);
      const content = state.content + more;
      update(state, { ...state, size: content.length, content, mtimeSec: null });
      return 'append';
    }
    case 6: {
      if (files.has(other) || directories.has(other) || state.nlink > 1) break;
      linkSync(path, join(mount, other));
      const linked = { ...state, nlink: 2 };
      files.set(name, linked);
      files.set(other, linked);
      return 'link';
    }
    default:
      break;
  }
  return write(path, name, 'overwrite');
}

function write(path: string, name: string, what: string): string {
  const content = text();
  writeFileSync(path, content, { mode: 0o644 });
  const state = files.get(name);
  const size = content.length;
  if (state === undefined) {
    files.set(name, { size, mode: 0o644, mtimeSec: null, nlink: 1, content });
  } else {
    update(state, { ...state, size, mtimeSec: null, content });
  }
  return what;
}

/** All names of the inode. */
function update(state: State, next: State): void {
  for (const [name, one] of files) if (one === state) files.set(name, next);
}

function dropLink(state: State): void {
  update(state, { ...state, nlink: state.nlink - 1 });
}

function text(): string {
  return `${steps}`.padEnd(1 + randomBetween(random, 0, 3000), '.').slice(0, 3000);
}

function look(mount: string, name: string): void {
  statSync(join(mount, name), { throwIfNoEntry: false });
  if (random.next() < 0.2) readdirSync(mount);
  if (files.has(name) && random.next() < 0.5) readFileSync(join(mount, name));
}

function check(mount: string, name: string, what: string): void {
  const path = join(mount, name);
  const state = files.get(name);
  const stat = statSync(path, { throwIfNoEntry: false });
  const isThere = state !== undefined || directories.has(name);
  probe('stat', what, stat !== undefined, isThere);
  if (random.next() < 0.25) {
    const wantedNames = [...files.keys(), ...directories].sort().join();
    probe('readdir', what, readdirSync(mount).sort().join(), wantedNames);
  }
  if (state === undefined || stat === undefined) return;
  const { size, mode, nlink, mtimeSec } = state;
  const seen = [stat.size, stat.mode & 0o777, stat.nlink];
  probe('attributes', what, seen.join(), [size, mode, nlink].join());
  if (mtimeSec !== null) probe('mtime', what, stat.mtimeMs / 1000, mtimeSec);
  probe('content', what, readFileSync(path, 'latin1'), state.content);
}

function probe(kind: string, what: string, seen: unknown, right: unknown): void {
  probes++;
  if (seen === right) return;
  stale++;
  const short = (value: unknown) => JSON.stringify(value).slice(0, 200);
  process.stdout.write(`stale ${kind} after ${what}: ${short(seen)}, not ${short(right)}\n`);
}

while (probes < Number(wanted)) one();
process.stdout.write(`${probes} probes after ${steps} changes, ${stale} stale\n`);
process.exitCode = stale === 0 ? 0 : 1;
