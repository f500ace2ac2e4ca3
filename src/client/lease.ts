import type { Clock, Timer } from '../base/clock.js';
import { leaseRemainingMs, type Moment, momentOf } from '../base/lease-time.js';
import type { Changes, ClientResponse } from '../codec/client-messages.js';
import { type Fact, factsOfAnswer } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import type { Query, QueryResult, ReadDirectory } from '../filesystem/queries.js';
import type { Ino } from '../filesystem/records.js';
import { AnswerCache } from './answer-cache.js';
import type { Cluster } from './cluster.js';
import type { Kept, KeptQuery } from './filesystem-client.js';
import type { Link } from './link.js';
import { LookAhead } from './look-ahead.js';

/** Renewed after this part of its time, so that a lost or slow renewal does not end it. */
const RENEW_PART = 1 / 3;
/** Without a strong query for so long the lease is let go. */
const IDLE_MS = 1_000;
/** A leader that refused, or has only begun to lead, is asked again after this. */
const RETRY_MS = 50;
/** A cluster without leases is asked again after this: it may have been restarted with other settings. */
const RETRY_WITHOUT_MS = 10_000;
/** Directories with more entries are not listed ahead: that would cost more than it saves. */
const LISTED_AHEAD_MAX = 2_048;
/** While such a listing is on its way there is no other; a lost one counts as over after this. */
const LISTING_MS_MAX = 1_000;
/** One directory is not listed ahead again before: where others change names all the time, it helps little. */
const LIST_AGAIN_MS = 1_000;
/** As many entries with their inodes are asked for ahead: a listing that costs the leader a few milliseconds. */
const AHEAD_ENTRIES = 1_000;
/** Directories of which is known when they were listed. */
const LISTED_DIRECTORIES_MAX = 1_024;

interface Held {
  readonly link: Link;
  /** When it was asked for: it counts from then, since the leader counts from a later moment. */
  readonly since: Moment;
  readonly durationMs: number;
}

/**
 * The right to answer strong lookups and inodes from memory, given by the leader for a short time
 * and prolonged while it is used (see Leases in node/leases.ts for what the leader does for it).
 *
 * Only answers count that came over the connection that holds the lease, to requests that were sent
 * while it was held without a break since: the leader has noted them. When the lease ends, for
 * whatever reason, everything is forgotten.
 */
export class Lease {
  private readonly cache = new AnswerCache();
  private readonly ahead = new LookAhead();
  private held: Held | null = null;
  /** Counts up with every break. */
  private epoch = 0;
  /** Of all that changed up to here, and that we may have kept, the leader has told us. */
  private knownIndex = 0;
  private askingAt: Link | null = null;
  private usedAtMs = Number.NEGATIVE_INFINITY;
  private listingUntilMs = Number.NEGATIVE_INFINITY;
  private readonly listedAtMs = new Map<Ino, number>();
  private notBeforeMs = Number.NEGATIVE_INFINITY;
  private renewal: Timer | null = null;
  private closed = false;

  constructor(
    private readonly cluster: Pick<Cluster, 'clock' | 'leader' | 'ask' | 'onRefusal'>,
    private readonly wake: () => void,
  ) {}

  /** Strong queries are answered from memory or asked for, and nobody knows who leads. */
  get seeksLeader(): boolean {
    const leaderKnown = this.cluster.leader !== null && !this.cluster.leader.suspect;
    return !leaderKnown && !this.closed && this.used;
  }

  /** Asks for a lease when there is none and the query is one that it would answer. */
  answer(query: Query): QueryResult | undefined {
    if (query.type !== 'lookup' && query.type !== 'get-inode') return undefined;
    this.usedAtMs = this.clock.monotonicMs();
    if (this.valid) return this.cache.answer(query);
    this.drop();
    this.ask();
    if (this.cluster.leader === null) this.wake();
    return undefined;
  }

  /** See FilesystemClient.kept. */
  kept(query: KeptQuery): Kept | null {
    const forMs = this.remainingMs;
    if (forMs <= 0 || !this.cache.isKnownItself(query)) return null;
    const result = this.cache.answer(query);
    if (result === undefined) return null;
    this.usedAtMs = this.clock.monotonicMs();
    if (!result.ok) return result.code === 'ENOENT' ? { inode: null, forMs } : null;
    return 'inode' in result.value ? { inode: result.value.inode, forMs } : null;
  }

  /** A request is sent over this link now. Its answer may be learned under the returned number, if any. */
  holdAt(link: Link): number | null {
    return this.held?.link === link && this.valid ? this.epoch : null;
  }

  learn(hold: number, index: number, facts: readonly Fact[]): void {
    if (hold !== this.epoch || !this.valid) return;
    this.knownIndex = Math.max(this.knownIndex, index);
    this.cache.learn(index, facts);
  }

  /** A node pushed this because of our lease. */
  changed(link: Link, { index, reset, effects }: Changes): void {
    if (this.held?.link === link) this.knownIndex = Math.max(this.knownIndex, index);
    // The leader does not know any more what we keep, however new: it will tell of no change of it.
    if (reset) this.cache.clear();
    this.cache.change(index, reset, effects);
  }

