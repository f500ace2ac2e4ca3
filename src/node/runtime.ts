import type { Timer } from '../base/clock.js';
import { describe, type ErrorCode, isMootError, MootError } from '../base/errors.js';
import type { NodeStatus, QueryRequest, SubmitRequest } from '../codec/client-messages.js';
import { decodeLogCommand, encodeLogCommand } from '../codec/commands.js';
import {
  configurationCodec,
  decodeConfiguration,
  encodeConfigurationAt,
} from '../codec/configuration.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import { checkCommand } from '../filesystem/check.js';
import type { LogCommand } from '../filesystem/commands.js';
import { createFilesystem } from '../filesystem/state-machine.js';
import { membersOf } from '../raft/membership.js';
import { createRaft } from '../raft/raft.js';
import type {
  Configuration,
  ConfigurationAt,
  Entry,
  LoadRequest,
  MemberChange,
  NodeId,
  Raft,
  RaftMessage,
  RaftStatus,
  Ready,
  SnapshotMark,
} from '../raft/types.js';
import type { ClientConnection, ClientHandlers } from '../transport/transport.js';
import { Bootstrap } from './bootstrap.js';
import { Changes } from './changes.js';
import { type Service, serveClient } from './clients.js';
import { Compaction, type Laggard } from './compaction.js';
import { Feed } from './feed.js';
import { Leases } from './leases.js';
import { LiveVoters } from './live-voters.js';
import { membersText, openMembers, storedMembers } from './members.js';
import {
  LEASE_MS_DEFAULT,
  type Node,
  type NodeInspection,
  type NodeParts,
  READ_LEASE_MS,
} from './node.js';
import { checkSession, type Decide, Proposals } from './proposals.js';
import { Queries } from './queries.js';
import { readLast } from './read-last.js';
import { ReadLease } from './read-lease.js';
import { Reads } from './reads.js';
import { fitTogether } from './recovery.js';
import { Saver } from './saver.js';
import { SessionExpiry } from './sessions.js';
import { type ArrivedSnapshot, SnapshotReceiver } from './snapshot-receiver.js';
import { SnapshotSender } from './snapshot-sender.js';
import { Stall } from './stall.js';
import { hashText, StateHashes } from './state-hash.js';
import { nodeStatus } from './status.js';
import { planTicks, Ticker, type TickPlan } from './ticker.js';
import { type Committed, Tree } from './tree.js';
import { Watches } from './watches.js';

/** A follower's appends on the way: more messages than a round trip needs, bytes that memory can spare. */
const IN_FLIGHT_MESSAGES_MAX = 128;
const IN_FLIGHT_BYTES_MAX = 8_388_608;
const APPEND_BYTES_MAX = 1_048_576;
/** Proposed and not committed: beyond it clients are told to wait. */
const UNCOMMITTED_BYTES_MAX = 33_554_432;
/** Applied entries kept in memory for followers that lag a little. */
const TAIL_BYTES_MAX = 16_777_216;
/** Watchers learn the applied index, and other small duties are done, this often. */
const DUTIES_MS = 100;
/** Entries whose terms `inspect` tells: what a person can look at. */
const INSPECTED_ENTRIES_MAX = 64;
/** Bytes that one call of `entries` brings into memory. */
const READ_ENTRIES_BYTES_MAX = 1_048_576;
/** A read waits at least this long for a leader before the client is sent elsewhere. */
const READ_WAIT_MS_MIN = 1_000;
/** For handing over before a stop: leases run out, a follower is elected, replies are sent. */
const HAND_OVER_MS_MAX = 1_000;
/** The log is kept for a follower that was heard from within this: it may be restarting. */
const AWAY_MS = 5_000;
/** What an inode takes in a snapshot, with its names and attributes. */
const RECORDS_BYTES = 512;

/** Makes a node out of interfaces and the pure cores. */
export function createNode(parts: NodeParts): Node {
  return new Runtime(parts);
}

/** What exists once the stores are open. */
interface Running {
  readonly raft: Raft;
  readonly saver: Saver;
  readonly feed: Feed;
  readonly watches: Watches;
  readonly compaction: Compaction;
  readonly receiver: SnapshotReceiver;
  readonly service: Service;
  readonly bootstrap: Bootstrap;
  readonly changes: Changes;
}

