import type { Clock } from '../base/clock.js';
import type { Changes } from '../codec/client-messages.js';
import { type FactKey, keyOfEffect } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';

/** Clients with a lease at one time; more are served without. Each costs a look per applied command. */
const LEASES_MAX = 1_024;
/**
 * Inodes and names that one client may keep. Beyond it the client is told to forget everything: its
 * own cache is smaller, so that seldom happens. Far more than the answers that may wait for one
 * client (REQUESTS_MAX in clients.ts), which are taken over into the new set.
 */
const INTEREST_MAX = 65_536;
/** Of all clients together: a name takes about 100 bytes. Who keeps most is told to forget everything. */
const INTERESTS_MAX = 2_000_000;
/** They are counted after so many answers' worth of them. */
const COUNTED_AFTER = 16_384;
/**
 * Of answers to queries that wait until somebody has acknowledged, over all clients. Beyond it a
 * query is refused and asked again in a while. A lease's time is short: this is read much faster.
 */
export const WAITING_BYTES_MAX = 33_554_432;
/** Effects in one message, unless one command has more. */
const CHANGES_EFFECTS_MAX = 4_096;

/** A connection that may hold a lease. */
export interface LeaseHolder {
  push(changes: Changes): void;
}

/** An answer that says something about the tree as of `index`. */
export interface LeasedAnswer {
  readonly index: number;
  /** It answers the client's own command, decided at this moment. */
  readonly ownCommand: boolean;
  /** What the client may keep of it. Asked only when it holds a lease. */
  readonly reveals: () => readonly FactKey[];
  /** What it takes in memory while it waits; 0 of a command's reply, which the session keeps, too. */
  readonly bytes: number;
  /** `changes`: what the command changed of what the client keeps, instead of a push. */
  readonly send: (changes: Changes | null) => void;
  /** This node cannot give the answer: it leads no longer, or too many wait. */
  readonly refuse: (why: 'office' | 'full') => void;
}

interface Lease {
  readonly holder: LeaseHolder;
  expiresMs: number;
  /** What the client may have in its cache, and what answers on their way may put there. */
  interest: Set<FactKey>;
  /** Effects that are not pushed yet; the last of `unacknowledged` is theirs. */
  pending: {
    readonly id: number;
    /** The first command whose effects are in it. */
    readonly firstIndex: number;
    effects: Effect[];
    index: number;
    reset: boolean;
  } | null;
  readonly unacknowledged: {
    readonly id: number;
    /** From this index on others must not see what this client does not know of. */
    readonly index: number;
    readonly sinceMs: number;
  }[];
}

interface Waiting {
  readonly holder: LeaseHolder;
  readonly answer: LeasedAnswer;
}

/**
 * What lets clients answer strong queries from their own memory (leases after Gray and Cheriton
 * 1989, "Leases: an efficient fault-tolerant mechanism for distributed file cache consistency").
 *
 * A client with a lease keeps what answers told it. When an applied command changes something that
 * the client may keep, it is told, and a HOLD begins at the command's index: no answer that was
 * computed at this index or later leaves for anybody else before the client has acknowledged, or
 * its lease is over. So nobody sees the new state while somebody still answers the old one. The
 * client itself gets the changes before any such answer, over the same connection, which keeps
 * their order; so it need not wait.
 *
 * Leases of an earlier leader are unknown here. They were granted after a round in which a majority
 * still followed that leader, one of which voted for this one later: they are over when `leaseMs`
 * have passed since this node began to lead. Until then nothing is answered and nothing granted.
 *
 * Everything is decided when an answer is computed, in the order of the indexes.
 */
export class Leases {
  private office: { readonly term: number; readonly readyMs: number } | null = null;
  private readonly leases = new Map<LeaseHolder, Lease>();
  /** Leadership is being handed over. */
  private ending = false;
  private waiting: Waiting[] = [];
  /** Of those that wait. */
  private waitingBytes = 0;
  /** Since all interests were last counted. */
  private notedSince = 0;
  private appliedIndex = 0;
  /** Pushes count up over all leases: a late acknowledgement must not be taken for one of a new lease. */
  private lastId = 0;

  constructor(
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly leaseMs: number,
    private readonly interestsMax = INTERESTS_MAX,
  ) {}

  /** False: there are no leases, answers leave at once, and any node may confirm strong reads. */
  get on(): boolean {
    return this.leaseMs > 0;
  }

  /** The term in which this node leads; null: it does not. */
  get term(): number | null {
    return this.office?.term ?? null;
  }

