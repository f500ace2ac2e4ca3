import type { Timespec } from '../../src/base/clock.js';
import { type Random, randomBetween } from '../../src/base/random.js';
import type { ReadLevel } from '../../src/codec/client-messages.js';
import { type AclEntry, encodeAcl } from '../../src/filesystem/acl.js';
import type { Command, SetAttributes } from '../../src/filesystem/commands.js';
import {
  FLAG_APPEND,
  FLAG_IMMUTABLE,
  FLAG_NOATIME,
  FLAG_NODUMP,
} from '../../src/filesystem/inode-flags.js';
import type { Query, QueryValues, ReadDirectory } from '../../src/filesystem/queries.js';
import { type Ino, ROOT_INO } from '../../src/filesystem/records.js';
import { ACCESS_ACL, DEFAULT_ACL } from '../../src/filesystem/xattr-record.js';

/** Names are few, so that clients get in each other's way. */
const NAMES = ['a', 'b', 'c', 'd'];
/** Inodes that are talked about; older ones are forgotten. */
const INODES_MAX = 24;
const DIRECTORIES_MAX = 5;

/** Those that forbid nothing come most often, also together: what is made in such a directory has them, too. */
const HARMLESS_FLAGS = [FLAG_NODUMP, FLAG_NOATIME, FLAG_NODUMP | FLAG_NOATIME] as const;
const FLAGS = [FLAG_IMMUTABLE, FLAG_APPEND, ...HARMLESS_FLAGS] as const;

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFIFO = 0o010000;

/** Of linux/posix_acl.h. */
const ACL_USER_OBJ = 0x01;
const ACL_USER = 0x02;
const ACL_GROUP_OBJ = 0x04;
const ACL_MASK = 0x10;
const ACL_OTHER = 0x20;
const ACL_NO_ID = 0xffff_ffff;

/** Entries that a listing gives at a time, where it is to go on. */
const LISTED_MAX = 3;

/** What all programs of the world know of, and a choice of what to do next. */
export class Work {
  private inodes: Ino[] = [ROOT_INO];
  private directories: Ino[] = [ROOT_INO];
  private tokens = 0;
  private listing: Pick<ReadDirectory, 'ino' | 'cookie'> | null = null;
  /** A file that programs lock, once it is there. */
  lockable: Ino | null = null;

  private readonly names: readonly string[];
  private readonly directoriesMax: number;

  constructor(private readonly random: Random) {
    // In some worlds all is about very little.
    const narrow = this.chance(0.4);
    this.names = narrow ? NAMES.slice(0, 2) : NAMES;
    this.directoriesMax = narrow ? 1 : DIRECTORIES_MAX;
  }

  /** An answer may name an inode. */
  learn(answer: unknown): void {
    if (typeof answer !== 'object' || answer === null || !('inode' in answer)) return;
    const { ino, mode } = answer.inode as { ino: Ino; mode: number };
    if (!this.inodes.includes(ino)) this.inodes.push(ino);
    if (this.inodes.length > INODES_MAX) this.inodes.splice(1, 1);
    if ((mode & 0o170000) !== S_IFDIR || this.directories.includes(ino)) return;
    this.directories.push(ino);
    if (this.directories.length > this.directoriesMax) this.directories.splice(1, 1);
  }

  /** Where this listing goes on; it is over behind its last entry, or where there is no answer. */
  listed({ ino }: ReadDirectory, answer: unknown): void {
    this.listing = null;
    if (typeof answer !== 'object' || answer === null || !('entries' in answer)) return;
    const { entries, end } = answer as QueryValues['read-directory'];
    const last = entries.at(-1);
    if (!end && last !== undefined) this.listing = { ino, cookie: last.cookie };
  }

  /** A text that was never given before. */
  token(): string {
    return `${this.tokens++}`.padStart(7, '0');
  }

