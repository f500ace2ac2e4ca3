import type { Clock } from '../base/clock.js';
import { isMootError, MootError } from '../base/errors.js';
import {
  type CallOptions,
  DEADLINE_MS_DEFAULT,
  type FilesystemClient,
  type WatchListener,
} from '../client/filesystem-client.js';
import type { CancelLock, Lock, LockOutcome, ReturnedLocks } from '../filesystem/commands.js';
import { LOCK_LAST_MAX, withLock, withoutRange } from '../filesystem/lock-table.js';
import type { HeldLock, Ino, Inode, LockKind } from '../filesystem/records.js';
import { interrupted } from './abort.js';
import { type DelegatedLocks, LockDelegations } from './lock-delegations.js';
import type { Handle, LockHolder, LockRequest } from './mount.js';

/**
 * A request that waits is asked again after this time, in case the notice that it was granted was
 * lost. The same request again costs no place in the queue.
 */
const ASK_AGAIN_MS = 5_000;
/** Who is interrupted hears so after this time, though nobody has decided whether the lock came before. */
const CANCEL_MS = 1_000;
/**
 * flock(2) is let go by the last close(2), of which the kernel tells without waiting. Of two requests
 * that it sent one after the other the second may be read first; so long after that the first is
 * certainly there.
 */
const RELEASE_UNDER_WAY_MS = 10;
/** A mount that decides about locks which are wanted here is asked again after this, in case it did not hear. */
const RECALL_AGAIN_MS = 1_000;
/**
 * Who does not wait for locks waits no longer for a mount that is silent: what it decides about counts
 * as locked. One that lives has returned it by then, see DELEGATED_MS_MAX.
 */
const RECALL_MS_MAX = 10_000;

export interface LocksParts {
  readonly client: Pick<FilesystemClient, 'execute' | 'query' | 'session' | 'setSessionEnded'>;
  readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>;
  readonly callOptions: CallOptions;
  /** Sends what was written of the inode: it takes effect before what is asked from now on. */
  readonly send: (ino: Ino) => void;
  /** The same of all inodes: a lock of one file may stand for others. */
  readonly sendAll: () => void;
  /** Throws when nothing may go through this handle. */
  readonly check: (handle: Handle) => void;
  /** The kernel's pages are of this inode's content, or gone, when the promise resolves. */
  readonly locked: (inode: Inode) => Promise<void>;
  /** Locks were held here, and are not any more, without anybody having let them go. */
  readonly lost: () => void;
}

/** Somebody on this mount who may hold locks on an inode. */
interface Owner {
  readonly kind: LockKind;
  readonly name: string;
  /** Through which it asked: with the last close(2) of any of them it holds nothing any more. */
  readonly handles: Set<Handle>;
  /** Requests under way. */
  asking: number;
  mayHold: boolean;
  /** At least where it holds any: what it asked for and did not let go since. */
  cover: readonly HeldLock[];
}

/**
 * The locks of one mount's programs. The cluster decides who holds what, see filesystem/locks.ts, or
 * lets this mount decide where no other has any locks, see LockDelegations. Here is known who on this
 * mount may hold any, so that closing a file that nobody locked costs nothing.
 *
 * All locks of a mount are of one session. While there are any, everything that the mount changes is
 * bound to that session: when it is over, and the locks may be others', nothing that was written
 * under them takes effect any more, and the files that were open then are fenced off.
 */
export class Locks implements WatchListener {
  private readonly inodes = new Map<Ino, Map<string, Owner>>();
  /** What those wait for who were told that they are not granted, by their requests' numbers. */
  private readonly waiting = new Map<number, () => void>();
  /** Those who wait until another mount returns the decision about an inode's locks. */
  private readonly recalling = new Map<Ino, Set<() => void>>();
  private readonly delegations: LockDelegations;
  private lastRequest = 0;
  private holders = 0;
  private session: number | null = null;
  /** Counts owners who let go. */
  private letGo = 0;

  constructor(private readonly parts: LocksParts) {
    parts.client.setSessionEnded((session) => this.sessionEnded(session));
    this.delegations = new LockDelegations({
      clock: parts.clock,
      isLive: (session) => session === parts.client.session?.id,
      giveBack: (ino, session, held) => this.giveBack(ino, session, held),
    });
  }

