import type { HeldLock, LockKind, WaitingLock } from './records.js';

/**
 * Locks on the bytes of one inode, as fcntl(2) has them: every owner holds each byte shared,
 * exclusively or not at all, and a lock that it sets takes the place of what it held there. A lock
 * of flock(2) is one of the whole range. Neighbouring ranges of one owner that are held alike are
 * one lock. Owners stay in the order in which they came, as in the kernel's list: F_GETLK tells of
 * the first conflict in it.
 */

/** The last byte of a lock to the end of the file, however far that grows: l_len 0 of fcntl(2). */
export const LOCK_LAST_MAX = Number.MAX_SAFE_INTEGER;

type Owned = Pick<HeldLock, 'session' | 'owner'>;
type Range = Pick<HeldLock, 'first' | 'last'>;

export function isSameOwner(a: Owned, b: Owned): boolean {
  return a.owner === b.owner && a.session === b.session;
}

function overlaps(a: Range, b: Range): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** What of `held` keeps others from having `asked`. */
export function conflictsWith(held: HeldLock, asked: HeldLock | WaitingLock): boolean {
  return (held.exclusive || asked.exclusive) && overlaps(held, asked) && !isSameOwner(held, asked);
}

/** `lock` is held, instead of what its owner held in its range. */
export function withLock(held: readonly HeldLock[], lock: HeldLock): readonly HeldLock[] {
  return replaced(held, lock, lock, lock);
}

/** The owner holds nothing in the range. */
export function withoutRange(
  held: readonly HeldLock[],
  owner: Owned,
  range: Range,
): readonly HeldLock[] {
  return replaced(held, owner, range, null);
}

/** What is held after `asked` was tried, and whether it is held: nothing of others' was in the way. */
export function tried(
  held: readonly HeldLock[],
  kind: LockKind,
  asked: HeldLock,
): { readonly held: readonly HeldLock[]; readonly isFree: boolean } {
  let before = held;
  if (kind === 'flock') {
    // Changing a lock is not atomic: the old one is let go first (flock(2)). Otherwise two that
    // share a lock and both want it for themselves would wait for each other for ever.
    const own = held.find((one) => isSameOwner(one, asked));
    if (own !== undefined && own.exclusive !== asked.exclusive) {
      before = withoutRange(held, asked, own);
    }
  }
  const isFree = !before.some((one) => conflictsWith(one, asked));
  return { held: isFree ? withLock(before, asked) : before, isFree };
}

function replaced(
  held: readonly HeldLock[],
  owner: Owned,
  range: Range,
  lock: HeldLock | null,
): readonly HeldLock[] {
  if (lock === null && !held.some((one) => isSameOwner(one, owner) && overlaps(one, range))) {
    return held;
  }
  const own: HeldLock[] = lock === null ? [] : [lock];
  for (const one of held) {
    if (!isSameOwner(one, owner)) continue;
    if (!overlaps(one, range)) {
      own.push(one);
      continue;
    }
    if (one.first < range.first) own.push({ ...one, last: range.first - 1 });
    if (one.last > range.last) own.push({ ...one, first: range.last + 1 });
  }
  const at = held.findIndex((one) => isSameOwner(one, owner));
  const place = at < 0 ? held.length : at;
  // An owner's locks stand together: what is before the first is before them all.
  const after = held.slice(place).filter((one) => !isSameOwner(one, owner));
  return [...held.slice(0, place), ...merged(own), ...after];
}

function merged(own: HeldLock[]): readonly HeldLock[] {
  own.sort((a, b) => a.first - b.first);
  const locks: HeldLock[] = [];
  for (const lock of own) {
    const before = locks.at(-1);
    if (before?.exclusive === lock.exclusive && before.last + 1 >= lock.first) {
      locks[locks.length - 1] = { ...before, last: Math.max(before.last, lock.last) };
    } else {
      locks.push(lock);
    }
  }
  return locks;
}