  command(): Command {
    const parent = this.pick(this.directories);
    const name = this.name();
    const ino = this.pick(this.inodes);
    const makers: (() => Command)[] = [
      () => this.make(parent, name, S_IFREG),
      () => this.make(parent, name, S_IFREG),
      () => this.make(parent, name, S_IFDIR),
      () => this.make(parent, name, S_IFIFO),
      () => ({ type: 'make-symlink', parent, name, target: bytes(this.token()), uid: 1, gid: 2 }),
      () => ({ type: 'link', ino, parent, name }),
      () => ({ type: 'unlink', parent, name }),
      () => ({ type: 'unlink', parent, name }),
      () => ({ type: 'remove-directory', parent, name }),
      () => this.rename(parent, name),
      () => this.rename(parent, name),
      () => this.write(ino),
      () => this.write(ino),
      () => this.write(ino),
      () => ({ type: 'set-attributes', ino, size: this.below(40) }),
      () => ({ type: 'set-attributes', ino, mode: this.below(0o1000), mtime: 'now' }),
      () => this.setAttributes(ino),
      () => this.allocate(ino),
      () => this.copyRange(ino),
      () => ({ type: 'make-unnamed', parent, mode: 0o666, ...this.umask(), uid: 1, gid: 2 }),
      () => this.setQuota(),
      () => ({ type: 'set-xattr', ino, name, value: bytes(this.token()), mode: this.xattrMode() }),
      () => ({ type: 'remove-xattr', ino, name }),
      () => this.setAcl(this.chance(0.5) ? parent : ino),
      () => ({ type: 'remove-xattr', ino: this.chance(0.5) ? parent : ino, name: this.aclName() }),
    ];
    return this.pick(makers)();
  }

  query(): Query {
    const parent = this.pick(this.directories);
    const name = this.name();
    const ino = this.pick(this.inodes);
    const makers: (() => Query)[] = [
      () => ({ type: 'lookup', parent, name }),
      () => ({ type: 'lookup', parent, name }),
      () => ({ type: 'lookup', parent, name }),
      () => ({ type: 'get-inode', ino }),
      () => ({ type: 'get-inode', ino }),
      () => ({
        type: 'read-directory',
        ino: parent,
        cookie: 0,
        limit: 100,
        plus: this.chance(0.5),
      }),
      () => this.goOn(parent),
      () => ({ type: 'read', ino, offset: this.below(10), size: 100 }),
      () => ({ type: 'get-xattr', ino, name }),
      () => ({ type: 'get-xattr', ino: this.chance(0.5) ? parent : ino, name: this.aclName() }),
      () => ({ type: 'list-xattrs', ino }),
      () => ({ type: 'statfs' }),
      () => ({ type: 'seek', ino, offset: this.below(60), what: this.pick(['data', 'hole']) }),
      () => this.getLock(ino),
    ];
    return this.pick(makers)();
  }

  place(): { readonly parent: Ino; readonly name: Uint8Array } {
    return { parent: this.pick(this.directories), name: this.name() };
  }

  lookup(): Query {
    return { type: 'lookup', ...this.place() };
  }

  level(): ReadLevel {
    return this.pick(['strong', 'strong', 'strong', 'session', 'local'] as const);
  }

  chance(rate: number): boolean {
    return this.random.next() < rate;
  }

  below(count: number): number {
    return randomBetween(this.random, 0, count);
  }

  private make(parent: Ino, name: Uint8Array, type: number): Command {
    const mode = type | 0o666;
    return { type: 'make-node', parent, name, mode, ...this.umask(), rdev: 0, uid: 1, gid: 2 };
  }

  /** With what a listing was about that has not come to its end, be that of another client; or a new one. */
  private goOn(parent: Ino): Query {
    const { ino, cookie } = this.listing ?? { ino: parent, cookie: 0 };
    const limit = 1 + this.below(LISTED_MAX);
    return { type: 'read-directory', ino, cookie, limit, plus: this.chance(0.5) };
  }

  private rename(parent: Ino, name: Uint8Array): Command {
    const newParent = this.pick(this.directories);
    const mode = this.pick(['replace', 'replace', 'no-replace', 'exchange'] as const);
    return { type: 'rename', parent, name, newParent, newName: this.name(), mode };
  }