/** The event loop around the consensus core: everything that happens ends in `process`. */
class Runtime implements Node {
  readonly failed: Promise<Error>;
  private resolveFailed: (error: Error) => void = () => {};
  private readonly plan: TickPlan;
  private readonly ticker: Ticker;
  private readonly tree: Tree;
  private readonly proposals: Proposals;
  private readonly reads: Reads;
  private readonly leaseMs: number;
  private readonly leases: Leases;
  /** Used with write concern `all` only. */
  private readonly liveVoters = new LiveVoters(READ_LEASE_MS);
  private readonly readLease: ReadLease;
  private awaited: readonly NodeId[] = [];
  private readonly expiry: SessionExpiry;
  private readonly hashes: StateHashes;
  private readonly savesStall = new Stall();
  private readonly applyStall = new Stall();
  private readonly writeStall = new Stall();
  private readonly senders = new Map<NodeId, SnapshotSender>();
  /** Followers that took in a snapshot from this leader and are not at the log's end yet. */
  private readonly catchingUp = new Set<NodeId>();
  /** When this leader last knew each follower to be there. */
  private readonly heardMs = new Map<NodeId, number>();
  private running: Running | null = null;
  /** As of the end of the last `process`. */
  private present: RaftStatus | null = null;
  /** Commands of this turn. */
  private readonly proposed: LogCommand[] = [];
  private turnScheduled = false;
  private processing = false;
  /** A snapshot takes the tree's place, and the core rests. */
  private installing = false;
  /** It is in the store, and the core does not know yet. */
  private installed: (ArrivedSnapshot & { readonly configuration: ConfigurationAt }) | null = null;
  private releasedIndex = 0;
  private startedMs: number;
  private lostOfficeMs = 0;
  private dutiesMs = 0;
  private stopping: Promise<void> | null = null;
  private failure: Error | null = null;

  constructor(private readonly parts: NodeParts) {
    const { config, clock, random } = parts;
    if (config.peers.length > 0 && !config.peers.some((peer) => peer.id === config.id)) {
      throw new MootError('BAD_ARGUMENT', `the nodes do not name this one, '${config.id}'`);
    }
    this.failed = new Promise((resolve) => {
      this.resolveFailed = resolve;
    });
    this.startedMs = clock.monotonicMs();
    this.plan = planTicks(config);
    this.ticker = new Ticker(clock, this.plan, (count) => this.onTicks(count));
    this.tree = new Tree(parts.state, createFilesystem(parts.digest), clock, {
      onApplied: (mark, applied, command) => {
        this.hashes.record(mark.index, this.tree.counters.hash);
        this.running?.watches.remember(mark.index, applied?.effects ?? []);
        // Holds begin before the command's reply is looked at.
        this.leases.applied(mark.index, applied?.effects ?? []);
        this.proposals.applied(mark, applied);
        parts.observer?.onApplied(mark, command);
      },
      onProgress: () => this.onProgress(),
      onReplaced: (mark) => this.onReplaced(mark),
      onFailed: (error) => this.fail(error),
    });
    const codec = { encode: encodeLogCommand, decode: decodeLogCommand };
    this.proposals = new Proposals(clock, codec, (data) => {
      const result = this.raft.propose(data);
      if (result.ok) parts.observer?.onProposed(result.first, data.length);
      return result;
    });
    this.reads = new Reads(clock, random, (context) => this.raft.readIndex(context), {
      waitMs: Math.max(READ_WAIT_MS_MIN, 2 * config.electionTimeoutMaxMs),
      roundMs: config.electionTimeoutMaxMs,
    });
    this.leaseMs = this.waitsForAll ? 0 : (config.leaseMs ?? LEASE_MS_DEFAULT);
    this.leases = new Leases(clock, this.leaseMs);
    this.readLease = new ReadLease(clock, (to, term, id) =>
      this.send({ type: 'read-lease', from: config.id, to, term, id }),
    );
    this.expiry = new SessionExpiry(config.sessionTimeoutMs);
    this.hashes = new StateHashes(
      {
        onDiverged: ({ index, own, agreed }) => {
          const message = `the state at index ${index} has the digest ${hashText(own)} here and ${hashText(agreed)} at a majority`;
          this.fail(new MootError('DIVERGED', message));
        },
        onDisputed: (index) =>
          parts.report(
            'error',
            `the nodes differ at index ${index}, and no majority agrees on what it is`,
          ),
      },
      (message) => this.send(message),
    );
  }