  /**
   * The stream of changes may be ahead of the leader's word: who heard of a change there must not
   * get an older answer here.
   */
  watched(index: number, reset: boolean, effects: readonly Effect[]): void {
    if (index > this.knownIndex) this.cache.change(index, reset, effects);
  }

  onLeader(): void {
    if (this.held !== null && this.held.link !== this.cluster.leader) this.drop();
    this.notBeforeMs = Number.NEGATIVE_INFINITY;
    if (this.used) this.ask();
  }

  onClosed(link: Link): void {
    if (this.held?.link === link) this.drop();
  }

  close(): void {
    this.closed = true;
    this.drop();
  }

  /**
   * A strong lookup found no such name. Who asked for it will ask for others, before making them: with
   * all names of the directory known, none of those has to be asked for.
   */
  missed(ino: Ino): void {
    const directory = this.cache.answer({ type: 'get-inode', ino });
    if (!directory?.ok || !('inode' in directory.value)) return;
    const { entries } = directory.value.inode;
    if (entries > LISTED_AHEAD_MAX || this.cache.knowsAllNames(directory.value.inode)) return;
    const { leader } = this.cluster;
    const nowMs = this.clock.monotonicMs();
    if (leader === null || nowMs < this.listingUntilMs) return;
    if (nowMs - (this.listedAtMs.get(ino) ?? Number.NEGATIVE_INFINITY) < LIST_AGAIN_MS) return;
    const hold = this.holdAt(leader);
    if (hold === null) return;
    if (this.listedAtMs.size >= LISTED_DIRECTORIES_MAX) this.listedAtMs.clear();
    this.listedAtMs.set(ino, nowMs);
    this.list(leader, hold, { ino, cookie: 0, limit: entries + 1, plus: false });
  }

  /**
   * A strong lookup had to be asked for, and found this entry. Who looks one entry up after the other
   * will go on: what comes behind is asked for at once, inodes and all.
   */
  found(ino: Ino, cookie: number): void {
    const { leader } = this.cluster;
    const isInOrder = this.ahead.isInOrder(ino, cookie);
    if (!isInOrder || leader === null || this.clock.monotonicMs() < this.listingUntilMs) return;
    const hold = this.holdAt(leader);
    if (hold === null) return;
    this.list(leader, hold, { ino, cookie, limit: AHEAD_ENTRIES, plus: true });
  }

  private list(leader: Link, hold: number, what: Omit<ReadDirectory, 'type'>): void {
    this.listingUntilMs = this.clock.monotonicMs() + LISTING_MS_MAX;
    const query = { type: 'read-directory', ...what } as const;
    this.cluster.ask(
      leader,
      (id) => ({ type: 'query', id, level: 'strong', minIndex: 0, query }),
      (response) => {
        if (response?.type !== 'query-reply') return;
        this.listingUntilMs = Number.NEGATIVE_INFINITY;
        this.learn(hold, response.index, factsOfAnswer(query, response.result));
        if (!what.plus || !response.result.ok || !('entries' in response.result.value)) return;
        const last = response.result.value.entries.at(-1);
        if (last !== undefined) this.ahead.listed(what.ino, last.cookie);
      },
    );
  }

  private get clock(): Clock {
    return this.cluster.clock;
  }

  private get used(): boolean {
    return this.clock.monotonicMs() - this.usedAtMs <= IDLE_MS;
  }

  /** The lease is held at this moment. Never answered from memory: a moment later it may be over. */
  private get valid(): boolean {
    return this.remainingMs > 0;
  }

  private get remainingMs(): number {
    if (this.held === null || this.held.link !== this.cluster.leader) return 0;
    return leaseRemainingMs(this.clock, this.held.since, this.held.durationMs);
  }

  private drop(): void {
    this.renewal?.cancel();
    this.renewal = null;
    if (this.held === null) return;
    this.held = null;
    this.epoch++;
    this.knownIndex = 0;
    this.cache.clear();
  }

  private ask(): void {
    const { leader } = this.cluster;
    if (leader === null || leader === this.askingAt || this.closed) return;
    const since = momentOf(this.clock);
    if (since.monotonicMs < this.notBeforeMs) return;
    this.askingAt = leader;
    this.cluster.ask(
      leader,
      (id) => ({ type: 'lease', id }),
      (response) => {
        if (this.askingAt === leader) this.askingAt = null;
        this.onAnswer(leader, since, response);
      },
    );
  }

  private onAnswer(link: Link, since: Moment, response: ClientResponse | undefined): void {
    if (link !== this.cluster.leader || this.closed) return;
    if (response?.type !== 'lease-reply' || response.durationMs === 0) {
      this.drop();
      const retryMs = response?.type === 'lease-reply' ? RETRY_WITHOUT_MS : RETRY_MS;
      this.notBeforeMs = this.clock.monotonicMs() + retryMs;
      if (response?.type === 'refusal' && response.code === 'NOT_LEADER') {
        this.cluster.onRefusal(link, response);
        this.wake();
      }
      return;
    }
    // Prolonged without a break, or else a new one, under which nothing is known yet.
    if (!this.valid) this.drop();
    this.held = { link, since, durationMs: response.durationMs };
    this.renewal?.cancel();
    this.renewal = this.clock.setTimer(response.durationMs * RENEW_PART, () => {
      this.renewal = null;
      if (this.used) this.ask();
    });
  }
}
