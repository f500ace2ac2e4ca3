import { nameKey } from '../filesystem/facts.js';
import { entryKey } from '../filesystem/keys.js';
import { bytesOfLatin1, latin1 } from '../filesystem/name.js';
import type { Ino } from '../filesystem/records.js';

/** Of an inode with more names, the kernel's belief in the oldest ones is left to their timeouts. */
const NAMES_MAX = 64;
/** Threads that are remembered for a name: far more than could be inside calls with it at one time. */
const THREADS_MAX = 1_024;

/** A name as the kernel asked for it. */
export interface AskedName {
  readonly parent: Ino;
  readonly name: Uint8Array;
}

/** A name under which the kernel was told of an inode. */
interface KnownName {
  readonly parent: Ino;
  /** As a latin1 string: there are many, and bytes take more room. */
  readonly name: string;
  readonly ino: Ino;
  /** Until then a thread may act on it without asking. */
  usedUntilMs: number;
  /** In which the kernel was told of it last. */
  epoch: number;
  /** The threads that were told that it does not mean the inode any more. */
  told: Set<number> | null;
}

interface KnownInode {
  /** How often the kernel was told of it, less what it has forgotten (nlookup of FUSE). */
  lookups: number;
  /** Also names that mean something else by now, while a thread may still act on them. */
  names: KnownName[];
}

/** The inodes that the kernel knows, and the names under which it learnt of them. */
export class KnownNames {
  private readonly inodes = new Map<Ino, KnownInode>();
  /** What the kernel has in its cache of names, as far as is known here. */
  private readonly names = new Map<string, KnownName>();
  /** The last meaning of a name before the present one. */
  private readonly former = new Map<string, KnownName>();
  private epoch = 0;

  /** The kernel is told of the inode, which counts as a lookup. */
  add(ino: Ino): void {
    const known = this.inodes.get(ino);
    if (known === undefined) this.inodes.set(ino, { lookups: 1, names: [] });
    else known.lookups++;
  }

  /** The kernel is told that the name means this inode, which it knows; `alone`: and no other name does. */
  setName(asked: AskedName, ino: Ino, usedUntilMs: number, alone: boolean): void {
    const known = this.inodes.get(ino);
    if (known === undefined) return;
    const key = nameKey(asked.parent, asked.name);
    const old = this.names.get(key);
    if (old?.ino === ino) {
      old.usedUntilMs = Math.max(old.usedUntilMs, usedUntilMs);
      old.epoch = this.epoch;
      old.told = null;
      return;
    }
    this.dropName(asked);
    // A directory has one name in the kernel: the old one has moved here (d_splice_alias).
    if (alone) for (const other of [...known.names]) this.retire(other);
    const before = this.former.get(key);
    if (before?.ino === ino) this.remove(before);
    const { parent } = asked;
    const { epoch } = this;
    const bytes = latin1(asked.name);
    const name: KnownName = { parent, name: bytes, ino, usedUntilMs, epoch, told: null };
    this.names.set(key, name);
    known.names.push(name);
    const [oldest] = known.names;
    if (known.names.length > NAMES_MAX && oldest !== undefined) this.remove(oldest);
  }

  /** Returns whether the kernel does not know the inode any more. */
  forget(ino: Ino, count: number): boolean {
    const known = this.inodes.get(ino);
    if (known === undefined) return true;
    known.lookups -= count;
    if (known.lookups > 0) return false;
    for (const name of [...known.names]) this.remove(name);
    this.inodes.delete(ino);
    return true;
  }

  has(ino: Ino): boolean {
    return this.inodes.has(ino);
  }

  /** The kernel was made to drop all names, each when it comes upon it (fuse_notify_inc_epoch). */
  nextEpoch(): void {
    this.epoch++;
  }

  /** The kernel has the name in its cache, whatever it means. */
  hasName({ parent, name }: AskedName): boolean {
    return this.names.get(nameKey(parent, name))?.epoch === this.epoch;
  }

