import type { Ino } from '../filesystem/records.js';

/** So many entries looked up in the order of their directory, and the next ones will be, too. */
const IN_ORDER_MIN = 4;
/** The next entry is at most so much further on: entries are removed, and some nobody looks at. */
const STEP_MAX = 64;
/** Directories in which somebody looks at one entry after the other, at one time. */
const DIRECTORIES_MAX = 1_024;

/**
 * Finds out who goes through a directory entry by entry, as `ls -l`, `find` and `git status` do after
 * what was known of the directory was forgotten. Pure.
 */
export class LookAhead {
  private readonly directories = new Map<Ino, { cookie: number; inOrder: number }>();

  /** An entry was looked up that was not known. True: those behind it will be looked up, too. */
  isInOrder(ino: Ino, cookie: number): boolean {
    const last = this.directories.get(ino);
    const step = last === undefined ? 0 : cookie - last.cookie;
    const inOrder = last !== undefined && step > 0 && step <= STEP_MAX ? last.inOrder + 1 : 1;
    this.note(ino, cookie, inOrder);
    return inOrder >= IN_ORDER_MIN;
  }

  /** All up to this entry is known now. */
  listed(ino: Ino, cookie: number): void {
    this.note(ino, cookie, IN_ORDER_MIN - 1);
  }

  private note(ino: Ino, cookie: number, inOrder: number): void {
    if (this.directories.size >= DIRECTORIES_MAX && !this.directories.has(ino)) {
      this.directories.clear();
    }
    this.directories.set(ino, { cookie, inOrder });
  }
}