  /** Nothing is decided here any more: the session is about to end. */
  end(): void {
    this.delegations.drop();
  }

  /** The session of the locks that are held; null: there are none. */
  get boundTo(): number | null {
    return this.holders > 0 ? this.session : null;
  }

  /**
   * A program that holds locks is about to change something: fails, instead of taking what will not
   * count, when they may be lost.
   */
  sure(signal: AbortSignal): Promise<unknown> | null {
    return this.boundTo === null ? null : this.sureOf(this.boundTo, signal);
  }

  private sureOf(inSession: number, signal: AbortSignal): Promise<unknown> | null {
    const { session } = this.parts.client;
    if (session?.id === inSession && session.isSure) return null;
    const options = { ...this.parts.callOptions, signal, inSession };
    return this.parts.client.execute({ type: 'nothing' }, options);
  }

  async set(ino: Ino, handle: Handle, request: LockRequest, signal: AbortSignal): Promise<void> {
    if (request.mode === 'unlock') {
      const owner = this.inodes.get(ino)?.get(keyOf(request.kind, request.owner));
      if (owner !== undefined) await this.unlock(ino, owner, request, signal);
      return;
    }
    const owner = this.ownerOf(ino, request);
    const before = owner.cover;
    covers(owner, request);
    const { cover } = owner;
    owner.asking++;
    owner.handles.add(handle);
    try {
      await this.lock(ino, handle, owner, request, signal);
    } catch (error) {
      // Refused for certain, and it asked for nothing else meanwhile.
      const isRefused = isMootError(error, 'EAGAIN') || isMootError(error, 'EDEADLK');
      if (isRefused && owner.cover === cover) owner.cover = before;
      throw error;
    } finally {
      owner.asking--;
      this.dropIdle(ino, owner);
    }
  }

  /** What would keep the caller from this lock. */
  async get(ino: Ino, request: LockRequest, signal: AbortSignal): Promise<LockHolder | null> {
    const { client, callOptions, clock } = this.parts;
    const { owner, mode, first, last } = request;
    const exclusive = mode === 'exclusive';
    const untilMs = clock.monotonicMs() + RECALL_MS_MAX;
    let isReturned = false;
    for (;;) {
      const undecided = this.undecided(ino, signal);
      if (undecided !== null) {
        await this.untilDecided(undecided, signal);
        continue;
      }
      const own = this.delegations.of(ino);
      if (own !== null) return own.conflict(askedLock(request));
      const session = client.session?.id ?? 0;
      const query = { type: 'get-lock', ino, session, owner, exclusive, first, last } as const;
      const options = { ...callOptions, signal };
      const returned = this.noticeOfReturn(ino);
      try {
        const { lock, delegate } = await client.query(query, { ...options, level: 'strong' });
        if (delegate === session && !isReturned) {
          // What was granted here is known there behind the decision, which is on its way back.
          await client.execute({ type: 'nothing' }, options);
          isReturned = true;
          continue;
        }
        if (delegate === null || delegate === session) {
          if (lock === null) return null;
          return { ...lock, pid: lock.session === session ? lock.pid : 0 };
        }
        // Nobody knows: as if all of it were locked.
        if (clock.monotonicMs() >= untilMs) return { exclusive: true, ...ALL, pid: 0 };
        await client.execute({ type: 'recall-locks', ino }, options);
        await orAborted(this.pause(RECALL_AGAIN_MS, returned.came), signal);
      } finally {
        returned.forget();
      }
      if (signal.aborted) throw interrupted();
    }
  }

  /**
   * Resolves when it may be known who decides about the inode's locks; null: it is known, until
   * something else is done. Where this mount does, its session is certain to be alive.
   */
  private undecided(ino: Ino, signal: AbortSignal): Promise<unknown> | null {
    const own = this.delegations.of(ino);
    return this.delegations.pending(ino) ?? (own && this.sureOf(own.session, signal));
  }

  private async untilDecided(undecided: Promise<unknown>, signal: AbortSignal): Promise<void> {
    try {
      await orAborted(undecided, signal);
    } catch (error) {
      if (!isMootError(error, 'SESSION_EXPIRED')) throw error;
      this.delegations.drop();
    }
    if (signal.aborted) throw interrupted();
  }