  /** Somebody else made the name mean something else, or nothing. */
  dropName({ parent, name }: AskedName): void {
    const dropped = this.names.get(nameKey(parent, name));
    if (dropped !== undefined) this.retire(dropped);
  }

  /** A call of this mount took the name away: whoever acts on it holds the lock that the call had. */
  removeName({ parent, name }: AskedName): void {
    const key = nameKey(parent, name);
    for (const names of [this.names, this.former]) {
      const removed = names.get(key);
      if (removed !== undefined) this.remove(removed);
    }
  }

  /** A call of this mount moved one name to the other, or exchanged what they mean. */
  rename(from: AskedName, to: AskedName, exchange: boolean): void {
    const [moved, replaced] = [from, to].map((of) => this.names.get(nameKey(of.parent, of.name)));
    this.removeName(from);
    this.removeName(to);
    if (moved !== undefined) this.setName(to, moved.ino, moved.usedUntilMs, false);
    if (exchange && replaced !== undefined) {
      this.setName(from, replaced.ino, replaced.usedUntilMs, false);
    }
  }

  /** Names of the inode, other than this one, on which a thread may have acted at that time. */
  othersUsed(ino: Ino, asked: AskedName, atMs: number): readonly AskedName[] {
    const { names = [] } = this.inodes.get(ino) ?? {};
    if (names.length === 0 || (names.length === 1 && this.isNamed(asked, names[0]))) return [];
    return names
      .filter((name) => name.usedUntilMs >= atMs && !this.isNamed(asked, name))
      .map(askedName);
  }

  /** The inode has names in other directories than the one asked for. */
  isElsewhere(ino: Ino, { parent }: AskedName): boolean {
    return this.inodes.get(ino)?.names.some((name) => name.parent !== parent) === true;
  }

  /** Takes those names away. Returned are the ones that the kernel has learnt of no other inode since. */
  takeElsewhere(ino: Ino, { parent }: AskedName): readonly AskedName[] {
    const { names = [] } = this.inodes.get(ino) ?? {};
    const elsewhere = names.filter((name) => name.parent !== parent);
    for (const name of elsewhere) this.remove(name);
    return elsewhere.map(askedName).filter((name) => !this.hasName(name));
  }

  isTold(ino: Ino, other: AskedName, thread: number): boolean {
    const known = this.nameOf(ino, other);
    return known === undefined || known.told?.has(thread) === true;
  }

  /** The thread is told that the name does not mean the inode any more. */
  tell(ino: Ino, other: AskedName, thread: number): void {
    const known = this.nameOf(ino, other);
    if (known === undefined) return;
    known.told ??= new Set();
    if (known.told.size >= THREADS_MAX) known.told.clear();
    known.told.add(thread);
  }

  /** Everything known; the names are not, from now on. */
  takeAll(): { readonly inodes: readonly Ino[]; readonly names: readonly AskedName[] } {
    const names = [...this.names.values()].map(askedName);
    for (const name of [...this.names.values()]) this.retire(name);
    return { inodes: [...this.inodes.keys()], names };
  }

  /** The inode's, even if the name means something else by now. */
  private nameOf(ino: Ino, asked: AskedName): KnownName | undefined {
    return this.inodes.get(ino)?.names.find((known) => this.isNamed(asked, known));
  }

  private isNamed(asked: AskedName, known: KnownName | undefined): boolean {
    return known?.parent === asked.parent && known.name === latin1(asked.name);
  }

  private retire(name: KnownName): void {
    const key = entryKey(name.parent, name.name);
    if (this.names.get(key) !== name) return;
    const older = this.former.get(key);
    if (older !== undefined) this.remove(older);
    this.names.delete(key);
    this.former.set(key, name);
  }

  private remove(name: KnownName): void {
    const key = entryKey(name.parent, name.name);
    for (const names of [this.names, this.former]) {
      if (names.get(key) === name) names.delete(key);
    }
    const known = this.inodes.get(name.ino);
    if (known !== undefined) known.names = known.names.filter((one) => one !== name);
  }
}

function askedName({ parent, name }: KnownName): AskedName {
  return { parent, name: bytesOfLatin1(name) };
}
