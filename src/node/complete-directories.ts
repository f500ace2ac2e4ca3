import { assert } from '../base/assert.js';
import { directoryKey, isOf, type Key } from '../filesystem/keys.js';
import type { Inode } from '../filesystem/records.js';
import type { Stored } from './record-cache.js';

/** What V8 takes for a set, and for each name in it. */
const DIRECTORY_BYTES = 256;
const NAME_BYTES = 48;

/**
 * Directories all of whose names are known here, since they were seen empty: when they were made, or
 * when their last entry went. A name that is not among them is known to be absent without a look into
 * the store, which every create would cost otherwise.
 */
export class CompleteDirectories {
  /** By the directory; who was empty first comes first. */
  private readonly names = new Map<Key<'inode'>, Set<Key>>();
  private bytes = 0;

  constructor(private readonly bytesMax: number) {}

  /** A change was applied. All changes of a command are told before `lacks` is asked. */
  changed(key: Key, value: Stored | null): void {
    // A key's letter says its table, and only records of that table are put under it.
    if (isOf(key, 'inode')) this.inodeChanged(key, value as Inode | null);
    else if (isOf(key, 'entry')) this.entryChanged(key, value !== null);
  }

  /**
   * True: there is no such entry, for certain. `inodeOf` gives the present inode of a directory;
   * undefined: it is not in memory.
   */
  lacks(key: Key, inodeOf: (directory: Key<'inode'>) => Inode | null | undefined): boolean {
    if (this.names.size === 0 || !isOf(key, 'entry')) return false;
    const directory = directoryKey(key);
    const names = this.names.get(directory);
    if (names === undefined || names.has(key)) return false;
    const entries = inodeOf(directory)?.entries;
    assert(entries === undefined || entries === names.size, 'every name was told');
    return entries !== undefined;
  }

  clear(): void {
    this.names.clear();
    this.bytes = 0;
  }

  private inodeChanged(key: Key<'inode'>, inode: Inode | null): void {
    if (inode === null) {
      this.forget(key);
      return;
    }
    // What is no directory has no next cookie.
    if (inode.entries > 0 || inode.nextCookie === 0 || this.names.has(key)) return;
    this.names.set(key, new Set());
    this.bytes += DIRECTORY_BYTES;
    this.trim();
  }

  private entryChanged(key: Key<'entry'>, exists: boolean): void {
    const names = this.names.get(directoryKey(key));
    if (names === undefined || names.has(key) === exists) return;
    if (exists) names.add(key);
    else names.delete(key);
    this.bytes += exists ? bytesOf(key) : -bytesOf(key);
    this.trim();
  }

  private trim(): void {
    for (const directory of this.names.keys()) {
      if (this.bytes <= this.bytesMax) break;
      this.forget(directory);
    }
  }

  private forget(directory: Key<'inode'>): void {
    const names = this.names.get(directory);
    if (names === undefined) return;
    for (const key of names) this.bytes -= bytesOf(key);
    this.bytes -= DIRECTORY_BYTES;
    this.names.delete(directory);
  }
}

function bytesOf(key: Key): number {
  return key.length + NAME_BYTES;
}