  /** close(2) of one of the owner's descriptors: it holds no POSIX lock on the inode any more. */
  closed(ino: Ino, name: string, signal: AbortSignal): Promise<void> | null {
    const owner = this.inodes.get(ino)?.get(keyOf('posix', name));
    return owner === undefined ? null : this.unlock(ino, owner, ALL, signal);
  }

  /** The last close(2). Sent before this returns: what is asked later finds it done. */
  released(ino: Ino, handle: Handle): void {
    for (const owner of [...(this.inodes.get(ino)?.values() ?? [])]) {
      if (owner.handles.has(handle)) this.unlock(ino, owner, ALL).catch(ignoreFailure);
    }
  }

  onChange(event: Parameters<WatchListener['onChange']>[0]): void {
    if (event.reset) {
      this.wakeAll();
      this.delegations.giveAllBack();
    }
    for (const effect of event.effects) {
      if (effect.type === 'delegation' && effect.ended) {
        for (const wake of this.recalling.get(effect.ino) ?? []) wake();
      }
      if (effect.type !== 'lock' && effect.type !== 'delegation') continue;
      if (effect.session !== this.parts.client.session?.id) continue;
      if (effect.type === 'lock') this.waiting.get(effect.request)?.();
      else if (!effect.ended) this.delegations.recalled(effect.ino);
    }
  }

  private wakeAll(): void {
    for (const wake of this.waiting.values()) wake();
    for (const waiting of this.recalling.values()) for (const wake of waiting) wake();
  }

  private async lock(
    ino: Ino,
    handle: Handle,
    owner: Owner,
    request: LockRequest,
    signal: AbortSignal,
  ): Promise<void> {
    const wait = request.waits ? ++this.lastRequest : null;
    const heldBefore = owner.mayHold;
    const recallUntilMs = this.parts.clock.monotonicMs() + RECALL_MS_MAX;
    let returned = this.noticeOfReturn(ino);
    let repeated = false;
    let isQueued = false;
    try {
      for (;;) {
        this.parts.check(handle);
        const undecided = this.undecided(ino, signal);
        if (undecided !== null) {
          await this.untilDecided(undecided, signal);
          continue;
        }
        const own = this.delegations.of(ino);
        const { letGo } = this;
        const decision = own === null ? null : this.decide(ino, own, owner, request);
        if (decision === 'granted') return;
        const notice = this.noticeOf(wait);
        returned.forget();
        returned = this.noticeOfReturn(ino);
        const asked = decision === null ? this.ask(ino, request, wait) : REFUSED;
        const outcome = await orAborted(asked, signal);
        if (outcome === null) {
          isQueued = false;
          const decided = wait === null ? asked : this.decidedOrCancelled(ino, wait, asked);
          return await this.interrupted(ino, owner, request, heldBefore, decided);
        }
        if (outcome.granted) {
          if (await this.granted(owner, request, outcome)) return;
        } else if (outcome.recalled) {
          isQueued = false;
          const isLate = this.parts.clock.monotonicMs() >= recallUntilMs;
          if (isLate && wait === null) throw new MootError('EAGAIN', `inode ${ino} is another's`);
          await orAborted(this.pause(RECALL_AGAIN_MS, returned.came), signal);
          if (signal.aborted) throw interrupted();
        } else if (wait === null) {
          repeated = !repeated && (await this.someoneLetsGo(ino, owner, letGo));
          if (!repeated) throw new MootError('EAGAIN', `inode ${ino} is locked by somebody else`);
        } else {
          isQueued = true;
          await orAborted(this.pause(ASK_AGAIN_MS, notice), signal);
          if (signal.aborted) {
            isQueued = false;
            const decided = this.cancel(ino, wait, outcome.session);
            return await this.interrupted(ino, owner, request, heldBefore, decided);
          }
        }
      }
    } catch (error) {
      if (isQueued || isMootError(error, 'OUTCOME_UNKNOWN')) {
        if (wait !== null) this.cancel(ino, wait, null).catch(ignoreFailure);
        this.undo(ino, owner, request, heldBefore);
      }
      throw error;
    } finally {
      if (wait !== null) this.waiting.delete(wait);
      returned.forget();
    }
  }

