import { MootError } from '../base/errors.js';
import type { ClientResponse, QueryResponse, ReadLevel } from '../codec/client-messages.js';
import { factsOfAnswer } from '../filesystem/facts.js';
import type { Query, QueryResult } from '../filesystem/queries.js';
import { problemOfQuery } from './acceptable.js';
import { CallLimits, callRefusal, seconds } from './call.js';
import { type Cluster, isFinal, rejection } from './cluster.js';
import type { CallOptions } from './filesystem-client.js';
import type { Lease } from './lease.js';
import type { Link } from './link.js';

/** Queries on their way at once; more wait their turn. Bounds what nodes and connections hold for us. */
const QUERIES_IN_FLIGHT_MAX = 256;
/** When a node lives but does not answer this query (it lags behind, say), another is asked as well. */
const HEDGE_MS = 2_000;
/** After every node refused, the next try is this much later; doubles up to the maximum. */
const RETRY_MIN_MS = 20;
const RETRY_MAX_MS = 250;

/** A query that waits for its answer. */
interface Read {
  readonly query: Query;
  readonly level: ReadLevel;
  readonly startedMs: number;
  readonly settle: (outcome: QueryResult | MootError) => void;
  /** Refused or lost there, in this pass over the nodes. */
  readonly tried: Set<Link>;
  /** On their way: link and the request's id. */
  readonly attempts: Map<Link, number>;
  askedAtMs: number;
  retryMs: number;
}

/** Queries: asked at the node that suits their level, and at others when that one fails. */
export class Reads {
  private readonly active = new Set<Read>();
  private readonly waiting = new Set<Read>();
  private closed = false;

  constructor(
    private readonly cluster: Cluster,
    private readonly deadlineMs: number,
    /** The highest index that this client has seen or done. */
    private readonly highestIndex: () => number,
    /** An answer of this level tells of the state at `index`; it waits for the promise, if there is one. */
    private readonly onIndex: (index: number, level: ReadLevel) => Promise<void> | null,
    private readonly wake: () => void,
    /** Answers strong queries from memory; null: each is asked. */
    private readonly lease: Lease | null,
    /** Called for each; true: it was answered so. */
    private readonly onQuery: (isKept: boolean) => void,
  ) {}

  get busy(): boolean {
    return this.active.size > 0;
  }

  /** A leader is needed. */
  get seeksLeader(): boolean {
    for (const read of this.active) if (read.level === 'strong') return true;
    return false;
  }

  async query(query: Query, level: ReadLevel, options: CallOptions): Promise<QueryResult> {
    const kept = level === 'strong' ? this.lease?.answer(query) : undefined;
    this.onQuery(kept !== undefined);
    if (kept !== undefined) return kept;
    const refusal =
      callRefusal(this.closed, options) ?? problemOfQuery(query) ?? this.cluster.hopeless;
    if (refusal !== null) throw refusal;
    return new Promise((resolve, reject) => {
      const { clock } = this.cluster;
      const startedMs = clock.monotonicMs();
      const settle = (outcome: QueryResult | MootError) => {
        limits.release();
        this.end(read);
        if (outcome instanceof MootError) reject(outcome);
        else resolve(outcome);
      };
      const limits = new CallLimits(
        clock,
        options.deadlineMs ?? this.deadlineMs,
        options.signal,
        () => {
          settle(this.expired(read));
          return 0;
        },
        () => settle(new MootError('INTERRUPTED', `${query.type} was interrupted`)),
      );
      const read: Read = {
        query,
        level,
        startedMs,
        settle,
        tried: new Set(),
        attempts: new Map(),
        askedAtMs: Number.NEGATIVE_INFINITY,
        retryMs: RETRY_MIN_MS,
      };
      this.waiting.add(read);
      this.wake();
      this.admit();
    });
  }

  /** Looks after queries that got no answer. Called every few milliseconds while `busy`. */
  tick(nowMs: number): void {
    for (const read of this.active) {
      if (read.attempts.size === 0) {
        if (nowMs - read.askedAtMs < read.retryMs) continue;
        read.retryMs = Math.min(RETRY_MAX_MS, read.retryMs * 2);
        read.tried.clear();
        this.attempt(read);
      } else if (isStuck(read, nowMs)) {
        this.attempt(read);
      }
    }
  }

