import { MootError } from '../base/errors.js';
import { leaseRemainingMs, type Moment, momentOf } from '../base/lease-time.js';
import type { ClientResponse, SubmitResponse } from '../codec/client-messages.js';
import type { Command } from '../filesystem/commands.js';
import { factOfTrace, factsOfReply } from '../filesystem/facts.js';
import { SWEEP_ORPHANS_MAX } from '../filesystem/orphans.js';
import { type Ino, type Reply, SESSION_HOLDS_MAX } from '../filesystem/records.js';
import { problemOfCommand } from './acceptable.js';
import { CallLimits, callRefusal, seconds } from './call.js';
import { type Cluster, isFinal, rejection } from './cluster.js';
import type { CallOptions, ClientSession } from './filesystem-client.js';
import type { Lease } from './lease.js';
import type { Link } from './link.js';
import { SessionQueue, type Settlement, type Submission, sessionOver } from './session-queue.js';

/** How long to leave a node alone that says it is full. Doubles while it says so again. */
const BUSY_PAUSE_MIN_MS = 20;
const BUSY_PAUSE_MAX_MS = 250;
/**
 * A session is sure to be alive for this part of what the cluster waits, counted from its last sign
 * of life: the leader counts from when it heard, which was later. The rest is for clocks.
 */
const SURE_PART = 1 / 2;
/** A session that has nothing to say speaks up after this part, at the latest. */
const KEEP_ALIVE_PART = 1 / 4;
/** What a command costs on the wire besides its data. */
const COMMAND_BYTES = 128;

export interface SubmitterOptions {
  readonly name: string;
  readonly holdsOpen: boolean;
  readonly deadlineMs: number;
  /** A session with nothing to say speaks up this often. */
  readonly keepAliveMs: number;
}

/** What a keep-alive reports, see KeepAlive in filesystem/commands.ts. */
export interface SeenChanges {
  readonly seenIndex: number;
  /** Counts changes that a keep-alive may follow up. */
  readonly changes: number;
  /** Counts inodes that lost their last name. */
  readonly gone: number;
}

/**
 * Brings commands to the leader in the order of the calls: opens the session, sends what the
 * session's queue gives, starts a new round when the leader or its mind changed, keeps the session
 * alive, and ends it.
 */
export class Submitter {
  private queue = new SessionQueue();
  private session: number | null = null;
  /** The copy of open-session that is on its way at the present leader. */
  private openingAt: Link | null = null;
  private pausedUntilMs = 0;
  private pauseMs = BUSY_PAUSE_MIN_MS;
  private decidedAtMs = Number.NEGATIVE_INFINITY;
  private sentAtMs = 0;
  /** When the latest command was sent that is known to have taken effect in this session. */
  private provenAt: Moment | null = null;
  private closing: { readonly done: () => void } | null = null;
  private keptAlive: { changes: number; holds: readonly Ino[] } = { changes: 0, holds: [] };
  private keepingAlive = false;
  /** Inodes that lost their last name and that no keep-alive of ours has followed up yet. */
  private reclaimable = 0;
  private goneCounted = 0;
  holds: () => readonly Ino[] = () => [];
  sessionEnded: (session: number) => void = () => {};

  constructor(
    private readonly cluster: Cluster,
    private readonly options: SubmitterOptions,
    private readonly seen: SeenChanges,
    private readonly onIndex: (index: number) => void,
    private readonly wake: () => void,
    private readonly lease: Lease | null,
  ) {}

  get currentSession(): ClientSession | null {
    if (this.session === null) return null;
    const { clock, sessionTimeoutMs } = this.cluster;
    const sureMs = sessionTimeoutMs * SURE_PART;
    const isSure = this.provenAt !== null && leaseRemainingMs(clock, this.provenAt, sureMs) > 0;
    return { id: this.session, isSure };
  }

  /** Something waits for the cluster. */
  get busy(): boolean {
    return !this.queue.empty || this.wantsSession;
  }