  /** This node leads from now on; `grantsOver`: no lease of an earlier leader is left. */
  begin(term: number, { grantsOver }: { readonly grantsOver: boolean }): void {
    this.end();
    const nowMs = this.clock.monotonicMs();
    this.office = { term, readyMs: grantsOver ? nowMs : nowMs + this.leaseMs };
  }

  /** Grants nothing more in this term; true when no lease, of this leader or another, is left. */
  runOut(): boolean {
    this.ending = true;
    const nowMs = this.clock.monotonicMs();
    if (this.office !== null && nowMs < this.office.readyMs) return false;
    return ![...this.leases.values()].some(({ expiresMs }) => expiresMs > nowMs);
  }

  /** It was not to be; only before anybody was told that nothing is granted. */
  goOn(): void {
    this.ending = false;
  }

  /** This node leads no longer: it does not know what the next leader's clients keep. */
  end(): void {
    this.office = null;
    this.ending = false;
    this.leases.clear();
    this.waitingBytes = 0;
    for (const { answer } of this.waiting.splice(0)) answer.refuse('office');
  }

  /**
   * A lease for that many milliseconds, counted by the client from its request; null: not now. Only
   * after a majority has confirmed, since the request came, that this node leads.
   */
  grant(holder: LeaseHolder): number | null {
    const nowMs = this.clock.monotonicMs();
    if (this.office === null || this.ending || nowMs < this.office.readyMs) return null;
    const lease = this.live(holder, nowMs);
    if (lease === undefined) {
      if (this.leases.size >= LEASES_MAX) return null;
      this.leases.set(holder, {
        holder,
        expiresMs: nowMs + this.leaseMs,
        interest: new Set(),
        pending: null,
        unacknowledged: [],
      });
      return this.leaseMs;
    }
    // Who asks for more time and does not take notice of changes must not keep all others waiting.
    const oldest = lease.unacknowledged[0];
    if (oldest !== undefined && nowMs - oldest.sinceMs > this.leaseMs) return null;
    lease.expiresMs = nowMs + this.leaseMs;
    this.push(lease);
    return this.leaseMs;
  }

  /** The client has forgotten what all pushes up to this one ended. */
  acknowledge(holder: LeaseHolder, id: number): void {
    const unacknowledged = this.leases.get(holder)?.unacknowledged;
    if (unacknowledged === undefined) return;
    let count = 0;
    for (const { id: pushed } of unacknowledged) if (pushed <= id) count++;
    if (count === 0) return;
    unacknowledged.splice(0, count);
    this.release();
  }

  /** A command was applied. Before its own reply is handed to `answer`. */
  applied(index: number, effects: readonly Effect[]): void {
    this.appliedIndex = index;
    if (this.leases.size === 0 || effects.length === 0) return;
    const nowMs = this.clock.monotonicMs();
    const keys = effects.map(keyOfEffect);
    for (const lease of this.leases.values()) {
      if (lease.expiresMs <= nowMs) continue;
      // What was told once needs no telling again until another answer reveals it.
      const told = effects.filter((_, i) => {
        const key = keys[i];
        return key !== undefined && key !== null && lease.interest.delete(key);
      });
      if (told.length === 0) continue;
      const pending = this.hold(lease, index, nowMs);
      pending.effects.push(...told);
      pending.index = index;
      if (pending.effects.length >= CHANGES_EFFECTS_MAX) this.push(lease);
    }
  }

  /** A batch of commands ended: what they changed is told at once. */
  flush(): void {
    for (const lease of this.leases.values()) this.push(lease);
  }

  /** Sends the answer now, or as soon as nobody can answer anything older any more. */
  answer(holder: LeaseHolder, answer: LeasedAnswer): void {
    if (!this.on) {
      answer.send(null);
      return;
    }
    if (this.office === null) {
      answer.refuse('office');
      return;
    }
    const nowMs = this.clock.monotonicMs();
    const lease = this.live(holder, nowMs);
    const waits = nowMs < this.office.readyMs || answer.index >= this.limitFor(nowMs)(holder);
    if (waits && answer.bytes > 0 && this.waitingBytes + answer.bytes > WAITING_BYTES_MAX) {
      answer.refuse('full');
      return;
    }
    if (lease === undefined) {
      if (waits) this.wait(holder, answer);
      else answer.send(null);
      return;
    }
    // The client's own command is the only one that is pending: its reply says what it changed.
    const alone = answer.ownCommand && lease.pending?.firstIndex === answer.index;
    const changes = alone && !waits ? this.takePending(lease) : null;
    this.note(lease, answer.reveals(), nowMs);
    if (waits) this.wait(holder, answer);
    else {
      this.push(lease);
      answer.send(changes);
    }
  }

