import { type Random, randomBetween } from '../../src/base/random.js';

/** Which of the processes makes the call: on one of the mounts, as root or as a user. */
export interface Step {
  readonly process: number;
  readonly call: string;
}

/** What the two places can both do; found out before. */
export interface Abilities {
  readonly acls: boolean;
  readonly xattrs: boolean;
  readonly unnamedFiles: boolean;
  readonly inodeFlags: boolean;
  /**
   * More than one mount: files are read and written with O_DIRECT, so that no page is
   * older than a change.
   */
  readonly manyMounts: boolean;
}

const PATHS = ['a', 'b', 'c', 'd', 'e', 'd/a', 'd/b', 'd/e', 'e/a', 'd/e/a'];
const DIRECTORIES = ['d', 'e', 'd/e', 'c'];
const SLOTS = 4;
/** Around the borders of pages and of stored chunks, and anywhere. */
const OFFSETS = [0, 1, 4095, 4096, 10_000, 32_767, 32_768, 65_536, 100_000];
const LENGTHS = [1, 10, 1000, 4096, 32_768, 50_000];
const MODES = [
  '0644',
  '0600',
  '0666',
  '0755',
  '0777',
  '0400',
  '04755',
  '02755',
  '02654',
  '06777',
  '0',
];
const TIMES = ['now', 'omit', '5', '1000.000000001', '-5.5', '999999999'];
const ACLS = [
  '1:6:0 4:4:0 32:0:0',
  '1:7:0 2:7:1000 4:5:0 16:7:0 32:0:0',
  '1:6:0 2:0:1000 4:4:0 16:5:0 32:4:0',
  '1:7:0 4:7:0 8:6:1000 16:6:0 32:1:0',
  '1:6:0',
];
/** Not O_PATH: the kernel tells nobody of it, so that it keeps no file from going. */
const OPEN_FLAGS = [
  'r',
  'w',
  'rw',
  'rw',
  'rw|creat',
  'rw|creat',
  'rw|creat|excl',
  'w|creat|trunc',
  'rw|trunc',
  'w|append|creat',
  'rw|append',
  'r|dir',
  'rw|creat|nofollow',
];
/** Not -1 -1: that is nothing to change, and not told to any FUSE filesystem. */
const OWNERS = ['0 0', '0 -1', '1000 -1', '-1 1000', '-1 0', '1000 1000', '2000 1000'];
const XATTRS = ['user.a', 'user.b', 'trusted.c', 'security.d'];

type Make = (r: Chooser) => string;