  /** null: it is the cluster's to decide, after all. */
  private decide(
    ino: Ino,
    own: DelegatedLocks,
    owner: Owner,
    request: LockRequest,
  ): 'granted' | 'refused' | null {
    const decision = own.lock(request.kind, askedLock(request));
    if (decision === 'granted') covers(owner, request);
    this.note(ino, own, owner);
    if (decision === 'granted' || (decision === 'refused' && !request.waits)) return decision;
    this.delegations.giveBack(ino, true);
    return null;
  }

  /** What was decided here says exactly who holds any. */
  private note(ino: Ino, own: DelegatedLocks, owner: Owner): void {
    const holds = own.holdsAny(owner.kind, owner.name);
    if (holds) {
      this.holds(owner, own.session);
      return;
    }
    this.holdsNone(ino, owner);
  }

  private holds(owner: Owner, session: number): void {
    this.session = session;
    if (!owner.mayHold) this.holders++;
    owner.mayHold = true;
  }

  private holdsNone(ino: Ino, owner: Owner): void {
    if (owner.mayHold) this.holders--;
    owner.mayHold = false;
    owner.cover = [];
    if (owner.asking === 0) owner.handles.clear();
    this.dropIdle(ino, owner);
  }

  /** Who gets to decide next finds all that was written before. */
  private giveBack(ino: Ino, session: number | null, held: ReturnedLocks | null): void {
    this.parts.sendAll();
    const options = { deadlineMs: Number.POSITIVE_INFINITY };
    this.parts.client
      .execute(
        { type: 'return-locks', ino, held },
        session === null ? options : { ...options, inSession: session },
      )
      .catch((error: unknown) => {
        ignoreFailure(error);
        // The session lives on, and the cluster does not know what was granted here.
        if (held !== null && !isMootError(error, 'SESSION_EXPIRED')) this.parts.lost();
      });
  }

  /** What was written before is committed when the lock is decided. */
  private ask(ino: Ino, request: LockRequest, wait: number | null): Promise<LockOutcome> {
    this.parts.send(ino);
    const takesOver = this.delegations.mayAsk(ino);
    const command = lockCommand(ino, request, wait, takesOver);
    const outcome = this.execute(command, this.parts.callOptions);
    if (!takesOver) return outcome;
    const usable = outcome.then((answer) => this.withPages(answer));
    this.delegations.ask(ino, usable);
    return usable;
  }

  /** Who decides here grants at once: before that, the kernel's pages must be right. */
  private async withPages(outcome: LockOutcome): Promise<LockOutcome> {
    const { takenOver, file } = outcome;
    if (takenOver !== null && file !== null) await this.parts.locked(file);
    return outcome;
  }

  /** A request that is on its way is to wait no longer. Cancelled, what never waited seems granted. */
  private async decidedOrCancelled(
    ino: Ino,
    request: number,
    asked: Promise<LockOutcome>,
  ): Promise<LockOutcome> {
    const cancelled = this.cancel(ino, request, null);
    const outcome = await asked;
    return outcome.recalled ? outcome : cancelled;
  }

  /** `session`: where the request waits; null: wherever it was asked last. */
  private cancel(ino: Ino, request: number, session: number | null): Promise<LockOutcome> {
    const command = { type: 'cancel-lock', ino, request } as const;
    const bound = session === null ? {} : { inSession: session };
    return this.execute(command, { deadlineMs: Number.POSITIVE_INFINITY, ...bound });
  }

  private execute(command: Lock | CancelLock, options: CallOptions): Promise<LockOutcome> {
    const { boundTo } = this;
    const bound = boundTo === null ? {} : { inSession: boundTo };
    const outcome = this.parts.client.execute<'lock' | 'cancel-lock'>(command, {
      ...bound,
      ...options,
    });
    // Not everybody who asks waits for the answer.
    outcome.catch(ignoreFailure);
    return outcome;
  }