  /** A node can be asked that could not before. */
  onOpen(): void {
    for (const read of this.active) if (read.attempts.size === 0) this.attempt(read);
  }

  /** Strong reads that wait at another node may wait for nothing. */
  onLeader(leader: Link): void {
    for (const read of this.active) {
      if (read.level !== 'strong') continue;
      read.tried.delete(leader);
      if (!read.attempts.has(leader)) this.attempt(read);
    }
  }

  close(): void {
    this.closed = true;
    this.fail(new MootError('CLOSED', 'the client was closed'));
  }

  /** Ends every query that waits. */
  fail(error: MootError): void {
    for (const read of [...this.active, ...this.waiting]) read.settle(error);
  }

  private admit(): void {
    for (const read of this.waiting) {
      if (this.active.size >= QUERIES_IN_FLIGHT_MAX) return;
      this.waiting.delete(read);
      this.active.add(read);
      this.attempt(read);
    }
  }

  private end(read: Read): void {
    for (const [link, id] of read.attempts) link.forget(id);
    this.waiting.delete(read);
    if (this.active.delete(read) && !this.closed) this.admit();
  }

  /** Asks the next best node that was not asked yet. */
  private attempt(read: Read): void {
    const link = this.cluster
      .candidates(read.level)
      .find((candidate) => !read.tried.has(candidate) && !read.attempts.has(candidate));
    read.askedAtMs = this.cluster.clock.monotonicMs();
    if (link === undefined) return;
    const { level, query } = read;
    const minIndex = level === 'session' ? this.highestIndex() : 0;
    const id = this.cluster.nextId();
    read.attempts.set(link, id);
    const hold = level === 'strong' ? (this.lease?.holdAt(link) ?? null) : null;
    link.request(
      { type: 'query', id, level, minIndex, query },
      {
        onResponse: (response) => {
          if (hold !== null && response.type === 'query-reply') {
            const { index, result } = response;
            this.lease?.learn(hold, index, factsOfAnswer(query, result));
            if (query.type === 'lookup') {
              if (!result.ok && result.code === 'ENOENT') this.lease?.missed(query.parent);
              const cookie =
                result.ok && 'cookie' in result.value ? result.value.cookie : undefined;
              if (cookie !== undefined) this.lease?.found(query.parent, cookie);
            }
          }
          this.onAnswer(read, link, response);
        },
        onLost: () => this.onFailed(read, link),
      },
    );
  }

  private onAnswer(read: Read, link: Link, response: ClientResponse): void {
    if (response.type === 'query-reply') {
      read.attempts.delete(link);
      this.answered(read, response);
    } else if (response.type !== 'refusal') {
      link.reset(`a query was answered by ${response.type}`);
    } else if (isFinal(response)) {
      read.attempts.delete(link);
      read.settle(rejection(response));
    } else {
      this.cluster.onRefusal(link, response);
      this.onFailed(read, link);
    }
  }

  private answered(read: Read, { index, result }: QueryResponse): void {
    const seen = this.onIndex(index, read.level);
    if (seen === null) {
      read.settle(result);
      return;
    }
    // Others may be asked meanwhile.
    this.end(read);
    void seen.then(() => read.settle(result));
  }

  private onFailed(read: Read, link: Link): void {
    read.attempts.delete(link);
    read.tried.add(link);
    if (read.attempts.size === 0 && this.active.has(read)) this.attempt(read);
  }

  private expired(read: Read): MootError {
    const reachable = this.cluster.links.some((link) => link.open);
    const waitedMs = this.cluster.clock.monotonicMs() - read.startedMs;
    const tried = `tried ${this.cluster.describe()} for ${seconds(waitedMs)}`;
    return read.level !== 'strong' && !reachable
      ? new MootError('UNREACHABLE', `no node can be reached for ${read.query.type}: ${tried}`)
      : new MootError('NO_LEADER', `nobody answered ${read.query.type}: ${tried}`);
  }
}

function isStuck(read: Read, nowMs: number): boolean {
  if (nowMs - read.askedAtMs >= HEDGE_MS) return true;
  for (const link of read.attempts.keys()) if (!link.suspect) return false;
  return true;
}