class Chooser {
  constructor(
    private readonly random: Random,
    readonly abilities: Abilities,
  ) {}
  of<T>(list: readonly T[]): T {
    const chosen = list[randomBetween(this.random, 0, list.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }
  /** From 0 up to, and without, `end`. */
  below(end: number): number {
    return randomBetween(this.random, 0, end);
  }
  get path(): string {
    return this.of(PATHS);
  }
  get slot(): number {
    return this.below(SLOTS);
  }
  get offset(): number {
    return this.of(OFFSETS) + this.of([0, 0, 3]);
  }
  get length(): number {
    return this.of(LENGTHS);
  }
}

/** With how often each comes. */
const CALLS: readonly (readonly [number, Make])[] = [
  [12, (r) => `open ${r.slot} ${r.path} ${openFlags(r)} ${r.of(MODES)}`],
  [3, (r) => `close ${r.slot}`],
  // Behind an append the kernel believes to be where it last heard that the file ends.
  [4, (r) => (r.abilities.manyMounts ? `fstat ${r.slot}` : `read ${r.slot} ${r.length}`)],
  [6, (r) => `pread ${r.slot} ${r.offset} ${r.length}`],
  [5, (r) => (r.abilities.manyMounts ? pwrite(r) : `write ${r.slot} ${r.below(250)} ${r.length}`)],
  [8, pwrite],
  [2, (r) => `lseek ${r.slot} ${r.offset} ${r.abilities.manyMounts ? 2 : r.below(3)}`],
  [3, (r) => `ftruncate ${r.slot} ${r.offset}`],
  [2, (r) => `truncate ${r.path} ${r.offset}`],
  [5, (r) => `fallocate ${r.slot} ${r.of([0, 1, 2, 3, 16, 17])} ${r.offset} ${r.length}`],
  [5, (r) => `copy ${r.slot} ${r.offset} ${r.slot} ${r.offset} ${r.length}`],
  // Whoever reads a pipe must not wait: nobody may ever write.
  [1, (r) => `setfl ${r.slot} ${r.of(['append', 'rw'])}|nonblock`],
  [1, (r) => `fsync ${r.slot}`],
  [5, (r) => `mkdir ${r.of(DIRECTORIES)} ${r.of(MODES)}`],
  [2, (r) => `rmdir ${r.path}`],
  [5, (r) => `unlink ${r.path}`],
  [8, (r) => `rename ${r.path} ${r.path} ${r.of([0, 0, 0, 1, 2, 3])}`],
  [4, (r) => `link ${r.path} ${r.path}`],
  [2, (r) => `symlink ${r.of(['a', '../a', 'd', 'x'.repeat(300)])} ${r.path}`],
  [1, (r) => `readlink ${r.path}`],
  [2, (r) => `mknod ${r.path} ${makeNode(r)}`],
  [4, (r) => `chmod ${r.path} ${r.of(MODES)}`],
  // The kernel checks by what it last heard of the owner, when it goes by an open file.
  [1, (r) => (r.abilities.manyMounts ? `stat ${r.path}` : `fchmod ${r.slot} ${r.of(MODES)}`)],
  [3, (r) => `chown ${r.path} ${r.of(OWNERS)}`],
  [3, (r) => `utimens ${r.path} ${r.of(TIMES)} ${r.of(TIMES)}`],
  [2, (r) => `access ${r.path} ${r.below(8)}`],
  [10, (r) => `stat ${r.path}`],
  [5, (r) => `fstat ${r.slot}`],
  [4, (r) => `list ${r.of(['.', ...DIRECTORIES])}`],
  [1, (r) => `umask ${r.of(['022', '0', '077'])}`],
  [4, (r) => (r.abilities.xattrs ? xattr(r) : `stat ${r.path}`)],
  [3, (r) => (r.abilities.acls ? acl(r) : `stat ${r.path}`)],
  [2, (r) => (r.abilities.unnamedFiles ? unnamed(r) : `stat ${r.path}`)],
  [3, (r) => (r.abilities.manyMounts ? `fstat ${r.slot}` : map(r))],
  [2, (r) => (r.abilities.inodeFlags ? inodeFlags(r) : `stat ${r.path}`)],
  [8, lock],
];

function pwrite(r: Chooser): string {
  return `pwrite ${r.slot} ${r.offset} ${r.below(250)} ${r.length}`;
}

/**
 * Not waiting: nobody would come to let go. Of the last close(2), which lets go of what belongs to an
 * open file, another mount hears a moment later.
 */
function lock(r: Chooser): string {
  const mode = r.of(['shared', 'exclusive', 'unlock']);
  const range = `${r.below(6) * 10} ${r.of([0, 5, 10, 20])}`;
  const posix = [
    `setlk ${r.slot} ${mode} ${range}`,
    `setlk ${r.slot} ${mode} ${range}`,
    `getlk ${r.slot} ${mode === 'unlock' ? 'exclusive' : mode} ${range}`,
  ];
  const ofOpenFiles = [`ofd ${r.slot} ${mode} ${range}`, `flock ${r.slot} ${mode}`];
  return r.of(r.abilities.manyMounts ? posix : [...posix, ...ofOpenFiles]);
}

function openFlags(r: Chooser): string {
  return `${r.of(OPEN_FLAGS)}|nonblock`;
}

/** A FIFO is each machine's own: what goes in at one mount does not come out at another. */
function makeNode(r: Chooser): string {
  const types = r.abilities.manyMounts ? ['0100644', '0140666'] : ['0100644', '0140666', '010666'];
  return r.of([...types.map((mode) => `${mode} 0 0`), '020644 250 17', '060600 250 300']);
}

function xattr(r: Chooser): string {
  const name = r.of(XATTRS);
  return r.of([
    `setxattr ${r.path} ${name} ${r.below(250)} ${r.below(60)} ${r.of([0, 0, 1, 2, 3])}`,
    `getxattr ${r.path} ${name} ${r.of([0, 10, 100])}`,
    `listxattr ${r.path}`,
    `removexattr ${r.path} ${name}`,
  ]);
}

function acl(r: Chooser): string {
  const kind = r.of(['access', 'access', 'default']);
  return r.of([
    `setacl ${r.path} ${kind} ${r.of(ACLS)}`,
    `setacl ${r.path} ${kind} ${r.of(ACLS)}`,
    `getacl ${r.path} ${kind}`,
    `removexattr ${r.path} system.posix_acl_${kind}`,
  ]);
}

/** FS_IMMUTABLE_FL, FS_APPEND_FL, FS_NODUMP_FL, FS_NOATIME_FL. Mostly taken away: what is frozen answers little else. */
function inodeFlags(r: Chooser): string {
  return r.of([`getflags ${r.path}`, `setflags ${r.path} ${r.of([0, 0, 0, 16, 32, 64, 128])}`]);
}

function unnamed(r: Chooser): string {
  return r.of([
    `open ${r.slot} ${r.of(['.', 'd'])} rw|tmpfile ${r.of(MODES)}`,
    `linkfd ${r.slot} ${r.path}`,
  ]);
}

function map(r: Chooser): string {
  return r.of([
    `mread ${r.slot} ${r.offset} ${r.length}`,
    `mwrite ${r.slot} ${r.offset} ${r.below(250)} ${r.length}`,
    `mprivate ${r.slot} ${r.offset} ${r.below(250)} ${r.length}`,
  ]);
}

const WEIGHTED: readonly Make[] = CALLS.flatMap(([weight, make]) =>
  Array.from({ length: weight }, () => make),
);

export function makeSteps(
  random: Random,
  count: number,
  processes: number,
  abilities: Abilities,
): Step[] {
  const chooser = new Chooser(random, abilities);
  return Array.from({ length: count }, () => {
    const make = chooser.of(WEIGHTED);
    return { process: chooser.below(processes), call: make(chooser) };
  });
}
