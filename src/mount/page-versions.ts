import type { ChangedInode } from '../filesystem/commands.js';
import type { Ino, Inode } from '../filesystem/records.js';
import type { Handle } from './mount.js';

/** Opens of one file at one time; of more, any of these will be used as soon. */
const EMPTYING_MAX = 64;

interface Pages {
  /**
   * All that the kernel's pages hold is the content of this dataVersion, changed by this mount's
   * writes that are not committed yet. null: not known.
   */
  version: number | null;
  /**
   * The opens that empty the cache so that this is true. The kernel does so when it takes the answer
   * over: it has when one of them is used. Empty: it is true.
   */
  readonly emptying: Set<Handle>;
  /** Behind it no page has anything but zeros. */
  end: number;
  /** That of the last own change. */
  ownVersion: number;
  /** The kernel has asked for some of them since they were last dropped for an append. */
  asked: boolean;
}

/**
 * What is known of the kernel's pages of each inode, so that open(2) may keep them
 * (FOPEN_KEEP_CACHE). The invariant is `Pages.version`. Why it holds:
 * - An open that does not keep the pages empties the cache, and names a version that was current
 *   when the open was asked. Reads after it bring content of that version or a later one. When the
 *   kernel has emptied it is known from the first request with that open's handle.
 * - Versions only grow. When a later open finds the same version, nothing later was there to be
 *   read, so all pages are of that version.
 * - An own write or truncation changes the pages as it changes the content. Its reply tells the
 *   version before: is it the known one, nobody else changed the content in between.
 * - Otherwise, and when an own write failed, the version is not known until the cache is emptied.
 */
export class PageVersions {
  private readonly inodes = new Map<Ino, Pages>();

  /** An open found `version`. Returns whether the pages are right, and may stay. */
  opened(ino: Ino, version: number, handle: Handle): boolean {
    const pages = this.inodes.get(ino);
    if (pages === undefined) {
      const emptying = new Set([handle]);
      this.inodes.set(ino, { version, emptying, end: 0, ownVersion: 0, asked: false });
      return false;
    }
    if (pages.version !== version) {
      pages.version = version;
      pages.emptying.clear();
    } else if (pages.emptying.size === 0) {
      return true;
    }
    if (pages.emptying.size < EMPTYING_MAX) pages.emptying.add(handle);
    return false;
  }

  /** The kernel has the answer to this open. */
  used(ino: Ino, handle: Handle): void {
    const emptying = this.inodes.get(ino)?.emptying;
    if (emptying?.has(handle)) emptying.clear();
  }

  /** An own write or truncation took effect. */
  changed(ino: Ino, { inode, dataVersionBefore }: ChangedInode): void {
    const pages = this.inodes.get(ino);
    if (pages === undefined) return;
    pages.ownVersion = Math.max(pages.ownVersion, inode.dataVersion);
    if (pages.version === null) return;
    // An open that was answered meanwhile saw the change already.
    if (inode.dataVersion <= pages.version) return;
    pages.version = dataVersionBefore === pages.version ? inode.dataVersion : null;
  }

  /** The kernel asks for pages. */
  asked(ino: Ino): void {
    const pages = this.inodes.get(ino);
    if (pages !== undefined) pages.asked = true;
  }

  /** Whether the kernel has asked for pages since the last such question. */
  takeAsked(ino: Ino): boolean {
    const pages = this.inodes.get(ino);
    if (!pages?.asked) return false;
    pages.asked = false;
    return true;
  }

  /** The kernel read, or writes, up to here. */
  filled(ino: Ino, end: number): void {
    const pages = this.inodes.get(ino);
    if (pages !== undefined) pages.end = Math.max(pages.end, end);
  }

  /** The kernel cut its pages off here, or takes what was behind their end for zeros. */
  resized(ino: Ino, size: number): void {
    const pages = this.inodes.get(ino);
    if (pages !== undefined) pages.end = size;
  }

  /** So long is the file, with all that this mount has written. */
  sized(ino: Ino, { dataVersion, size }: Pick<Inode, 'dataVersion' | 'size'>): void {
    const pages = this.inodes.get(ino);
    if (pages === undefined || dataVersion < pages.ownVersion) return;
    pages.end = Math.min(pages.end, size);
  }

  /** Behind it nothing in the kernel's pages is of the file; Infinity: not known. */
  end(ino: Ino): number {
    return this.inodes.get(ino)?.end ?? Number.POSITIVE_INFINITY;
  }

  /** The version of the last own change; 0: none is known. */
  ownVersion(ino: Ino): number {
    return this.inodes.get(ino)?.ownVersion ?? 0;
  }

  /** undefined: the kernel has no pages of the inode. */
  version(ino: Ino): number | null | undefined {
    return this.inodes.get(ino)?.version;
  }

  /** All pages are of this version. */
  isRight(ino: Ino, version: number): boolean {
    const pages = this.inodes.get(ino);
    return pages === undefined || (pages.version === version && pages.emptying.size === 0);
  }

  /**
   * The kernel has no pages from before, and `version` was current when it was asked to drop them: as
   * after an open that empties the cache.
   */
  emptied(ino: Ino, version: number): void {
    const pages = this.inodes.get(ino);
    if (pages === undefined || (pages.version !== null && pages.version > version)) return;
    pages.version = version;
    pages.emptying.clear();
  }

  /** The pages may hold what is not in the file. */
  distrust(ino: Ino): void {
    const pages = this.inodes.get(ino);
    if (pages !== undefined) pages.version = null;
  }

  /** Every inode with pages, all of them in doubt from now on. */
  distrustAll(): readonly Ino[] {
    for (const pages of this.inodes.values()) pages.version = null;
    return [...this.inodes.keys()];
  }

  /** The kernel has dropped the inode and its pages. */
  forget(ino: Ino): void {
    this.inodes.delete(ino);
  }
}
