import { assert } from '../base/assert.js';
import { anyInode } from './attributes.js';
import type { CancelLock, Lock, LockOutcome, RecallLocks, ReturnLocks } from './commands.js';
import type { Draft } from './draft.js';
import { locksKey, sessionKey, WAITING } from './keys.js';
import { conflictsWith, isSameOwner, tried, withLock, withoutRange } from './lock-table.js';
import {
  DELEGATED_INODES_MAX,
  DELEGATED_LOCKS_MAX,
  type HeldLock,
  type HeldLocks,
  type Ino,
  LOCKED_INODES_MAX,
  LOCKS_PER_INODE_MAX,
  LOCKS_WAITING_MAX,
  type LockKind,
  type Locks,
  type Session,
  type WaitingLock,
} from './records.js';
import { refuse } from './refusal.js';

/**
 * Locks belong to sessions and end with them. What an owner asks for and cannot have waits in one
 * queue for the whole tree, and every command that lets something go grants what has become free,
 * in the order of the queue. Nobody waits behind a waiting one: that is how Linux does it, too.
 *
 * A session that alone has locks on an inode may take over the decision about them (`delegate`) until
 * somebody else wants any: then it is asked to return it, with the locks that it has granted. Nobody
 * waits where it decides, so that each circle of waiting owners shows in the queue.
 */

const NO_LOCKS: Locks = { posix: [], flock: [], delegate: null };
const NO_ONE: readonly WaitingLock[] = [];
const NOT_GRANTED = { granted: false, file: null, takenOver: null, recalled: false } as const;

/**
 * fcntl(2) with F_SETLK or F_SETLKW, and flock(2). EDEADLK when a POSIX lock would wait for its own
 * owner, ENOLCK beyond the bounds. The same request again finds its place in the queue, or, when it
 * was granted meanwhile, its lock.
 */
export function lock(draft: Draft, command: Lock, session: Session | null): LockOutcome {
  assert(session !== null, 'a lock is of a session');
  const { ino, kind, mode } = command;
  const { delegate } = locksOf(draft, ino);
  if (delegate !== null && delegate !== session.id) {
    if (mode === 'unlock') return { ...NOT_GRANTED, granted: true, session: session.id };
    draft.delegation(ino, delegate, false);
    return { ...NOT_GRANTED, session: session.id, recalled: true };
  }
  // It has not heard that it decides, or does not want to.
  if (delegate !== null) endDelegation(draft, ino);
  if (mode === 'unlock') {
    const before = locksOf(draft, ino);
    const held = withoutRange(before[kind], { ...command, session: session.id }, command);
    refuseTooMany(held, before[kind]);
    putLocks(draft, ino, before, { ...before, [kind]: held });
    grantWaiting(draft, ino);
    return { ...NOT_GRANTED, granted: true, session: session.id };
  }
  const file = anyInode(draft, ino);
  if (session.locks.length >= LOCKED_INODES_MAX && !session.locks.includes(ino)) refuse('ENOLCK');
  const { owner, pid, first, last } = command;
  const asked: HeldLock = {
    session: session.id,
    owner,
    pid,
    exclusive: mode === 'exclusive',
    first,
    last,
  };
  const granted = take(draft, ino, kind, asked) || isQueued(draft, command, asked);
  if (!granted) return { ...NOT_GRANTED, session: session.id };
  const takenOver = command.takesOver ? takeOver(draft, ino, session.id) : null;
  return { ...NOT_GRANTED, granted, session: session.id, file, takenOver };
}

/** The lock is held now; false: somebody else's is in the way. */
function take(draft: Draft, ino: Ino, kind: LockKind, asked: HeldLock): boolean {
  const before = locksOf(draft, ino);
  const { held, isFree } = tried(before[kind], kind, asked);
  refuseTooMany(held, before[kind]);
  putLocks(draft, ino, before, { ...before, [kind]: held });
  grantWaiting(draft, ino);
  return isFree;
}

