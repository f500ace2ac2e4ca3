import { mkdir, rm } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { comparable, SystemCalls } from '../support/syscalls.js';
import type { Abilities, Step } from './steps.js';

/** One of the two filesystems: the same directory, by each of its mounts. */
export interface Place {
  /** A local filesystem has one path for all of its "mounts". */
  readonly mounts: readonly string[];
}

/** A call that the two places answered differently. */
export interface Difference {
  readonly at: number;
  readonly step: Step;
  readonly mootfs: string;
  readonly local: string;
}

/** Users of the processes on each mount; undefined: root. */
const USERS = [undefined, 1000] as const;

export function processesOf(mounts: number): number {
  return mounts * USERS.length;
}

/** Moments before this one were given by a program, and are the same everywhere. */
const GIVEN_BEFORE_SEC = 1_000_000_000;

/**
 * Since Linux 6.13 local filesystems give every change that somebody could tell apart a time of its
 * own; before, changes within one tick of the clock have the same.
 */
const FINE_LOCAL_TIMES = isAtLeast(release(), 6, 13);

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return a > major || (a === major && b >= minor);
}

/** S_IFIFO, and the twelve bits of a mode. */
const IS_FIFO = /^= mode 1[0-7]{4} /;

let runs = 0;

/** Makes all calls at both places, side by side, in new directories; the first difference, or null. */
export async function compareRun(
  program: string,
  mootfs: Place,
  local: Place,
  steps: readonly Step[],
  abilities: Abilities,
): Promise<Difference | null> {
  const name = `run-${process.pid}-${runs++}`;
  const sides = [new Side(program, mootfs, name), new Side(program, local, name)] as const;
  await Promise.all(sides.map((side) => side.start()));
  try {
    const [one, other] = sides;
    let isFrozen = false;
    for (const [at, step] of steps.entries()) {
      const [a, b] = await Promise.all([
        one.call(step, abilities.manyMounts),
        other.call(step, false),
      ]);
      isFrozen ||= FREEZES.test(step.call);
      if (a !== b && isOutOfReach(step, a, b, isFrozen)) return null;
      if (a !== b && !mayDiffer(step, a, b, isFrozen)) return { at, step, mootfs: a, local: b };
      const times =
        timesDifference(one.changed, other.changed) ??
        timesDifference(one.givenAtime, other.givenAtime);
      if (times !== null)
        return { at, step, mootfs: `${a} (${times[0]})`, local: `${b} (${times[1]})` };
    }
    return null;
  } finally {
    await Promise.all(sides.map((side) => side.end()));
  }
}

/** Where the kernel itself makes a difference before any FUSE filesystem is asked. */
const MAY_DIFFER: readonly {
  readonly call: RegExp;
  readonly mootfs: RegExp;
  readonly local: RegExp;
}[] = [
  // nodev comes before the question whether there is such a device.
  { call: /^(open|[gs]etflags) /, mootfs: /^! EACCES/, local: /^! ENXIO/ },
];

/**
 * Of a local inode the kernel knows that it is immutable, or may only be appended to, and says EPERM before it looks
 * for rights, or for a directory. Of a FUSE inode it does not, and asks last.
 */
const SAID_BEFORE = /^! E(ACCES|ISDIR|NOTDIR|NODATA|EXIST|INVAL)/;
/**
 * Nobody is asked whether a mode allows something (generic_permission), or to remove a default ACL of what is no
 * directory: it is never there (set_posix_acl).
 */
const ASKS_NOBODY = /^(access .*|removexattr \S+ system.posix_acl_default)$/;
const WRITES = /^(p?write|mwrite|copy|fallocate|ftruncate|fsync) /;
const FREEZES = /^setflags \S+ [1-9]/;