  async start(): Promise<void> {
    const { parts, tree } = this;
    const { log, state, clock, random, config, transport, digest } = parts;
    const treeMark = await tree.open();
    const fit = fitTogether(await log.open(), treeMark);
    const { resetTo } = fit;
    const restored = {
      ...fit.restored,
      configuration: await openMembers(state, treeMark, fit.restored, config.peers),
    };
    const others = membersOf(restored.configuration.configuration).filter(
      ({ id }) => id !== config.id,
    );
    const alone = others.length === 0 && config.peers.length > 0;
    if (restored.hardState.recovering && alone && restored.lastIndex > 0) {
      throw new MootError('DATA_CORRUPT', 'the log is lost, and there is no other node to ask');
    }
    if (resetTo !== null) await log.reset(resetTo);
    const raft = createRaft(
      {
        id: config.id,
        configurations: configurationCodec,
        electionTicksMin: this.plan.electionTicksMin,
        electionTicksMax: this.plan.electionTicksMax,
        heartbeatTicks: this.plan.heartbeatTicks,
        inFlightMessagesMax: IN_FLIGHT_MESSAGES_MAX,
        inFlightBytesMax: IN_FLIGHT_BYTES_MAX,
        appendBytesMax: APPEND_BYTES_MAX,
        uncommittedBytesMax: UNCOMMITTED_BYTES_MAX,
        tailBytesMax: TAIL_BYTES_MAX,
      },
      restored,
      random,
    );
    const onFailed = (error: unknown) => this.fail(error);
    const saver = new Saver(
      log,
      {
        onSaved: (number, messages) => {
          this.sendAll(messages);
          raft.saved(number);
          this.process();
        },
        onFailed,
      },
      restored.hardState,
    );
    const feed = new Feed(
      {
        read: (first, last, bytesMax) => log.read(first, last, bytesMax),
        give: (entries) => this.give(entries),
        release: (index) => this.release(index),
        onFailed: (error) => this.failUnlessStopping(error),
      },
      treeMark.index,
    );
    const compaction = new Compaction(
      {
        limits: {
          logBytes: config.snapshotLogBytes,
          logEntries: config.snapshotLogEntries,
          tailEntries: config.snapshotTailEntries,
        },
        log,
        state,
        tree,
        saver,
        laggards: () => this.laggards(),
        treeBytes: () => this.tree.counters.bytes + this.tree.counters.inodes * RECORDS_BYTES,
        onCompacted: (mark) => {
          raft.compacted(mark);
          parts.observer?.onSnapshot({ type: 'taken', index: mark.index });
          this.process();
        },
      },
      restored.snapshot,
    );
    const receiver = new SnapshotReceiver({
      id: config.id,
      state,
      digest,
      send: (ack) => this.send(ack),
      present: () => ({ term: this.now.term, appliedIndex: tree.applied.index }),
      install: (snapshot) => this.install(snapshot),
      onFailed: (error) => this.failUnlessStopping(error),
    });
    const watches = new Watches(treeMark.index);
    const queries = new Queries({
      tree,
      reads: this.reads,
      clock,
      diskSpace: parts.diskSpace,
      leaderKnown: () => this.now.leader !== null,
      onFailed,
    });
    const service: Service = {
      closed: () => this.closed(),
      leader: () => this.leader(),
      submit: (request, decide) => this.submit(request, decide),
      query: (request, answer, refuse) => {
        if (request.level === 'strong' && this.leases.on && !this.leading) {
          // What clients keep under leases, and must forget first, only the leader knows.
          if (this.now.leader === null) refuse('NO_LEADER', 'no leader is known');
          else refuse('NOT_LEADER', 'this node does not lead');
          return;
        }
        queries.ask(this.atOwnTree(request), answer, refuse);
        this.scheduleTurn();
      },
      confirm: (confirmed, refused) => {
        this.reads.strong(() => confirmed(this.tree.applied.index), refused);
        this.scheduleTurn();
      },
      leases: this.leases,
      look: (key) => tree.look(key),
      watches,
      status: () => this.status(),
      snapshot: () => this.snapshot(),
      changeMembers: (change) => this.changeMembers(change),
      transferLeadership: (to) => this.transferLeadership(to),
    };
    this.releasedIndex = treeMark.index;
    const bootstrap = new Bootstrap(config.id, random);
    const changes = new Changes(clock, raft, this.leases);
    this.running = {
      ...{ raft, saver, feed, watches, compaction, receiver, service, bootstrap, changes },
    };
    this.present = raft.status();
    transport.setPeers(others);
    await transport.start({
      onPeerMessage: (message) => this.onPeerMessage(message),
      onPeerDown: (peer) => {
        raft.unreachable(peer);
        this.scheduleTurn();
      },
      onClient: (client) => this.connect(client),
    });
    if (this.closed() === null) this.ticker.start();
    this.scheduleTurn();
  }

