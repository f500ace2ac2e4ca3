import { describe, type ErrorCode, isMootError, MootError } from '../base/errors.js';
import type { NodeStatus } from '../codec/client-messages.js';
import { decodeLogCommand, encodeLogCommand } from '../codec/commands.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import type { Command, LogCommand } from '../filesystem/commands.js';
import { isBeyondQuota, spaceOf } from '../filesystem/quota.js';
import { createFilesystem } from '../filesystem/state-machine.js';
import { isVoter, membersOf } from '../raft/membership.js';
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
import { committedOf } from './committed.js';
import { Compaction } from './compaction.js';
import { createCore } from './core.js';
import { DiskRoom } from './disk-room.js';
import { Feed } from './feed.js';
import { Leases } from './leases.js';
import { membersText } from './members.js';
import { LEASE_MS_DEFAULT, type Node, type NodeInspection, type NodeParts } from './node.js';
import { Office } from './office.js';
import { type Decide, Proposals } from './proposals.js';
import { readLast } from './read-last.js';
import { Reads } from './reads.js';
import { openStores } from './recovery.js';
import { Saver } from './saver.js';
import { createService } from './service.js';
import { Snapshots } from './snapshots.js';
import { DiskWatch } from './stall.js';
import { hashText, StateHashes } from './state-hash.js';
import { nodeStatus } from './status.js';
import { planTicks, Ticker, type TickPlan } from './ticker.js';
import { Tree } from './tree.js';
import { Watches } from './watches.js';
import { WriteAll } from './write-all.js';