  private write(ino: Ino): Command {
    // Now and then beyond the first chunk, and much of it.
    const far = this.chance(0.1);
    const data = far
      ? new Uint8Array(this.below(20_000)).fill(this.below(256))
      : bytes(this.token());
    const offset = far ? this.below(60_000) : this.below(30);
    return { type: 'write', ino, offset, data, ...(this.chance(0.3) ? { append: true } : {}) };
  }

  /** Whose it is, when it was read, and what may be done with it. */
  private setAttributes(ino: Ino): Command {
    const makers: (() => Omit<SetAttributes, 'type' | 'ino'>)[] = [
      () => ({ uid: this.below(3), gid: this.below(3) }),
      () => ({ mode: 0o6777, uid: this.below(3) }),
      () => ({ gid: this.below(3), killPrivileges: true }),
      () => ({ atime: this.chance(0.5) ? 'now' : this.time() }),
      () => ({ mtime: this.time(), ctime: this.time() }),
      () => ({ flags: this.flags(ino) }),
    ];
    return { type: 'set-attributes', ino, ...this.pick(makers)() };
  }

  private flags(ino: Ino): number {
    if (this.chance(0.5)) return 0;
    // An immutable root would be the end of all work.
    return this.pick(ino === ROOT_INO || this.chance(0.4) ? HARMLESS_FLAGS : FLAGS);
  }

  private time(): Timespec {
    return { sec: this.below(2_000_000_000) - 1_000_000, nsec: this.below(1e9) };
  }

  private allocate(ino: Ino): Command {
    const mode = this.pick(['reserve', 'reserve-keep-size', 'punch', 'zero'] as const);
    const far = this.chance(0.2);
    const offset = this.below(far ? 60_000 : 30);
    return { type: 'allocate', ino, offset, length: 1 + this.below(far ? 60_000 : 30), mode };
  }

  private copyRange(ino: Ino): Command {
    const far = this.chance(0.2);
    return {
      type: 'copy-range',
      ino,
      offset: this.below(far ? 60_000 : 30),
      toIno: this.pick(this.inodes),
      toOffset: this.below(far ? 60_000 : 60),
      length: this.below(far ? 60_000 : 30),
    };
  }

  /** Mostly none: what is refused is soon the same. */
  private setQuota(): Command {
    const some = (count: number) => (this.chance(0.7) ? null : this.below(count));
    return { type: 'set-quota', bytes: some(100_000), inodes: some(40) };
  }

  private getLock(ino: Ino): Query {
    const first = this.below(4);
    return {
      type: 'get-lock',
      ino: this.lockable ?? ino,
      session: 0,
      owner: 'who asks',
      exclusive: this.chance(0.5),
      first,
      last: first + this.below(4),
    };
  }

  /** What a mount sends along, and what leaves it out. */
  private umask(): { readonly umask?: number } {
    return this.chance(0.3) ? {} : { umask: this.pick([0o022, 0o077, 0o002, 0o777]) };
  }

  private aclName(): Uint8Array {
    return bytes(this.pick([ACCESS_ACL, DEFAULT_ACL]));
  }

  /** Mostly a list; now and then none, no more than a mode, or what is not one. */
  private setAcl(ino: Ino): Command {
    const value = this.chance(0.1) ? bytes(this.token()) : encodeAcl(this.aclEntries());
    const killSetGid = this.chance(0.3) ? { killSetGid: true } : {};
    return { type: 'set-xattr', ino, name: this.aclName(), value, mode: 'set', ...killSetGid };
  }

  private aclEntries(): AclEntry[] {
    if (this.chance(0.1)) return [];
    const entry = (tag: number, id: number) => ({ tag, permissions: this.below(8), id });
    const named = this.chance(0.7);
    return [
      entry(ACL_USER_OBJ, ACL_NO_ID),
      ...(named ? [entry(ACL_USER, this.below(3))] : []),
      entry(ACL_GROUP_OBJ, ACL_NO_ID),
      ...(named ? [entry(ACL_MASK, ACL_NO_ID)] : []),
      entry(ACL_OTHER, ACL_NO_ID),
    ];
  }

  private xattrMode(): 'set' | 'create' | 'replace' {
    return this.pick(['set', 'create', 'replace'] as const);
  }

  private name(): Uint8Array {
    return bytes(this.pick(this.names));
  }

  private pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