  connect(client: ClientConnection): ClientHandlers {
    return serveClient(client, this.alive.service);
  }

  status(): NodeStatus {
    return nodeStatus(this.parts, this.raft.status(), this.tree, this.startedMs, {
      leaseMs: this.leaseMs,
      writeConcern: this.waitsForAll ? 'all' : 'majority',
      liveVoters: this.awaited,
    });
  }

  inspect(): NodeInspection {
    const raft = this.raft.status();
    const first = Math.max(raft.snapshotIndex + 1, raft.lastIndex - INSPECTED_ENTRIES_MAX + 1);
    const terms: number[] = [];
    for (let index = first; index <= raft.lastIndex; index++) {
      terms.push(this.raft.termAt(index) ?? 0);
    }
    const { tickMs } = this.plan;
    return { raft, tickMs, proposals: this.proposals.size, terms: { first, terms } };
  }

  lastEntries(countMax: number): Promise<readonly Entry[]> {
    const { lastIndex, snapshotIndex } = this.raft.status();
    const first = Math.max(snapshotIndex + 1, lastIndex - countMax + 1);
    return readLast(this.parts.log, first, lastIndex, READ_ENTRIES_BYTES_MAX);
  }

  campaign(): void {
    this.raft.campaign();
    this.scheduleTurn();
  }

  async snapshot(): Promise<number> {
    const { compaction } = this.alive;
    try {
      return await compaction.run();
    } catch (error) {
      // A sync that failed once tells nothing when it succeeds later.
      this.failUnlessStopping(error);
      throw error;
    }
  }

  changeMembers(change: MemberChange): Promise<Configuration> {
    this.scheduleTurn();
    return this.alive.changes.changeMembers(change);
  }

  transferLeadership(to: NodeId | null): Promise<NodeId> {
    this.scheduleTurn();
    return this.alive.changes.transfer(to);
  }