  async execute(command: Command, options: CallOptions): Promise<Reply> {
    const { inSession } = options;
    const isBound = inSession !== undefined;
    const refusal =
      callRefusal(this.closing !== null, options) ??
      problemOfCommand(command) ??
      (isBound && inSession !== this.session ? sessionOver(command) : this.cluster.hopeless);
    if (refusal !== null) throw refusal;
    return new Promise((resolve, reject) => {
      const { clock } = this.cluster;
      const startedMs = clock.monotonicMs();
      const deadlineMs = options.deadlineMs ?? this.options.deadlineMs;
      const settle = (settlement: Settlement) => {
        limits.release();
        if (settlement.type === 'reply') resolve(settlement.reply);
        else reject(settlement.error);
      };
      // The queue may be another one by then: a new session takes over what was never carried out.
      const giveUp = (error: (unsent: boolean) => MootError) =>
        settle({ type: 'error', error: error(this.queue.abandon(queued)) });
      const limits = new CallLimits(
        clock,
        deadlineMs,
        options.signal,
        () => {
          // Commands behind many others wait their turn as long as there are decisions at all.
          const sinceMs = clock.monotonicMs() - Math.max(startedMs, this.decidedAtMs);
          if (sinceMs < deadlineMs) return deadlineMs - sinceMs;
          giveUp((unsent) => this.expired(command, unsent, clock.monotonicMs() - startedMs));
          return 0;
        },
        () => giveUp((unsent) => interrupted(command, unsent)),
      );
      const queued = this.queue.push(command, sizeOf(command), settle, {
        isBound,
        onSent: options.onSent ?? null,
      });
      this.wake();
      this.pump();
    });
  }

  /** Sends what can be sent now. */
  pump(): void {
    const leader = this.cluster.leader;
    if (leader === null || this.cluster.clock.monotonicMs() < this.pausedUntilMs) return;
    if (this.session === null) {
      if (this.wantsSession || !this.queue.empty) this.openSession(leader);
      return;
    }
    for (let copy = this.queue.next(); copy !== null; copy = this.queue.next()) {
      const { sequence, acknowledged, command } = copy;
      const { session, queue } = this;
      const sentAt = momentOf(this.cluster.clock);
      this.sentAtMs = sentAt.monotonicMs;
      const hold = this.lease?.holdAt(leader) ?? null;
      this.cluster.ask(
        leader,
        (id) => ({ type: 'submit', id, session, sequence, acknowledged, command }),
        (response) => {
          if (hold !== null && response?.type === 'submit-reply')
            this.learn(hold, command, response);
          if (response === undefined) return;
          // What was repeated took effect at another time.
          if (queue === this.queue && isNewReply(response)) this.provenAt = sentAt;
          this.onAnswer(leader, queue, copy, response);
        },
        () => queue.awaited(sequence),
      );
    }
  }

  /** Another leader, or the same one over a new connection: it may know nothing of what we sent. */
  onLeader(): void {
    this.openingAt = null;
    this.pausedUntilMs = 0;
    this.queue.restart();
    this.pump();
  }

  /**
   * Sends a keep-alive when it is due: soon after changes, so that unlinked files are reclaimed
   * soon, and now and then in any case. Called about once a second.
   */
  keepAlive(): void {
    if (this.session === null || this.keepingAlive || this.closing !== null) return;
    const idleMs = this.cluster.clock.monotonicMs() - this.sentAtMs;
    const changed = this.options.holdsOpen && this.hasNews();
    if (changed || idleMs >= this.keepAliveMs) this.sendKeepAlive();
  }

  get keepAliveMs(): number {
    return Math.min(this.options.keepAliveMs, this.cluster.sessionTimeoutMs * KEEP_ALIVE_PART);
  }

  /** Why a session has to be opened although no command waits. */
  private get wantsSession(): boolean {
    return this.options.holdsOpen && this.session === null && this.closing === null;
  }