  /** The caller gives up, unless the lock turns out to have come before. */
  private async interrupted(
    ino: Ino,
    owner: Owner,
    request: LockRequest,
    heldBefore: boolean,
    decided: Promise<LockOutcome>,
  ): Promise<void> {
    const soon = decided.catch((error) => ignoreFailure(error));
    const outcome = await Promise.race([soon, this.pause(CANCEL_MS, soon)]);
    if (outcome?.granted && (await this.granted(owner, request, outcome))) return;
    if (outcome === undefined) this.undo(ino, owner, request, heldBefore);
    throw interrupted();
  }

  /**
   * It was told that it has no lock, and may have got one. What it held before, or another of its threads
   * got meanwhile, is not taken away: then it may hold more than it knows, until it lets go.
   */
  private undo(ino: Ino, owner: Owner, request: LockRequest, heldBefore: boolean): void {
    if (heldBefore || owner.mayHold) return;
    this.unlock(ino, owner, request).catch(ignoreFailure);
  }

  /** False: the session is over already, and the lock with it. */
  private async granted(
    owner: Owner,
    request: LockRequest,
    outcome: LockOutcome,
  ): Promise<boolean> {
    const { session, file, takenOver } = outcome;
    if (session !== this.parts.client.session?.id) return false;
    // It may have let go of all meanwhile, as what it had before.
    covers(owner, request);
    this.holds(owner, session);
    if (file !== null && takenOver === null) await this.parts.locked(file);
    return true;
  }

  /** Whatever becomes of the caller: what is let go must not stay locked. */
  private async unlock(
    ino: Ino,
    owner: Owner,
    range: Pick<LockRequest, 'first' | 'last'>,
    signal?: AbortSignal,
  ): Promise<void> {
    const done = this.letGoOf(ino, owner, range);
    if (done === null) return;
    const { deadlineMs = DEADLINE_MS_DEFAULT } = this.parts.callOptions;
    const late = Number.isFinite(deadlineMs) ? [this.pause(deadlineMs, done)] : [];
    const outcome = await orAborted(Promise.race([done, ...late]), signal);
    if (outcome === null) throw interrupted();
    if (outcome === undefined) throw new MootError('NO_LEADER', 'nobody decides about an unlock');
  }

  /** Decided here (null), or sent, before this returns; later, when it is not known yet who decides. */
  private letGoOf(
    ino: Ino,
    owner: Owner,
    range: Pick<LockRequest, 'first' | 'last'>,
  ): Promise<unknown> | null {
    const pending = this.delegations.pending(ino);
    if (pending !== null) return pending.then(() => this.letGoOf(ino, owner, range));
    const { kind, name } = owner;
    const { first, last } = range;
    this.letGo++;
    owner.cover = withoutRange(owner.cover, { session: 0, owner: name }, range);
    const own = this.delegations.of(ino);
    if (own !== null) {
      if (own.unlock(kind, name, range)) {
        this.note(ino, own, owner);
        return null;
      }
      this.delegations.giveBack(ino, false);
    }
    this.parts.sendAll();
    const request = { kind, mode: 'unlock', owner: name, pid: 0, first, last } as const;
    const done = this.execute(lockCommand(ino, request, null, false), {
      deadlineMs: Number.POSITIVE_INFINITY,
    }).catch((error: unknown) => {
      // What would have split a lock, of which there are too many: all of it is held as before.
      if (isMootError(error, 'ENOLCK') && owner.mayHold) covers(owner, range);
      throw error;
    });
    const isAll = first === 0 && last === LOCK_LAST_MAX;
    if (isAll || (owner.cover.length === 0 && owner.asking === 0)) this.holdsNone(ino, owner);
    return done;
  }

  /** Another open file of this mount was closed for the last time meanwhile. */
  private async someoneLetsGo(ino: Ino, own: Owner, letGoBefore: number): Promise<boolean> {
    if (own.kind !== 'flock') return false;
    const owners = [...(this.inodes.get(ino)?.values() ?? [])];
    const isHere = owners.some(({ kind, mayHold }) => kind === 'flock' && mayHold);
    if (this.letGo === letGoBefore && isHere) await this.pause(RELEASE_UNDER_WAY_MS);
    return this.letGo !== letGoBefore;
  }