  /** Called every few milliseconds: leases run out. */
  tick(): void {
    const nowMs = this.clock.monotonicMs();
    for (const [holder, lease] of this.leases) {
      if (lease.expiresMs <= nowMs) this.leases.delete(holder);
    }
    this.release();
  }

  private wait(holder: LeaseHolder, answer: LeasedAnswer): void {
    this.waitingBytes += answer.bytes;
    this.waiting.push({ holder, answer });
  }

  private live(holder: LeaseHolder, nowMs: number): Lease | undefined {
    const lease = this.leases.get(holder);
    if (lease === undefined || lease.expiresMs > nowMs) return lease;
    this.leases.delete(holder);
    return undefined;
  }

  private note(lease: Lease, keys: readonly FactKey[], nowMs: number): void {
    for (const key of keys) lease.interest.add(key);
    if (lease.interest.size > INTEREST_MAX) this.forgetAll(lease, keys, nowMs);
    this.notedSince += keys.length;
    if (this.notedSince < Math.min(COUNTED_AFTER, this.interestsMax)) return;
    this.notedSince = 0;
    const bySize = [...this.leases.values()].sort((a, b) => a.interest.size - b.interest.size);
    let total = bySize.reduce((sum, { interest }) => sum + interest.size, 0);
    while (total > this.interestsMax) {
      const most = bySize.pop();
      if (most === undefined) return;
      total -= most.interest.size;
      // What is about to leave may be kept.
      this.forgetAll(most, most === lease ? keys : [], nowMs);
    }
  }

  private forgetAll(lease: Lease, keys: readonly FactKey[], nowMs: number): void {
    lease.interest = new Set(keys);
    for (const { holder, answer } of this.waiting) {
      // These leave after the reset, and what they say may be kept.
      if (holder === lease.holder) for (const key of answer.reveals()) lease.interest.add(key);
    }
    const pending = this.hold(lease, this.appliedIndex, nowMs);
    pending.effects = [];
    pending.index = this.appliedIndex;
    pending.reset = true;
    this.push(lease);
  }

  /** What is to be pushed next; its hold begins now. */
  private hold(lease: Lease, index: number, nowMs: number): NonNullable<Lease['pending']> {
    if (lease.pending === null) {
      const id = ++this.lastId;
      lease.pending = { id, firstIndex: index, effects: [], index, reset: false };
      lease.unacknowledged.push({ id, index, sinceMs: nowMs });
    }
    return lease.pending;
  }

  private push(lease: Lease): void {
    const changes = this.takePending(lease);
    if (changes !== null) lease.holder.push(changes);
  }

  private takePending(lease: Lease): Changes | null {
    const { pending } = lease;
    if (pending === null) return null;
    lease.pending = null;
    const { id, index, reset, effects } = pending;
    return { type: 'changes', id, index, reset, effects };
  }

  /** Answers of indexes below this may leave for a client: no other client's hold is older. */
  private limitFor(nowMs: number): (holder: LeaseHolder) => number {
    let lowest = Number.POSITIVE_INFINITY;
    let lowestOfOthers = Number.POSITIVE_INFINITY;
    let owner: LeaseHolder | null = null;
    for (const { holder, expiresMs, unacknowledged } of this.leases.values()) {
      const index = unacknowledged[0]?.index;
      if (index === undefined || expiresMs <= nowMs) continue;
      if (index < lowest) {
        lowestOfOthers = lowest;
        lowest = index;
        owner = holder;
      } else if (index < lowestOfOthers) {
        lowestOfOthers = index;
      }
    }
    return (holder) => (holder === owner ? lowestOfOthers : lowest);
  }

  private release(): void {
    const nowMs = this.clock.monotonicMs();
    if (this.waiting.length === 0 || this.office === null || nowMs < this.office.readyMs) return;
    const limit = this.limitFor(nowMs);
    const free: Waiting[] = [];
    const held: Waiting[] = [];
    for (const one of this.waiting) {
      (one.answer.index < limit(one.holder) ? free : held).push(one);
    }
    this.waiting = held;
    for (const { holder, answer } of free) {
      this.waitingBytes -= answer.bytes;
      const lease = this.leases.get(holder);
      if (lease !== undefined) this.push(lease);
      answer.send(null);
    }
  }
}