/** Watchers learn the applied index, and other small duties are done, this often. */
const DUTIES_MS = 100;
/** Entries whose terms `inspect` tells: what a person can look at. */
const INSPECTED_ENTRIES_MAX = 64;
/** Bytes that one call of `entries` brings into memory. */
const READ_ENTRIES_BYTES_MAX = 1_048_576;
/** A read waits at least this long for a leader before the client is sent elsewhere. */
const READ_WAIT_MS_MIN = 1_000;
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
  readonly snapshots: Snapshots;
  readonly writeAll: WriteAll | null;
  readonly office: Office;
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
  private readonly hashes: StateHashes;
  private readonly diskWatch = new DiskWatch();
  private readonly diskRoom: DiskRoom;
  private running: Running | null = null;
  /** As of the end of the last `process`. */
  private present: RaftStatus | null = null;
  /** Commands of this turn. */
  private readonly proposed: LogCommand[] = [];
  private turnScheduled = false;
  private processing = false;
  private releasedIndex = 0;
  private startedMs: number;
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
    this.diskRoom = new DiskRoom(
      config.id,
      clock,
      parts.diskSpace,
      () => this.tree.written.index,
      (message) => this.closed() === null && this.send(message),
      (error) => this.failUnlessStopping(error),
    );
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
      onReplaced: (mark) => this.alive.snapshots.replaced(mark),
      onFailed: (error) => this.fail(error),
    });
    const codec = { encode: encodeLogCommand, decode: decodeLogCommand, spaceOf };
    this.proposals = new Proposals(clock, codec, (data, space) => {
      const result = this.raft.propose(data);
      if (!result.ok) return result;
      parts.observer?.onProposed(result.first, data.length);
      this.diskRoom.entered(result.term, result.first + data.length - 1, space);
      return result;
    });
    this.reads = new Reads(clock, random, (context) => this.raft.readIndex(context), {
      waitMs: Math.max(READ_WAIT_MS_MIN, 2 * config.electionTimeoutMaxMs),
      roundMs: config.electionTimeoutMaxMs,
    });
    this.leaseMs = this.waitsForAll ? 0 : (config.leaseMs ?? LEASE_MS_DEFAULT);
    this.leases = new Leases(clock, this.leaseMs);
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
    const { log, state, clock, random, config, transport } = parts;
    const { restored, treeMark } = await openStores(parts, tree);
    await parts.onOpened?.();
    const raft = createCore(config.id, this.plan, restored, random);
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
        laggards: () => snapshots.laggards(),
        treeBytes: () => this.tree.counters.bytes + this.tree.counters.inodes * RECORDS_BYTES,
        onCompacted: (mark) => {
          raft.compacted(mark);
          parts.observer?.onSnapshot({ type: 'taken', index: mark.index });
          this.process();
        },
      },
      restored.snapshot,
    );
    const watches = new Watches(treeMark.index);
    const snapshots = new Snapshots({
      ...{ node: parts, raft, saver, feed, tree },
      send: (message) => this.send(message),
      term: () => this.now.term,
      onTurn: () => this.scheduleTurn(),
      onInstalled: (mark) => this.onInstalled(mark),
      onFailed: (error) => this.failUnlessStopping(error),
    });
    const writeAll = !this.waitsForAll
      ? null
      : new WriteAll({
          ...{ id: config.id, clock, raft, reads: this.reads, report: parts.report },
          send: (message) => this.send(message),
          present: () => this.now,
        });
    const { proposals, leases, hashes } = this;
    const office = new Office({
      ...{ config, clock, tree, proposals, leases, hashes, snapshots, writeAll },
      propose: (command, decide) => this.propose(command, decide),
    });
    const changes = new Changes(clock, raft, this.leases);
    const { reads } = this;
    const service = createService({
      ...{ clock, tree, reads, proposals, leases, office },
      diskSpace: () => this.diskRoom.shown(this.members),
      refusal: (command) => this.refusal(command),
      ...{ watches, writeAll, onFailed },
      closed: () => this.closed(),
      leader: () => this.leader(),
      leads: () => this.leading,
      leaderKnown: () => this.now.leader !== null,
      propose: (command, decide) => this.propose(command, decide),
      onTurn: () => this.scheduleTurn(),
      status: () => this.status(),
      snapshot: () => this.snapshot(),
      changeMembers: (change) => this.changeMembers(change),
      transferLeadership: (to) => this.transferLeadership(to),
    });
    this.releasedIndex = treeMark.index;
    const bootstrap = new Bootstrap(config.id, random, clock.monotonicMs());
    this.running = {
      ...{ raft, saver, feed, watches, compaction, snapshots, writeAll, office },
      ...{ service, bootstrap, changes },
    };
    this.present = raft.status();
    // Those in force by the log, which the tree may not have come to.
    transport.setPeers(membersOf(this.present.configuration.configuration));
    transport.setIncarnation(this.present.incarnation);
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

  get cluster(): { readonly cluster: string; readonly incarnation: number } {
    const { cluster } = this.parts.config;
    return { cluster, incarnation: this.raft.status().incarnation };
  }

  status(): NodeStatus {
    return nodeStatus(this.parts, this.raft.status(), this.tree, this.startedMs, {
      leaseMs: this.leaseMs,
      sessionTimeoutMs: this.parts.config.sessionTimeoutMs,
      writeConcern: this.waitsForAll ? 'all' : 'majority',
      liveVoters: this.alive.writeAll?.awaited ?? [],
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
    this.scheduleTurn();
    await this.alive.changes.handOver(() => this.proposals.size > 0 && this.closed() === null);
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
      await this.running.snapshots.close().catch((error: unknown) => this.fail(error));
      await this.running.saver.stop();
      await this.tree.close().catch((error: unknown) => this.fail(error));
    }
    await log.close();
    await state.close();
  }

  /** Nothing more is taken in, and nobody waits for what will not come. */
  private halt(): void {
    this.ticker.stop();
    this.running?.snapshots.halt();
    this.proposals.stop();
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
    if (!this.alive.snapshots.installing) for (let i = 0; i < count; i++) this.raft.tick();
    const nowMs = this.parts.clock.monotonicMs();
    this.reads.tick();
    this.leases.tick();
    this.alive.writeAll?.tick();
    if (nowMs - this.dutiesMs >= DUTIES_MS) {
      this.dutiesMs = nowMs;
      this.duties(nowMs);
    }
    this.turn();
  }

  private duties(nowMs: number): void {
    const { watches, snapshots, changes, office } = this.alive;
    watches.tick();
    this.noticeStall(nowMs);
    snapshots.tick();
    if (this.now.recovering && !snapshots.installing) this.recall(nowMs);
    else this.askWhetherRemoved(nowMs);
    if (changes.busy) this.scheduleTurn();
    office.tick(nowMs, this.now);
    this.diskRoom.tick(nowMs, this.now);
  }

  private get members(): ReadonlySet<NodeId> {
    return new Set(membersOf(this.now.configuration.configuration).map(({ id }) => id));
  }

  /** What need not, or must not, enter the log. */
  private refusal(command: Command): 'ENOSPC' | 'EDQUOT' | null {
    const { waitingSpace } = this.proposals;
    if (this.diskRoom.refuses(command, this.members, this.now.followers, waitingSpace))
      return 'ENOSPC';
    const { applied, counters } = this.tree;
    // What was acknowledged in earlier terms may have made room, and not be in this tree yet.
    if (applied.term < this.now.term) return null;
    return isBeyondQuota(command, counters, (key) => this.tree.look(key)) ? 'EDQUOT' : null;
  }

  /**
   * A node whose disk hangs neither leads nor stands: heartbeats need no disk, so nobody else would
   * notice, and nothing would be committed or answered.
   */
  private noticeStall(nowMs: number): void {
    const { saver, raft } = this.alive;
    if (!this.diskWatch.hangs(nowMs, saver, this.tree, this.now.commitIndex)) return;
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
    const newTerm = config.peers.length > 0 ? bootstrap.termOfNewCluster(nowMs, others) : null;
    if (this.empty && newTerm !== null) this.raft.bootstrap(newTerm);
    else this.raft.othersTerms(bootstrap.terms);
    for (const message of bootstrap.tick(nowMs, others)) this.send(message);
  }

  /**
   * Who is no voter asks nobody for a vote, so nobody tells it that it was removed while it was away. Any
   * message does: those who know answer with the notice.
   */
  private askWhetherRemoved(nowMs: number): void {
    const { id } = this.parts.config;
    const { leader } = this.now;
    const { configuration } = this.now.configuration;
    if (isVoter(configuration, id)) return;
    if (leader !== null && this.parts.transport.connected(leader)) return;
    const others = membersOf(configuration).flatMap((one) => (one.id === id ? [] : one.id));
    for (const message of this.alive.bootstrap.tick(nowMs, others)) this.send(message);
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
    if (message.type !== 'bootstrap') this.alive.bootstrap.called();
    switch (message.type) {
      case 'snapshot-chunk':
      case 'snapshot-ack':
        this.alive.snapshots.heard(message);
        break;
      case 'bootstrap':
        this.send({
          type: 'bootstrap-reply',
          from: message.to,
          to: message.from,
          question: message.question,
          // Nobody is asked for a vote in a term that is not on disk; and a crash would take it back.
          term: this.alive.saver.hardState.term,
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
      case 'disk-space':
        this.diskRoom.heard(message);
        break;
      case 'read-lease':
        this.alive.writeAll?.grant(message);
        this.scheduleTurn();
        break;
      case 'read-lease-reply':
        this.alive.writeAll?.granted(message);
        break;
      default:
        this.onRaftMessage(message);
    }
  }

  private onRaftMessage(message: RaftMessage): void {
    // While the tree is being replaced the core must stand still; Raft bears lost messages.
    if (this.alive.snapshots.installing) return;
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
    const { raft, saver, snapshots } = this.alive;
    if (this.processing || snapshots.installing || this.closed() !== null) return;
    this.processing = true;
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
    this.alive.snapshots.keepMembers(members);
    this.parts.report('info', `members by entry ${index}: ${membersText(configuration)}`);
  }

  private handle(ready: Ready): void {
    const { saver, feed, snapshots } = this.alive;
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
    for (const follower of ready.snapshotsTo) snapshots.send(follower);
  }

  /** Who leads may have changed. */
  private noticeOffice(): void {
    const before = this.present;
    this.present = this.raft.status();
    this.parts.observer?.onTurn(this.present);
    if (before !== null && before.incarnation !== this.present.incarnation) {
      this.parts.transport.setIncarnation(this.present.incarnation);
    }
    if (before !== null && before.configuration !== this.present.configuration) {
      this.onMembers(this.present.configuration);
    }
    if (this.present.removed) {
      const message = `'${this.present.id}' was removed from the cluster; its id is not used again. To come back it needs an empty data directory, another id, and to be added`;
      this.fail(new MootError('REMOVED', message));
      return;
    }
    this.alive.office.look(before, this.present);
  }

  // Entries on their way to the tree.

  private give(entries: readonly Entry[]): void {
    for (const { index, data } of entries) this.alive.compaction.count(index, data.length);
    try {
      this.tree.enqueue(entries.map(committedOf));
    } catch (error) {
      if (!isMootError(error)) throw error;
      this.fail(error);
    }
  }

  private onProgress(): void {
    const { watches, feed, compaction } = this.alive;
    const { index } = this.tree.applied;
    this.release(index);
    // Before the reads: an answer of level `session` comes behind the changes up to it.
    watches.applied(index);
    this.reads.applied(index);
    this.leases.flush();
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

  /** A snapshot has taken the place of tree and log. */
  private onInstalled(mark: SnapshotMark): void {
    const { watches, compaction } = this.alive;
    compaction.reset(mark);
    this.hashes.reset();
    this.releasedIndex = mark.index;
    this.proposals.giveUp('this node was behind and has taken in a snapshot');
    watches.reset(mark.index);
    this.reads.applied(mark.index);
  }

  // Clients.

  private propose(command: LogCommand, decide: Decide): void {
    this.proposals.add(command, decide);
    this.proposed.push(command);
    this.scheduleTurn();
  }
}