  /**
   * Ends all calls with CLOSED, then the session. Resolves when the cluster has confirmed that or
   * there is nothing to end; the caller bounds the wait.
   */
  close(): Promise<void> {
    return new Promise((done) => {
      this.closing = { done };
      this.queue.failAll(
        (queued) =>
          new MootError(
            'CLOSED',
            queued.uncertain > 0
              ? `the client was closed; it is unknown whether ${queued.command.type} took effect`
              : `the client was closed before ${queued.command.type} was sent`,
          ),
      );
      if (this.session === null && this.openingAt === null) {
        done();
        return;
      }
      if (this.session !== null) this.endSession();
    });
  }

  /** Ends every call that waits: there is no hope of an answer. */
  fail(error: MootError): void {
    this.queue.failAll(() => error);
  }

  private endSession(): void {
    this.queue.push({ type: 'close-session' }, COMMAND_BYTES, () => this.closing?.done());
    this.pump();
  }

  private hasNews(): boolean {
    this.reclaimable += this.seen.gone - this.goneCounted;
    this.goneCounted = this.seen.gone;
    return (
      this.reclaimable > 0 ||
      this.seen.changes !== this.keptAlive.changes ||
      !sameNumbers(this.holds(), this.keptAlive.holds)
    );
  }

  private sendKeepAlive(): void {
    const holds = this.holds().slice(0, SESSION_HOLDS_MAX);
    const { seenIndex, changes } = this.seen;
    this.keptAlive = { changes, holds };
    this.keepingAlive = true;
    this.reclaimable = Math.max(0, this.reclaimable - SWEEP_ORPHANS_MAX);
    this.queue.push({ type: 'keep-alive', seenIndex, holds }, COMMAND_BYTES, () => {
      this.keepingAlive = false;
      // One keep-alive reclaims a bounded number; after an rm -rf the next one follows at once.
      if (this.reclaimable > 0) this.keepAlive();
    });
    this.wake();
    this.pump();
  }

  private openSession(leader: Link): void {
    if (this.openingAt === leader) return;
    this.openingAt = leader;
    const { name, holdsOpen } = this.options;
    const command: Command = { type: 'open-session', name, holdsOpen };
    const sentAt = momentOf(this.cluster.clock);
    this.cluster.ask(
      leader,
      (id) => ({ type: 'submit', id, session: 0, sequence: 0, acknowledged: 0, command }),
      (response) => {
        if (response?.type === 'submit-reply') this.onOpened(leader, response, sentAt);
        else if (this.openingAt === leader) {
          this.openingAt = null;
          if (response?.type === 'refusal') this.onRetry(leader, response);
        }
      },
    );
  }

  private onOpened(leader: Link, response: SubmitResponse, sentAt: Moment): void {
    const { outcome } = response;
    const value = outcome.type === 'reply' && outcome.reply.ok ? outcome.reply.value : null;
    if (value === null || !('session' in value)) {
      // Too many sessions: wait until some have expired.
      if (this.openingAt === leader) this.openingAt = null;
      leader.trouble = new MootError('BUSY', 'the cluster takes no more sessions');
      this.pause();
      return;
    }
    if (this.session !== null) {
      // An earlier attempt succeeded after all. Nobody uses that session: end it, or else it expires.
      endUnusedSession(this.cluster, this.cluster.leader ?? leader, value.session);
      return;
    }
    this.openingAt = null;
    this.session = value.session;
    this.provenAt = sentAt;
    this.onIndex(response.index);
    if (this.closing !== null) this.endSession();
    else if (this.options.holdsOpen) this.sendKeepAlive();
    this.pump();
  }

  private onAnswer(
    link: Link,
    queue: SessionQueue,
    copy: Submission,
    response: ClientResponse,
  ): void {
    if (queue !== this.queue) return;
    const { sequence, round } = copy;
    if (response.type === 'refusal') {
      if (isFinal(response)) queue.onRejected(sequence, round, rejection(response));
      else if (
        response.code === 'OUTCOME_UNKNOWN'
          ? queue.onUnknown(round)
          : queue.onRefused(sequence, round)
      ) {
        this.onRetry(link, response);
      }
    } else if (response.type === 'submit-reply') {
      this.onOutcome(queue, copy, response);
    } else {
      link.reset(`a submit was answered by ${response.type}`);
    }
    this.pump();
  }