/** Not granted: waits if it is to. */
function isQueued(draft: Draft, { ino, kind, wait }: Lock, asked: HeldLock): false {
  if (wait === null) return false;
  const waiting = draft.get(WAITING) ?? NO_ONE;
  const one: WaitingLock = { ...asked, ino, kind, request: wait };
  if (waiting.some((other) => isSameOwner(other, one) && other.request === wait)) return false;
  if (waiting.length >= LOCKS_WAITING_MAX) return refuse('ENOLCK');
  if (kind === 'posix' && waitsForItself(draft, waiting, one)) return refuse('EDEADLK');
  draft.put(WAITING, [...waiting, one]);
  return false;
}

/** Letting a whole lock go is never refused; letting go the middle of one makes two. */
function refuseTooMany(after: readonly HeldLock[], before: readonly HeldLock[]): void {
  if (after.length > LOCKS_PER_INODE_MAX && after.length > before.length) refuse('ENOLCK');
}

/**
 * The request waits no longer. Granted: it does not wait, so it was granted before, and its owner
 * has the lock.
 */
export function cancelLock(
  draft: Draft,
  command: CancelLock,
  session: Session | null,
): LockOutcome {
  assert(session !== null, 'a lock is of a session');
  const { ino, request } = command;
  const mine = (one: WaitingLock) =>
    one.session === session.id && one.ino === ino && one.request === request;
  const granted = !dropWaiting(draft, mine);
  const file = granted ? (draft.inode(ino) ?? null) : null;
  return { ...NOT_GRANTED, granted, session: session.id, file };
}

/** null: others have locks there, or wait, or it decides about enough. */
function takeOver(draft: Draft, ino: Ino, id: number): HeldLocks | null {
  const before = locksOf(draft, ino);
  const held = [...before.posix, ...before.flock];
  const isAlone =
    held.every((one) => one.session === id) &&
    !(draft.get(WAITING) ?? NO_ONE).some((one) => one.ino === ino);
  const { locks } = sessionOf(draft, id);
  if (!isAlone || held.length > DELEGATED_LOCKS_MAX || locks.length > DELEGATED_INODES_MAX) {
    return null;
  }
  putLocks(draft, ino, before, { ...before, delegate: id });
  return { posix: before.posix, flock: before.flock };
}

export function recallLocks(draft: Draft, { ino }: RecallLocks, session: Session | null): null {
  const { delegate } = locksOf(draft, ino);
  if (delegate !== null && delegate !== session?.id) draft.delegation(ino, delegate, false);
  return null;
}

/** Locks that contradict each other only a broken client returns: of two the first counts. */
export function returnLocks(draft: Draft, command: ReturnLocks, session: Session | null): null {
  assert(session !== null, 'a lock is of a session');
  const { ino, held } = command;
  if (locksOf(draft, ino).delegate !== session.id) return null;
  endDelegation(draft, ino);
  if (held === null) return null;
  const before = locksOf(draft, ino);
  const all = (kind: LockKind) =>
    held[kind].reduce<readonly HeldLock[]>((locks, one) => {
      const own = { ...one, session: session.id };
      return locks.some((other) => conflictsWith(other, own)) ? locks : withLock(locks, own);
    }, []);
  putLocks(draft, ino, before, { ...before, posix: all('posix'), flock: all('flock') });
  return null;
}

function endDelegation(draft: Draft, ino: Ino): void {
  const before = locksOf(draft, ino);
  assert(before.delegate !== null, 'somebody decides');
  putLocks(draft, ino, before, { ...before, delegate: null });
  draft.delegation(ino, before.delegate, true);
}

/** The session ends: so do its locks and its waiting. Its own record is the caller's to remove. */
export function dropLocks(draft: Draft, session: Session): void {
  dropWaiting(draft, (one) => one.session === session.id);
  const isOthers = (one: HeldLock) => one.session !== session.id;
  draft.getAll(session.locks.map(locksKey));
  for (const ino of session.locks) {
    const { posix, flock, delegate } = locksOf(draft, ino);
    if (delegate === session.id) draft.delegation(ino, delegate, true);
    storeLocks(draft, ino, {
      posix: posix.filter(isOthers),
      flock: flock.filter(isOthers),
      delegate: delegate === session.id ? null : delegate,
    });
  }
  for (const ino of session.locks) grantWaiting(draft, ino);
}

