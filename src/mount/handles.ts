import { MootError } from '../base/errors.js';
import type { Ino } from '../filesystem/records.js';
import type { Listing } from './listing.js';
import type { Handle, OpenFlags } from './mount.js';

/** An open file description: what open(2) made, and what its duplicates share. */
export interface OpenFile {
  readonly ino: Ino;
  readonly write: boolean;
  /** Its bytes do not go through the kernel's pages. */
  readonly direct: boolean;
  /** The session that it was open in is over, and a lock with it: nothing goes through it any more. */
  isFenced: boolean;
  /** write-behind.ts keeps it. */
  readonly errorsTold: ErrorsTold;
}

/** Of how many of the inode's write errors the last of these calls has told. */
export interface ErrorsTold {
  fsync: number;
  write: number;
  close: number;
}

export interface OpenDirectory {
  readonly ino: Ino;
  readonly listing: Listing;
}

/**
 * The open files and directories of a mount, and which of their inodes have no name any more. A
 * handle that the kernel does not have is ESTALE: nothing that comes over the device may end the
 * process.
 */
export class Handles {
  private next: Handle = 1;
  private readonly files = new Map<Handle, OpenFile>();
  private readonly directories = new Map<Handle, OpenDirectory>();
  private readonly counts = new Map<Ino, number>();
  /** Of `files`. */
  private readonly fileCounts = new Map<Ino, number>();
  /** Of open files. */
  private readonly fencedCounts = new Map<Ino, number>();
  private readonly unlinked = new Set<Ino>();
  /** Counts creations, changes and resets, so that they can be compared. */
  private moment = 0;
  /** When the creations and removals under way began, oldest first: their inodes are not known here yet. */
  private readonly creations = new Set<number>();
  /** Inodes that lost their names since the oldest of them, with when: one may be the new one. */
  private readonly unlinkedMeanwhile = new Map<Ino, number>();
  private lastReset = 0;
  /**
   * Directories that this mount removed and its kernel has not forgotten: somebody may be in one of
   * them, of which no open(2) tells. The kernel forgets a removed directory as soon as nobody is. Of a
   * file it may remember names that are gone long since, and forget it late or never.
   */
  private readonly unforgotten = new Set<Ino>();

  addFile(ino: Ino, flags: OpenFlags, errorsTold: ErrorsTold): Handle {
    const { write, direct = false } = flags;
    this.files.set(this.next, { ino, write, direct, isFenced: false, errorsTold });
    count(this.fileCounts, ino, 1);
    return this.next++;
  }

  addDirectory(ino: Ino, listing: Listing): Handle {
    this.directories.set(this.next, { ino, listing });
    return this.next++;
  }

  file(handle: Handle): OpenFile {
    return found(this.files.get(handle));
  }

  directory(handle: Handle): OpenDirectory {
    return found(this.directories.get(handle));
  }

  /** A name in the directory was looked up. */
  lookedUp(ino: Ino): void {
    if (!this.counts.has(ino)) return;
    for (const directory of this.directories.values()) {
      if (directory.ino === ino) directory.listing.lookedUp();
    }
  }

  removeFile(handle: Handle): OpenFile {
    const file = this.file(handle);
    this.files.delete(handle);
    count(this.fileCounts, file.ino, -1);
    if (file.isFenced) count(this.fencedCounts, file.ino, -1);
    return file;
  }

  /** All files that are open now are of no use any more. Returns whose they are. */
  fenceAll(): readonly Ino[] {
    for (const file of this.files.values()) {
      if (!file.isFenced) count(this.fencedCounts, file.ino, 1);
      file.isFenced = true;
    }
    return [...this.fencedCounts.keys()];
  }

  hasFenced(ino: Ino): boolean {
    return this.fencedCounts.has(ino);
  }

  removeDirectory(handle: Handle): OpenDirectory {
    const directory = this.directory(handle);
    this.directories.delete(handle);
    return directory;
  }

  /**
   * Counts an open of the inode. Before the cluster is asked about it: should its last name go in
   * between, `markUnlinked` must find that this mount wants it.
   */
  hold(ino: Ino): void {
    this.counts.set(ino, (this.counts.get(ino) ?? 0) + 1);
  }

  /**
   * Makes an inode that will be open, and holds it. Others may unlink it before the reply is here:
   * until then whatever loses its name counts as held.
   */
  async holdNew<T>(make: () => Promise<T>, inoOf: (made: T) => Ino): Promise<T> {
    const begun = ++this.moment;
    this.creations.add(begun);
    try {
      const made = await make();
      const ino = inoOf(made);
      this.hold(ino);
      if (this.lastReset > begun || this.unlinkedMeanwhile.has(ino)) this.unlinked.add(ino);
      return made;
    } finally {
      this.creations.delete(begun);
      this.dropUnlinkedMeanwhile();
    }
  }

  /**
   * Takes a name away. A directory that has none any more is held until the kernel forgets it;
   * `removedOf` says which inode that is, when the kernel knows it.
   */
  async holdRemoved<T>(
    remove: () => Promise<T>,
    removedOf: (removed: T) => Ino | null,
  ): Promise<T> {
    const begun = ++this.moment;
    this.creations.add(begun);
    try {
      const removed = await remove();
      const ino = removedOf(removed);
      if (ino !== null) this.unforgotten.add(ino);
      return removed;
    } finally {
      this.creations.delete(begun);
      this.dropUnlinkedMeanwhile();
    }
  }

  /** The kernel does not know the inode any more. */
  forgotten(ino: Ino): void {
    this.unforgotten.delete(ino);
  }

  private dropUnlinkedMeanwhile(): void {
    const [oldest = Infinity] = this.creations;
    for (const [ino, moment] of this.unlinkedMeanwhile) {
      if (moment > oldest) return;
      this.unlinkedMeanwhile.delete(ino);
    }
  }

  /** Undoes one `hold`. */
  letGo(ino: Ino): void {
    const count = this.counts.get(ino) ?? 0;
    if (count > 1) {
      this.counts.set(ino, count - 1);
      return;
    }
    this.counts.delete(ino);
    this.unlinked.delete(ino);
  }

  /** An open(2) of the inode has ended well, and its file is open. */
  hasFile(ino: Ino): boolean {
    return this.fileCounts.has(ino);
  }

  /** The inode has lost its last name. */
  markUnlinked(ino: Ino): void {
    if (this.counts.has(ino)) this.unlinked.add(ino);
    else if (this.creations.size > 0) this.unlinkedMeanwhile.set(ino, ++this.moment);
  }

  /** Nobody knows which names went: everything that is open may be held. */
  markAllUnlinked(): void {
    for (const ino of this.counts.keys()) this.unlinked.add(ino);
    this.lastReset = ++this.moment;
  }

  /** For keep-alives: the inodes without a name that are in use here. */
  holds(): readonly Ino[] {
    const { unlinked, unlinkedMeanwhile, unforgotten } = this;
    return [...new Set([...unlinked, ...unlinkedMeanwhile.keys(), ...unforgotten])];
  }
}

function count(counts: Map<Ino, number>, ino: Ino, change: number): void {
  const after = (counts.get(ino) ?? 0) + change;
  if (after > 0) counts.set(ino, after);
  else counts.delete(ino);
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new MootError('ESTALE', 'this file is not open');
  return value;
}