  /** All that was held is lost; who waits asks anew. */
  private sessionEnded(session: number): void {
    this.wakeAll();
    this.delegations.drop();
    if (session !== this.boundTo) return;
    for (const [ino, owners] of [...this.inodes]) {
      for (const owner of [...owners.values()]) {
        owner.mayHold = false;
        owner.cover = [];
        this.dropIdle(ino, owner);
      }
    }
    this.holders = 0;
    this.session = null;
    this.parts.lost();
  }

  private ownerOf(ino: Ino, { kind, owner: name }: LockRequest): Owner {
    const owners = this.inodes.get(ino) ?? new Map<string, Owner>();
    this.inodes.set(ino, owners);
    const key = keyOf(kind, name);
    const owner = owners.get(key) ?? {
      ...{ kind, name, handles: new Set(), asking: 0, mayHold: false, cover: [] },
    };
    owners.set(key, owner);
    return owner;
  }

  private dropIdle(ino: Ino, owner: Owner): void {
    if (owner.mayHold || owner.asking > 0) return;
    const owners = this.inodes.get(ino);
    const key = keyOf(owner.kind, owner.name);
    if (owners?.get(key) !== owner) return;
    owners.delete(key);
    if (owners.size === 0) this.inodes.delete(ino);
  }

  /** `came` resolves when another mount has returned the decision about the inode's locks. */
  private noticeOfReturn(ino: Ino): { readonly came: Promise<void>; readonly forget: () => void } {
    const waiting = this.recalling.get(ino) ?? new Set();
    this.recalling.set(ino, waiting);
    let wake = () => {};
    const came = new Promise<void>((resolve) => {
      wake = resolve;
    });
    waiting.add(wake);
    const forget = () => {
      waiting.delete(wake);
      if (waiting.size === 0 && this.recalling.get(ino) === waiting) this.recalling.delete(ino);
    };
    return { came, forget };
  }

  private noticeOf(wait: number | null): Promise<void> {
    return new Promise((resolve) => {
      if (wait !== null) this.waiting.set(wait, resolve);
    });
  }

  /** Until then, or until one of `orUntil` has settled. */
  private pause(ms: number, ...orUntil: readonly Promise<unknown>[]): Promise<undefined> {
    return new Promise((resolve) => {
      const timer = this.parts.clock.setTimer(ms, () => resolve(undefined));
      const end = () => {
        timer.cancel();
        resolve(undefined);
      };
      for (const other of orUntil) other.then(end, end);
    });
  }
}

/** Whether it is granted or not: what is asked for may be held until it is let go. */
function covers(owner: Owner, { first, last }: Pick<LockRequest, 'first' | 'last'>): void {
  const lock = { session: 0, owner: owner.name, pid: 0, exclusive: true, first, last };
  owner.cover = withLock(owner.cover, lock);
  if (owner.cover.length > COVERED_RANGES_MAX) owner.cover = [{ ...lock, ...ALL }];
}

/** Of more it is as if all were locked. */
const COVERED_RANGES_MAX = 256;

const ALL = { first: 0, last: LOCK_LAST_MAX };

/** What this mount answers that decides itself. */
const REFUSED: Promise<LockOutcome> = Promise.resolve({
  granted: false,
  session: 0,
  file: null,
  takenOver: null,
  recalled: false,
});

function keyOf(kind: LockKind, name: string): string {
  return `${kind} ${name}`;
}

function lockCommand(
  ino: Ino,
  { kind, mode, owner, pid, first, last }: Omit<LockRequest, 'waits'>,
  wait: number | null,
  takesOver: boolean,
): Lock {
  const command = { type: 'lock', ino, kind, mode, owner, pid, first, last, wait } as const;
  return takesOver ? { ...command, takesOver } : command;
}

function askedLock({ owner, pid, mode, first, last }: LockRequest): Omit<HeldLock, 'session'> {
  return { owner, pid, exclusive: mode === 'exclusive', first, last };
}

/** null: the signal was aborted before. */
function orAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T | null> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const giveUp = () => resolve(null);
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

/** Nobody is there to be told, or somebody else was. */
function ignoreFailure(error: unknown): undefined {
  if (!isMootError(error)) throw error;
}