/**
 * What the kernel decides by what it has, and another mount has changed. The two go different ways from there, so
 * that is the end.
 * - A directory in use that another mount has moved: in rename(2) between two directories the kernel cannot move what
 *   it has of it (__d_unalias). A local filesystem may have renamed it.
 * - An open file that another mount has made set-user-ID, or that is so no longer since it was truncated: linkat(2) of a
 *   descriptor asks nobody for its mode (may_linkat).
 * - Files open before an inode was made immutable: what is written by them is refused when it is sent, as fsync(2) tells.
 * - fcntl(2) that takes O_APPEND from a file of an inode that may only be appended to: no FUSE filesystem is told.
 */
function isOutOfReach({ call }: Step, mootfs: string, local: string, isFrozen: boolean): boolean {
  const isRefused = [mootfs, local].some((one) => one.startsWith('! EPERM'));
  if (call.startsWith('linkfd ')) return isRefused;
  if (isFrozen && WRITES.test(call)) return isRefused;
  if (call.startsWith('setfl ')) return isRefused;
  return call.startsWith('rename ') && mootfs.startsWith('! ESTALE');
}

function mayDiffer({ call }: Step, mootfs: string, local: string, isFrozen: boolean): boolean {
  if (
    isFrozen &&
    local.startsWith('! EPERM') &&
    (SAID_BEFORE.test(mootfs) || ASKS_NOBODY.test(call))
  )
    return true;
  if (withoutSetGroupId(mootfs) === local) return true;
  return MAY_DIFFER.some(
    (known) => known.call.test(call) && known.mootfs.test(mootfs) && known.local.test(local),
  );
}

/** Setting an attribute to what it is: ext4 does nothing then (ext4_xattr_value_same), others do. */
const SET_AGAIN = ', something was set again';

/** A local filesystem may give two changes the same time; mootfs never does. */
function timesDifference(
  mootfs: string | null,
  local: string | null,
): readonly [string, string] | null {
  if (mootfs === null || local === null || mootfs === local) return null;
  if (mootfs.replace('ctime new', 'ctime same') === local && local.endsWith(SET_AGAIN)) return null;
  if (!FINE_LOCAL_TIMES && local.includes('same') && mootfs.includes('new')) return null;
  return [mootfs, local];
}

/** One place with its processes. */
class Side {
  /** Which of ctime and mtime the last answer shows anew; null: it showed none. */
  changed: string | null = null;
  /** The access time of the last answer, when a program had set it and no read has moved it. */
  givenAtime: string | null = null;
  readonly #processes: SystemCalls[] = [];
  readonly #directories: readonly string[];
  readonly #times = new Map<string, { readonly times: readonly string[]; readonly sets: number }>();
  /** Calls that set an extended attribute, and how often one was made again. */
  readonly #sets = new Set<string>();
  #setsAgain = 0;

  constructor(
    private readonly program: string,
    place: Place,
    name: string,
  ) {
    // One deeper: links lead to the directory above, and what is there is removed, too.
    this.#directories = place.mounts.map((mount) => join(mount, name, 'in'));
  }

  async start(): Promise<void> {
    const [first = ''] = this.#directories;
    // Made by another process: this one may serve no mount, but it keeps to the rule.
    await mkdir(first, { mode: 0o777, recursive: true });
    for (const directory of this.#directories) {
      for (const user of USERS) {
        this.#processes.push(new SystemCalls(this.program, directory, user));
      }
    }
    const [root] = this.#processes;
    await root?.call('chmod . 0777');
  }