function locksOf(draft: Draft, ino: Ino): Locks {
  return draft.get(locksKey(ino)) ?? NO_LOCKS;
}

/** With what the sessions' own records say of it. */
function putLocks(draft: Draft, ino: Ino, before: Locks, after: Locks): void {
  const { posix, flock, delegate } = before;
  if (posix === after.posix && flock === after.flock && delegate === after.delegate) return;
  storeLocks(draft, ino, after);
  const had = sessionsOf(before);
  const has = sessionsOf(after);
  for (const id of has) {
    if (had.has(id)) continue;
    const session = sessionOf(draft, id);
    draft.put(sessionKey(id), { ...session, locks: [...session.locks, ino] });
  }
  for (const id of had) {
    if (has.has(id)) continue;
    const session = sessionOf(draft, id);
    const locks = session.locks.filter((other) => other !== ino);
    draft.put(sessionKey(id), { ...session, locks });
  }
}

function sessionsOf({ posix, flock, delegate }: Locks): Set<number> {
  const ids = new Set([...posix, ...flock].map((one) => one.session));
  return delegate === null ? ids : ids.add(delegate);
}

function sessionOf(draft: Draft, id: number): Session {
  const session = draft.get(sessionKey(id));
  assert(session !== undefined, 'who holds a lock is alive');
  return session;
}

function storeLocks(draft: Draft, ino: Ino, locks: Locks): void {
  const { posix, flock, delegate } = locks;
  if (posix.length + flock.length > 0 || delegate !== null) draft.put(locksKey(ino), locks);
  else draft.delete(locksKey(ino));
}

/** True: there was one. */
function dropWaiting(draft: Draft, isMeant: (one: WaitingLock) => boolean): boolean {
  const waiting = draft.get(WAITING) ?? NO_ONE;
  const left = waiting.filter((one) => !isMeant(one));
  if (left.length === waiting.length) return false;
  if (left.length > 0) draft.put(WAITING, left);
  else draft.delete(WAITING);
  return true;
}

/** Grants what is free by now. A lock that takes the place of a stronger one of its owner may free others. */
function grantWaiting(draft: Draft, ino: Ino): void {
  for (;;) {
    const waiting = draft.get(WAITING) ?? NO_ONE;
    const free = waiting.find((one) => one.ino === ino && blockersOf(draft, one).length === 0);
    if (free === undefined) return;
    const { kind, request: _request, ino: _ino, ...granted } = free;
    const before = locksOf(draft, ino);
    putLocks(draft, ino, before, { ...before, [kind]: withLock(before[kind], granted) });
    dropWaiting(draft, (one) => one === free);
    draft.lockGranted(ino, free.session, free.request);
  }
}

function blockersOf(draft: Draft, asked: WaitingLock): readonly HeldLock[] {
  return locksOf(draft, asked.ino)[asked.kind].filter((held) => conflictsWith(held, asked));
}

/** The waiting of `asked` would close a circle of owners that wait for each other. */
function waitsForItself(
  draft: Draft,
  waiting: readonly WaitingLock[],
  asked: WaitingLock,
): boolean {
  const nameOf = ({ session, owner }: HeldLock | WaitingLock) => `${session} ${owner}`;
  const byOwner = new Map<string, WaitingLock[]>();
  for (const one of waiting) {
    if (one.kind !== 'posix') continue;
    const name = nameOf(one);
    const more = byOwner.get(name);
    if (more === undefined) byOwner.set(name, [one]);
    else more.push(one);
  }
  const passed = new Set<string>();
  const found = blockersOf(draft, asked).map(nameOf);
  for (let name = found.pop(); name !== undefined; name = found.pop()) {
    if (name === nameOf(asked)) return true;
    if (passed.has(name)) continue;
    passed.add(name);
    for (const one of byOwner.get(name) ?? []) found.push(...blockersOf(draft, one).map(nameOf));
  }
  return false;
}