  async handOver(): Promise<void> {
    if (this.closed() !== null || !this.leading) return;
    const { clock } = this.parts;
    const untilMs = clock.monotonicMs() + HAND_OVER_MS_MAX;
    let late: Timer | undefined;
    await Promise.race([
      this.transferLeadership(null).catch(() => {}),
      new Promise<void>((resolve) => {
        late = clock.setTimer(HAND_OVER_MS_MAX, resolve);
      }),
    ]);
    late?.cancel();
    while (this.proposals.size > 0 && this.closed() === null && clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => clock.setTimer(DUTIES_MS / 10, resolve));
    }
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopAll();
    return this.stopping;
  }

  private async stopAll(): Promise<void> {
    const { transport, log, state } = this.parts;
    this.halt();
    await transport.close();
    if (this.running !== null) {
      await this.running.receiver.close().catch((error: unknown) => this.fail(error));
      await this.running.saver.stop();
      await this.tree.close().catch((error: unknown) => this.fail(error));
    }
    await log.close();
    await state.close();
  }

  /** Nothing more is taken in, and nobody waits for what will not come. */
  private halt(): void {
    this.ticker.stop();
    for (const sender of this.senders.values()) sender.abort();
    this.senders.clear();
    this.proposals.giveUp('the node stops');
    this.leases.end();
    this.running?.changes.end(new MootError('CLOSED', 'the node stops'));
    this.reads.stop();
  }

  /** Final: the reason is told, and nothing is served any more. */
  private fail(error: unknown): void {
    if (this.failure !== null) return;
    this.failure = error instanceof Error ? error : new Error(describe(error));
    this.parts.report('error', `stopped: ${describe(error)}`);
    this.resolveFailed(this.failure);
    this.halt();
    // Closing lets clients and peers look elsewhere at once. `stop` closes the stores.
    this.parts.transport.close().catch(() => {});
  }

  private closed(): { code: ErrorCode; message: string } | null {
    if (this.failure !== null) {
      const code = isMootError(this.failure) ? this.failure.code : 'CLOSED';
      return { code, message: describe(this.failure) };
    }
    return this.stopping === null ? null : { code: 'CLOSED', message: 'the node stops' };
  }

  private get waitsForAll(): boolean {
    return this.parts.config.writeConcern === 'all';
  }

  private get alive(): Running {
    if (this.running === null) throw new MootError('CLOSED', 'the node has not started');
    return this.running;
  }
  private get raft(): Raft {
    return this.alive.raft;
  }
  private get now(): RaftStatus {
    this.present ??= this.raft.status();
    return this.present;
  }
  private get leading(): boolean {
    return this.now.role === 'leader';
  }

  private leader(): { readonly id: NodeId; readonly address: string } | null {
    const id = this.now.leader;
    return membersOf(this.now.configuration.configuration).find((one) => one.id === id) ?? null;
  }

  // What happens.

  private onTicks(count: number): void {
    if (!this.installing) for (let i = 0; i < count; i++) this.raft.tick();
    const nowMs = this.parts.clock.monotonicMs();
    this.reads.tick();
    this.leases.tick();
    if (this.waitsForAll && !this.leading) this.readLease.tick(this.office());
    if (nowMs - this.dutiesMs >= DUTIES_MS) {
      this.dutiesMs = nowMs;
      this.duties(nowMs);
    }
    this.turn();
  }

  private duties(nowMs: number): void {
    const { config } = this.parts;
    this.alive.watches.tick();
    this.noticeStall(nowMs);
    for (const sender of this.senders.values()) sender.tick();
    if (this.now.recovering && !this.installing) this.recall(nowMs);
    if (this.alive.changes.busy) this.scheduleTurn();
    if (this.leading) {
      for (const { id, recentlyActive } of this.now.followers) {
        if (recentlyActive) this.heardMs.set(id, nowMs);
      }
      if (this.waitsForAll) this.waitForVoters(nowMs);
      const { term, configuration, followers } = this.now;
      this.hashes.tick(nowMs, {
        id: config.id,
        term,
        configuration: configuration.configuration,
        others: followers.map(({ id }) => id),
      });
      for (const session of this.expiry.sweep(this.tree.sessions, nowMs)) {
        const { id, lastIndex } = session;
        const command = { type: 'expire-session', session: id, lastIndex } as const;
        this.propose(this.proposals.stamp(0, 0, 0, command), () => this.expiry.ended(id));
      }
    } else if (nowMs - this.lostOfficeMs > config.electionTimeoutMaxMs) {
      this.proposals.giveUp('this node leads no longer and has not heard what became of it');
    }
  }

  /**
   * A node whose disk hangs neither leads nor stands: heartbeats need no disk, so nobody else would
   * notice, and nothing would be committed or answered.
   */
  private noticeStall(nowMs: number): void {
    const { saver, raft } = this.alive;
    const { index } = this.tree.applied;
    const saves = this.savesStall.observe(nowMs, saver.waiting, saver.finished);
    const reads = this.applyStall.observe(nowMs, this.now.commitIndex > index, index);
    const writes = this.writeStall.observe(nowMs, this.tree.isWriting, this.tree.written.index);
    if (!saves && !reads && !writes) return;
    if (this.leading)
      this.parts.report(
        'warn',
        'the disk has not finished a read or a write for seconds; stepping down',
      );
    raft.stepDown();
  }

  /** A node that has forgotten what it promised asks all others. */
  private recall(nowMs: number): void {
    const { config } = this.parts;
    const { bootstrap } = this.alive;
    const { configuration } = this.now.configuration;
    const others = membersOf(configuration).flatMap(({ id }) => (id === config.id ? [] : id));
    // Who waits to be made a member has no cluster to begin.
    const newTerm = config.peers.length > 0 ? bootstrap.termOfNewCluster(others) : null;
    if (this.empty && newTerm !== null) this.raft.bootstrap(newTerm);
    else this.raft.othersTerms(bootstrap.terms);
    for (const message of bootstrap.tick(nowMs, others)) this.send(message);
  }

  /** Nothing was ever in this node's log. */
  private get empty(): boolean {
    const { lastIndex, snapshotIndex } = this.raft.status();
    return lastIndex === 0 && snapshotIndex === 0 && this.tree.applied.index === 0;
  }

  private onPeerMessage(message: PeerMessage): void {
    if (this.closed() !== null || message.to !== this.parts.config.id) return;
    // A leader that has removed itself is listened to until it has handed over.
    const { leader } = this.now;
    const notice = message.from === leader ? null : this.raft.removedNotice(message.from);
    if (notice !== null && message.type !== 'removed') {
      this.send(notice);
      return;
    }
    switch (message.type) {
      case 'snapshot-chunk':
        this.alive.receiver.onChunk(message);
        break;
      case 'snapshot-ack':
        this.senders.get(message.from)?.onAck(message);
        break;
      case 'bootstrap':
        this.send({
          type: 'bootstrap-reply',
          from: message.to,
          to: message.from,
          question: message.question,
          term: this.raft.status().term,
          empty: this.empty,
        });
        break;
      case 'bootstrap-reply':
        this.alive.bootstrap.heard(message);
        break;
      case 'state-hash':
      case 'state-hash-reply':
        this.hashes.heard(message);
        break;
      case 'read-lease':
        this.grantReadLease(message.from, message.term, message.id);
        break;
      case 'read-lease-reply':
        this.readLease.granted(message);
        break;
      default:
        this.onRaftMessage(message);
    }
  }

  private onRaftMessage(message: RaftMessage): void {
    // While the tree is being replaced the core must stand still; Raft bears lost messages.
    if (this.installing) return;
    try {
      this.raft.step(message);
    } catch (error) {
      if (!isMootError(error)) throw error;
      this.fail(error);
      return;
    }
    this.scheduleTurn();
  }

  /** What many clients and peers have sent by now goes on together: one message, one save. */
  private scheduleTurn(): void {
    if (this.turnScheduled) return;
    this.turnScheduled = true;
    this.parts.clock.soon(() => {
      this.turnScheduled = false;
      this.turn();
    });
  }

  private turn(): void {
    if (this.closed() !== null) return;
    this.proposals.flush();
    this.process();
    // On their way to the followers' disks; meanwhile what they need is brought into memory.
    for (const command of this.proposed.splice(0)) this.tree.prefetch(command);
  }

  /** Does what the core asks for, until it asks for nothing. */
  private process(): void {
    if (this.processing || this.installing || this.closed() !== null) return;
    this.processing = true;
    const { raft, saver } = this.alive;
    this.reads.flush();
    while (raft.hasReady()) {
      this.handle(raft.ready());
      this.reads.flush();
    }
    this.processing = false;
    saver.kick();
    this.noticeOffice();
    this.noticeChanges();
  }

  private noticeChanges(): void {
    const { changes } = this.alive;
    if (!changes.busy) return;
    changes.look();
    if (this.raft.hasReady()) this.scheduleTurn();
  }

  /** Other members than before. */
  private onMembers({ index, configuration }: ConfigurationAt): void {
    const members = membersOf(configuration);
    this.parts.transport.setPeers(members);
    for (const [to, sender] of this.senders) {
      if (members.some(({ id }) => id === to)) continue;
      sender.abort();
      this.senders.delete(to);
    }
    this.parts.report('info', `members by entry ${index}: ${membersText(configuration)}`);
  }

  private handle(ready: Ready): void {
    const { saver, feed } = this.alive;
    this.sendAll(ready.messages);
    if (ready.save !== null) {
      saver.add(ready.save, ready.messagesAfterSave);
      // Before the tree has its work: the disk is what everybody waits for.
      saver.kick();
    }
    const truncateFrom = ready.save?.truncateFrom ?? null;
    if (truncateFrom !== null) {
      this.proposals.giveUp('another leader has replaced it in this log', truncateFrom);
      this.parts.observer?.onTruncated(truncateFrom);
    }
    if (ready.committedFromLog !== null) feed.addFromLog(ready.committedFromLog.last);
    feed.add(ready.committed);
    this.reads.confirm(ready.reads, this.tree.applied.index);
    for (const request of ready.loads) this.load(request);
    for (const follower of ready.snapshotsTo) this.sendSnapshot(follower);
  }

  /** Who leads may have changed. */
  private noticeOffice(): void {
    const before = this.present;
    this.present = this.raft.status();
    this.parts.observer?.onTurn(this.present);
    if (before !== null && before.configuration !== this.present.configuration) {
      this.onMembers(this.present.configuration);
    }
    if (this.present.removed) {
      const message = `'${this.present.id}' was removed from the cluster; its id is not used again. To come back it needs an empty data directory, another id, and to be added`;
      this.fail(new MootError('REMOVED', message));
      return;
    }
    const leads = this.present.role === 'leader';
    const led = before?.role === 'leader';
    if (leads && (!led || before?.term !== this.present.term)) {
      this.expiry.begin();
      this.leases.begin(this.present.term, this.present);
      this.liveVoters.begin(this.parts.clock.monotonicMs());
      if (this.waitsForAll) this.waitForVoters(this.parts.clock.monotonicMs());
      this.parts.report('info', `leads in term ${this.present.term}`);
    }
    if (!led) return;
    for (const [to, sender] of this.senders) {
      if (leads && sender.term === this.present.term) continue;
      sender.abort();
      this.senders.delete(to);
    }
    if (leads) return;
    this.catchingUp.clear();
    this.heardMs.clear();
    this.leases.end();
    this.liveVoters.end();
    this.awaited = [];
    this.lostOfficeMs = this.parts.clock.monotonicMs();
    this.parts.report('info', `leads no longer; now term ${this.present.term}`);
  }

  // Write concern `all`.

  private office(): { readonly leader: NodeId; readonly term: number } | null {
    const { leader, term } = this.now;
    return leader === null ? null : { leader, term };
  }

  private waitForVoters(nowMs: number): void {
    const before = this.awaited;
    const status = this.raft.status();
    const { voters, outgoing } = status.configuration.configuration;
    const ids = [...voters, ...outgoing].map(({ id }) => id).filter((id) => id !== status.id);
    this.awaited = this.liveVoters.update(nowMs, ids, status);
    this.raft.waitFor(this.awaited);
    for (const id of before) {
      if (!this.awaited.includes(id)) this.parts.report('warn', `waits for ${id} no longer`);
    }
  }

  private grantReadLease(to: NodeId, term: number, id: number): void {
    if (!this.waitsForAll || !this.leading || this.now.term !== term) return;
    const grant = () => {
      const leading = this.raft.status();
      if (leading.role !== 'leader' || leading.term !== term || !staysVoter(leading, to)) return;
      const durationMs = this.liveVoters.grant(this.parts.clock.monotonicMs(), to, leading);
      if (durationMs === 0) return;
      this.send({
        type: 'read-lease-reply',
        from: this.parts.config.id,
        to,
        term,
        id,
        durationMs,
      });
    };
    this.reads.strong(grant, () => {});
    this.scheduleTurn();
  }

  /** A strong read that this node may answer by itself needs its tree to be at the end of its log. */
  private atOwnTree(request: QueryRequest): QueryRequest {
    if (request.level !== 'strong' || !this.waitsForAll || this.leading) return request;
    const status = this.raft.status();
    // Who leaves is not waited for once it has left; it has the entry that says so before that.
    if (!staysVoter(status, status.id) || !this.readLease.use(this.office())) return request;
    return { ...request, level: 'session', minIndex: status.lastIndex };
  }

  // Entries on their way to the tree.

  private give(entries: readonly Entry[]): void {
    const items: Committed[] = [];
    for (const { index, term, kind, data } of entries) {
      this.alive.compaction.count(index, data.length);
      try {
        const command = kind === 'command' ? decodeLogCommand(data) : null;
        const members =
          kind === 'configuration'
            ? encodeConfigurationAt({ index, configuration: decodeConfiguration(data) })
            : null;
        items.push({ mark: { index, term }, command, members });
      } catch (cause) {
        const message = `entry ${index} of the log cannot be read`;
        this.fail(new MootError('DATA_CORRUPT', message, { cause }));
        return;
      }
    }
    this.tree.enqueue(items);
  }

  private onProgress(): void {
    const { watches, feed, compaction } = this.alive;
    const { index } = this.tree.applied;
    this.release(index);
    this.reads.applied(index);
    this.leases.flush();
    watches.applied(index);
    feed.applied(index);
    if (compaction.due) compaction.run().catch((error: unknown) => this.failUnlessStopping(error));
    this.scheduleTurn();
  }

  private release(index: number): void {
    if (index <= this.releasedIndex) return;
    this.releasedIndex = index;
    this.raft.applied(index);
  }

  private failUnlessStopping(error: unknown): void {
    if (this.stopping === null) this.fail(error);
  }

  private load({ to, first, last, bytesMax }: LoadRequest): void {
    this.parts.log.read(first, last, bytesMax).then(
      (entries) => {
        if (this.closed() !== null) return;
        this.raft.loaded(to, entries);
        this.process();
      },
      (error: unknown) => this.failUnlessStopping(error),
    );
  }

  private send(message: PeerMessage): void {
    if (this.closed() === null) this.parts.transport.send(message);
  }

  private sendAll(messages: readonly PeerMessage[]): void {
    for (const message of messages) this.send(message);
  }

  // Snapshots.

  private sendSnapshot(to: NodeId): void {
    // The core asks again only when the stream before has become useless.
    this.senders.get(to)?.abort();
    const { config, state, clock, digest, random, transport, report, observer } = this.parts;
    observer?.onSnapshot({ type: 'sending', to });
    report('info', `streams a snapshot to ${to}`);
    const sender: SnapshotSender = new SnapshotSender({
      id: config.id,
      to,
      term: this.raft.status().term,
      stream: Math.floor(random.next() * 2 ** 48),
      state,
      clock,
      digest,
      send: (chunk) => this.send(chunk),
      queuedBytes: () => transport.queuedBytes(to),
      delayMsMax: config.heartbeatMs,
      onEnd: (outcome) => {
        if (this.senders.get(to) === sender) this.senders.delete(to);
        if (outcome.ok) this.catchingUp.add(to);
        observer?.onSnapshot({ type: 'sent', to, ...outcome });
        this.raft.snapshotSent(to, outcome);
        this.scheduleTurn();
      },
      onFailed: (error) => this.failUnlessStopping(error),
    });
    this.senders.set(to, sender);
  }

  /**
   * Puts a snapshot in the tree's place, in the order that Raft.snapshotInstalled asks for. See
   * recovery.ts for what a crash between the steps leaves behind. False: its leader is of the past.
   */
  private async install(snapshot: ArrivedSnapshot): Promise<boolean> {
    const { saver, raft, feed } = this.alive;
    const { log, state } = this.parts;
    const { mark, source } = snapshot;
    if (snapshot.term < raft.status().term) return false;
    if (!raft.wantsSnapshot(mark)) {
      await source.abort();
      return true;
    }
    this.installing = true;
    try {
      await saver.exclusive(async () => {
        const hardState = saver.hardState;
        const save = { number: 0, truncateFrom: null, entries: [] };
        await log.append([{ ...save, hardState: { ...hardState, recovering: true } }]);
        await this.tree.replace(mark, async () => {
          await source.finish();
          const configuration = await storedMembers(state);
          if (configuration === null) {
            throw new MootError('DATA_CORRUPT', 'a snapshot came without the members');
          }
          // What was being read from the log is not in it any more.
          feed.reset(mark.index);
          await log.reset(mark);
          await log.append([{ ...save, hardState }]);
          this.installed = { ...snapshot, configuration };
        });
      });
    } finally {
      this.installing = false;
      this.scheduleTurn();
    }
    return true;
  }

  private onReplaced(mark: SnapshotMark): void {
    const { raft, watches, compaction } = this.alive;
    if (this.installed === null) return;
    const { from, term, configuration } = this.installed;
    this.installed = null;
    compaction.reset(mark);
    this.hashes.reset();
    this.releasedIndex = mark.index;
    raft.snapshotInstalled(from, term, mark, configuration);
    this.proposals.giveUp('this node was behind and has taken in a snapshot');
    watches.reset(mark.index);
    this.reads.applied(mark.index);
    this.parts.observer?.onSnapshot({ type: 'installed', from, index: mark.index });
    this.parts.report('info', `took in a snapshot from ${from} at index ${mark.index}`);
    this.scheduleTurn();
  }

  /** Followers for whom the log is kept, within bounds. */
  private laggards(): readonly Laggard[] {
    const { followers, lastIndex } = this.raft.status();
    const { snapshotTailEntries } = this.parts.config;
    const heardFrom = this.parts.clock.monotonicMs() - AWAY_MS;
    return followers.flatMap(({ id, match, next, state }) => {
      const sender = this.senders.get(id);
      if (sender !== undefined) return [{ index: sender.index, bySnapshot: true }];
      // In a probe what it has is not known; `next` is where it goes on.
      const index = state === 'replicate' ? match : next - 1;
      if (match >= lastIndex - snapshotTailEntries) this.catchingUp.delete(id);
      const isThere = (this.heardMs.get(id) ?? 0) > heardFrom;
      return isThere ? [{ index, bySnapshot: this.catchingUp.has(id) }] : [];
    });
  }

  // Clients.

  private submit(request: SubmitRequest, decide: Decide): void {
    const { session, sequence, acknowledged, command } = request;
    const problem = checkSession(request) ?? checkCommand(command);
    if (problem !== null) {
      decide({ type: 'refused', code: 'BAD_ARGUMENT', message: problem });
    } else if (!this.leading) {
      decide({ type: 'refused', code: 'NOT_LEADER', message: 'this node does not lead' });
    } else {
      this.expiry.heard(session, this.parts.clock.monotonicMs());
      this.propose(this.proposals.stamp(session, sequence, acknowledged, command), decide);
    }
  }

  private propose(command: LogCommand, decide: Decide): void {
    this.proposals.add(command, decide);
    this.proposed.push(command);
    this.scheduleTurn();
  }
}

/** It votes also when the change under way is through. */
function staysVoter({ configuration }: Pick<RaftStatus, 'configuration'>, id: NodeId): boolean {
  return configuration.configuration.voters.some((voter) => voter.id === id);
}