  async call({ process, call }: Step, settle: boolean): Promise<string> {
    const caller = this.#processes[process];
    if (caller === undefined) throw new Error(`there is no process ${process}`);
    const [name = '', slot = '', ...rest] = call.split(' ');
    // The kernel copies no further than where it last heard that the file ends.
    if (settle && name === 'copy') await caller.call(`fstat ${slot}`);
    const answer = await caller.call(call);
    // A local filesystem wants O_DIRECT aligned, and all its users share one cache anyway.
    if (settle && (name === 'open' || name === 'setfl')) await caller.call(`direct ${slot}`);
    // Other mounts see what was written when it is committed.
    if (settle && /^(p?write)$/.test(name)) await caller.call(`fsync ${slot}`);
    if (settle && name === 'copy') await caller.call(`fsync ${call.split(' ')[3]}`);
    if (/^set(xattr|acl)$/.test(name) && answer.startsWith('=')) {
      // By whatever name of the inode.
      const value = `${name} ${rest.join(' ')}`;
      if (this.#sets.has(value)) this.#setsAgain++;
      this.#sets.add(value);
    }
    const atime = / a (\S+) m/.exec(answer)?.[1] ?? 'none';
    this.givenAtime = isGiven(atime) ? atime : null;
    this.changed = name === 'stat' || name === 'fstat' ? this.#compareTimes(answer) : null;
    return `${withoutMark(comparable(answer))}${givenTime(answer)}`;
  }

  /** Whether the inode's ctime and mtime are others than the last time that somebody looked. */
  #compareTimes(answer: string): string | null {
    const found = / ino (\S+) .* m (\S+) c (\S+)/.exec(answer);
    // What goes through a FIFO is the kernel's alone, and moves no time of a FUSE inode.
    if (found === null || IS_FIFO.test(answer)) return null;
    const [, ino = '', ...times] = found;
    const before = this.#times.get(ino);
    this.#times.set(ino, { times, sets: this.#setsAgain });
    if (before === undefined) return null;
    const [m, c] = times.map((time, i) => (time === before.times[i] ? 'same' : 'new'));
    return `mtime ${m}, ctime ${c}${before.sets === this.#setsAgain ? '' : SET_AGAIN}`;
  }

  async end(): Promise<void> {
    await this.#processes[0]?.call('thaw');
    await Promise.all(this.#processes.map((process) => process.end()));
    const [first = ''] = this.#directories;
    await rm(dirname(first), { recursive: true, force: true });
  }
}

/**
 * Set-group-ID without group execution gives no privilege. By fuse.h (FUSE_HANDLE_KILLPRIV_V2) a write
 * leaves it; local filesystems do so only for members of the file's group, of which FUSE says nothing.
 */
function withoutMark(answer: string): string {
  return changedMode(answer, (bits) => ((bits & 0o2010) === 0o2000 ? bits & ~0o2000 : bits));
}

/** ... and what has been left shows when somebody lets the group execute the file. */
function withoutSetGroupId(answer: string): string {
  return changedMode(answer, (bits) => bits & ~0o2000);
}

/** An answer about a regular file, with other permission bits. */
function changedMode(answer: string, change: (bits: number) => number): string {
  return answer.replace(/(?<=^= mode 10)[0-7]{4}/, (digits) =>
    change(Number.parseInt(digits, 8)).toString(8).padStart(4, '0'),
  );
}

/** The modification time of an answer, where a program had set it, and no FIFO's, see above. */
function givenTime(answer: string): string {
  if (IS_FIFO.test(answer)) return '';
  const mtime = / m (\S+)/.exec(answer)?.[1] ?? 'none';
  return isGiven(mtime) ? ` mtime ${mtime}` : '';
}

function isGiven(time: string): boolean {
  return Number(time) < GIVEN_BEFORE_SEC;
}

/** The fewest of the steps that still differ, as far as removing some shows within `triesMax`. */
export async function shrink(
  steps: readonly Step[],
  found: Difference,
  differs: (steps: readonly Step[]) => Promise<Difference | null>,
  triesMax: number,
): Promise<{ readonly steps: readonly Step[]; readonly difference: Difference }> {
  let difference = found;
  let least = steps.slice(0, difference.at + 1);
  let tries = 0;
  for (let size = Math.ceil(least.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < least.length - 1 && tries < triesMax; ) {
      const fewer = [...least.slice(0, at), ...least.slice(at + size)];
      tries++;
      const still = fewer.length > 0 ? await differs(fewer) : null;
      if (still === null) {
        at += size;
      } else {
        least = fewer.slice(0, still.at + 1);
        difference = still;
      }
    }
  }
  return { steps: least, difference };
}
