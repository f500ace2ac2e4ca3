import type { Clock, Timer } from '../base/clock.js';
import type { LockOutcome, ReturnedLocks } from '../filesystem/commands.js';
import { conflictsWith, isSameOwner, tried, withoutRange } from '../filesystem/lock-table.js';
import {
  DELEGATED_LOCKS_MAX,
  type HeldLock,
  type HeldLocks,
  type Ino,
  type LockKind,
} from '../filesystem/records.js';

/**
 * The decision is returned after this time in any case, and taken over anew with the next lock. So
 * others get it even when nobody hears that they want it, and a mount that dies keeps from others only
 * what it has locked a moment before.
 */
export const DELEGATED_MS_MAX = 5_000;
/**
 * Where others lock, too, this mount does not take the decision over again before: having it recalled
 * costs more than it saves.
 */
export const CONTENDED_MS = 1_000;
/** Inodes of which is known that others lock there; beyond it, all that is forgotten. */
const CONTENDED_INODES_MAX = 4_096;

/** The locks of one inode, of which this session alone has any. */
export class DelegatedLocks {
  constructor(
    readonly session: number,
    private held: HeldLocks,
  ) {}

  /** null: it would be more than can be returned; nothing is changed. */
  lock(kind: LockKind, asked: Omit<HeldLock, 'session'>): 'granted' | 'refused' | null {
    const { held, isFree } = tried(this.held[kind], kind, { ...asked, session: this.session });
    if (!this.take(kind, held)) return null;
    return isFree ? 'granted' : 'refused';
  }

  /** false: it would be more than can be returned; nothing is changed. */
  unlock(kind: LockKind, owner: string, range: Pick<HeldLock, 'first' | 'last'>): boolean {
    return this.take(kind, withoutRange(this.held[kind], { owner, session: this.session }, range));
  }

  /** What would keep the owner from a POSIX lock. */
  conflict(asked: Omit<HeldLock, 'session'>): HeldLock | null {
    const own = { ...asked, session: this.session };
    return this.held.posix.find((one) => conflictsWith(one, own)) ?? null;
  }

  holdsAny(kind: LockKind, owner: string): boolean {
    return this.held[kind].some((one) => isSameOwner(one, { owner, session: this.session }));
  }

  get returned(): ReturnedLocks {
    const own = (held: readonly HeldLock[]) => held.map(({ session: _session, ...one }) => one);
    return { posix: own(this.held.posix), flock: own(this.held.flock) };
  }

  private take(kind: LockKind, held: readonly HeldLock[]): boolean {
    const after = { ...this.held, [kind]: held };
    if (after.posix.length + after.flock.length > DELEGATED_LOCKS_MAX) return false;
    this.held = after;
    return true;
  }
}

interface Delegated {
  readonly locks: DelegatedLocks;
  readonly timer: Timer;
}

interface Asked {
  /** Resolves when it is known who decides. */
  readonly answered: Promise<unknown>;
  /** Somebody else wants locks there already. */
  isWanted: boolean;
}

export interface LockDelegationsParts {
  readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>;
  /** The session is not known to be over. */
  readonly isLive: (session: number) => boolean;
  /** Sends `return-locks`, before anything else is asked. */
  readonly giveBack: (ino: Ino, session: number | null, held: ReturnedLocks | null) => void;
}

/**
 * On which inodes this mount decides about locks itself (`Locks.delegate` of filesystem/records.ts),
 * and when it may ask to.
 *
 * The cluster's table and this one follow each other in the order of the session's commands. While a
 * command is on its way that may take the decision over, none but that one is: otherwise nobody could
 * say which of the tables a later one met. Nothing here waits for a lock: who has to, waits in the
 * cluster's queue, and the decision is returned before.
 */
export class LockDelegations {
  private readonly delegated = new Map<Ino, Delegated>();
  private readonly asked = new Map<Ino, Asked>();
  private readonly notBeforeMs = new Map<Ino, number>();

  constructor(private readonly parts: LockDelegationsParts) {}

  /** Resolves when it is known who decides; null: that is so already. */
  pending(ino: Ino): Promise<unknown> | null {
    return this.asked.get(ino)?.answered ?? null;
  }

  /** null: the cluster decides. */
  of(ino: Ino): DelegatedLocks | null {
    return this.delegated.get(ino)?.locks ?? null;
  }

  mayAsk(ino: Ino): boolean {
    return this.parts.clock.monotonicMs() >= (this.notBeforeMs.get(ino) ?? 0);
  }

  /** A command is on its way that may take over. */
  ask(ino: Ino, outcome: Promise<LockOutcome>): void {
    const asked: Asked = {
      isWanted: false,
      answered: outcome.then(
        (answer) => this.answered(ino, answer),
        () => this.answered(ino, null),
      ),
    };
    this.asked.set(ino, asked);
  }

  /** Somebody else wants a lock on the inode. */
  recalled(ino: Ino): void {
    const asked = this.asked.get(ino);
    if (asked !== undefined) asked.isWanted = true;
    else this.giveBack(ino, true);
  }

  /** The cluster decides again. `isContended`: others want locks there, or somebody has to wait. */
  giveBack(ino: Ino, isContended: boolean): void {
    if (isContended) this.pause(ino);
    const delegated = this.delegated.get(ino);
    if (delegated === undefined) {
      // The answer that gave it never came.
      this.parts.giveBack(ino, null, null);
      return;
    }
    delegated.timer.cancel();
    this.delegated.delete(ino);
    const { session, returned } = delegated.locks;
    this.parts.giveBack(ino, session, returned);
  }

  giveAllBack(): void {
    for (const asked of this.asked.values()) asked.isWanted = true;
    for (const ino of [...this.delegated.keys()]) this.giveBack(ino, false);
  }

  /** All is lost with its session. */
  drop(): void {
    for (const { timer } of this.delegated.values()) timer.cancel();
    this.delegated.clear();
  }

  private answered(ino: Ino, outcome: LockOutcome | null): void {
    const isWanted = this.asked.get(ino)?.isWanted ?? false;
    this.asked.delete(ino);
    if (!outcome?.takenOver) {
      this.pause(ino);
      return;
    }
    const { session, takenOver } = outcome;
    if (!this.parts.isLive(session)) return;
    const timer = this.parts.clock.setTimer(DELEGATED_MS_MAX, () => this.giveBack(ino, false));
    this.delegated.set(ino, { locks: new DelegatedLocks(session, takenOver), timer });
    if (isWanted) this.giveBack(ino, true);
  }

  private pause(ino: Ino): void {
    if (this.notBeforeMs.size >= CONTENDED_INODES_MAX) this.notBeforeMs.clear();
    this.notBeforeMs.set(ino, this.parts.clock.monotonicMs() + CONTENDED_MS);
  }
}