  /** A reply that was given before says how things were then. */
  private learn(hold: number, command: Command, response: SubmitResponse): void {
    const { outcome, index, repeated, traces } = response;
    if (outcome.type !== 'reply' || repeated) return;
    const facts = [...factsOfReply(command, outcome.reply), ...traces.map(factOfTrace)];
    this.lease?.learn(hold, index, facts);
  }

  private onOutcome(
    queue: SessionQueue,
    { sequence, round, command }: Submission,
    { outcome, index, repeated }: SubmitResponse,
  ): void {
    switch (outcome.type) {
      case 'reply':
        this.decidedAtMs = this.cluster.clock.monotonicMs();
        this.pauseMs = BUSY_PAUSE_MIN_MS;
        this.onIndex(index);
        queue.onReply(sequence, outcome.reply, repeated ? null : command);
        return;
      case 'gap':
        if (!queue.onGap(sequence, round, outcome.lastSequence)) this.onExpired(null);
        return;
      case 'no-session':
        this.onExpired(queue.moveToNewSession(sequence));
        return;
    }
  }

  private onRetry(link: Link, refusal: Extract<ClientResponse, { type: 'refusal' }>): void {
    this.cluster.onRefusal(link, refusal);
    this.pause();
  }

  private pause(): void {
    this.pausedUntilMs = this.cluster.clock.monotonicMs() + this.pauseMs;
    this.pauseMs = Math.min(BUSY_PAUSE_MAX_MS, this.pauseMs * 2);
    this.wake();
  }

  private onExpired(successor: SessionQueue | null): void {
    const old = this.queue;
    const ended = this.session;
    this.queue = successor ?? new SessionQueue();
    this.session = null;
    this.openingAt = null;
    this.keptAlive = { changes: 0, holds: [] };
    if (successor === null) {
      old.failAll(
        (queued) =>
          new MootError(
            'SESSION_EXPIRED',
            `the cluster has forgotten this client; it is unknown whether ${queued.command.type} took effect`,
          ),
      );
      this.keepingAlive = false;
    }
    if (ended !== null) this.sessionEnded(ended);
    this.closing?.done();
    this.wake();
    this.pump();
  }

  private expired(command: Command, unsent: boolean, waitedMs: number): MootError {
    const tried = `tried ${this.cluster.describe()} for ${seconds(waitedMs)}`;
    return unsent
      ? new MootError('NO_LEADER', `no leader to take ${command.type}: ${tried}`)
      : new MootError(
          'OUTCOME_UNKNOWN',
          `no decision about ${command.type}, which may or may not take effect: ${tried}`,
        );
  }
}

function interrupted(command: Command, unsent: boolean): MootError {
  const what = unsent ? 'before it was sent' : 'on its way: it may or may not take effect';
  return new MootError('INTERRUPTED', `${command.type} was interrupted ${what}`);
}

function isNewReply(response: ClientResponse): boolean {
  return (
    response.type === 'submit-reply' && response.outcome.type === 'reply' && !response.repeated
  );
}

function endUnusedSession(cluster: Cluster, leader: Link, session: number): void {
  if (!leader.open) return;
  const command: Command = { type: 'close-session' };
  cluster.ask(
    leader,
    (id) => ({ type: 'submit', id, session, sequence: 1, acknowledged: 0, command }),
    () => {},
  );
}

function sizeOf(command: Command): number {
  switch (command.type) {
    case 'write':
      return COMMAND_BYTES + command.data.length;
    case 'set-xattr':
      return COMMAND_BYTES + command.value.length;
    default:
      return COMMAND_BYTES;
  }
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
