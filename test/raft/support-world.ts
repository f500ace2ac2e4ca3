import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { decodeConfiguration } from '../../src/codec/configuration.js';
import { isRemoved, isVoter, membersOf } from '../../src/raft/membership.js';
import { voterSets } from '../../src/raft/quorum.js';
import { createRaft } from '../../src/raft/raft.js';
import type {
  Configuration,
  ConfigurationAt,
  Entry,
  MemberChange,
  NodeId,
  Raft,
  RaftConfig,
  RaftMessage,
  Ready,
  Save,
  SnapshotMark,
} from '../../src/raft/types.js';
import { configurationCodec, configurationOf, Disk } from './support-disk.js';

/** One running or crashed node of the simulated world. */
interface SimNode {
  readonly id: NodeId;
  readonly config: RaftConfig;
  /** What a disk that was lost begins with again. */
  readonly first: Configuration;
  disk: Disk;
  raft: Raft | null;
  /** It said that it was removed, and has ended. */
  gone: boolean;
  /** Counts its disks. */
  life: number;
  /** Of others, as they answered in this life. */
  readonly terms: Map<NodeId, number>;
  /** Counts restarts, so that what was begun before one does not end after it. */
  incarnation: number;
  saves: { readonly save: Save; readonly messages: readonly RaftMessage[]; readonly at: number }[];
  toApply: { readonly first: number; readonly last: number }[];
  /** What the state store holds, and what of that would survive the machine. */
  state: number;
  synced: number;
  /** Never less than this after a restart. */
  durableTerm: number;
  commit: number;
  /** What was in force there after its last step. */
  members: Configuration;
  /** The commit index of the world when each read began, by context. */
  reads: Map<number, number>;
}

interface Task {
  readonly at: number;
  readonly run: () => void;
}

interface Fault {
  readonly lossRate: number;
  readonly duplicateRate: number;
  readonly delayMax: number;
  readonly saveDelayMax: number;
}

const CALM: Fault = { lossRate: 0, duplicateRate: 0, delayMax: 1, saveDelayMax: 1 };

/**
 * Cores with a network that loses, delays, repeats and reorders, with disks that save late and
 * processes that crash, all from one seed. Every claim of the Raft paper's figure 3 is checked
 * after every step.
 */
export class World {
  private readonly random: Random;
  private readonly config: Omit<RaftConfig, 'id'>;
  private readonly nodes: SimNode[] = [];
  private readonly byId = new Map<NodeId, SimNode>();
  private tasks: Task[] = [];
  private now = 0;
  private fault: Fault;
  private blocked = new Set<string>();
  private nextValue = 1;
  private nextContext = 1;

  private readonly leaders = new Map<number, NodeId>();
  /** What any (index, term) ever stood for, and the term of the entry before it. */
  private readonly seen = new Map<string, string>();
  /** The committed log, as far as any node knows it: term and data by index. */
  private readonly committed: string[] = [''];
  /** The last configuration that was committed, as far as any node knows. */
  private lastMembers: Configuration;
  readonly counts = {
    commits: 0,
    crashes: 0,
    wipes: 0,
    snapshots: 0,
    reads: 0,
    terms: 0,
    loads: 0,
    memberChanges: 0,
    promotions: 0,
    removals: 0,
    learnedRemovals: 0,
    transfers: 0,
  };

  constructor(
    seed: number,
    private readonly withWipes: boolean,
    private readonly withChanges: boolean,
  ) {
    this.random = seededRandom(seed);
    const size = 1 + this.below(5);
    const voters = Array.from({ length: size }, (_, i) => `n${i + 1}`);
    const small = this.chance(0.5);
    this.config = {
      configurations: configurationCodec,
      electionTicksMin: 10,
      electionTicksMax: 20,
      heartbeatTicks: 3,
      inFlightMessagesMax: small ? 2 : 16,
      inFlightBytesMax: small ? 400 : 10_000,
      appendBytesMax: small ? 150 : 2000,
      uncommittedBytesMax: small ? 1000 : 100_000,
      tailBytesMax: small ? 200 : 5000,
    };
    this.lastMembers = configurationOf(voters);
    // A single node cannot know that others have joined it since, so its own name alone is nothing
    // to start again with when its disk is lost.
    const first = size === 1 ? configurationOf([]) : this.lastMembers;
    for (const id of voters) this.create(id, new Disk(false, this.lastMembers), first);
    this.fault = {
      lossRate: this.chance(0.3) ? 0 : this.random.next() * 0.3,
      duplicateRate: this.chance(0.5) ? 0 : this.random.next() * 0.2,
      delayMax: 1 + this.below(this.chance(0.2) ? 30 : 6),
      saveDelayMax: 1 + this.below(this.chance(0.2) ? 20 : 4),
    };
    for (const node of this.nodes) this.start(node);
  }

  private create(id: NodeId, disk: Disk, first: Configuration): SimNode {
    const node: SimNode = {
      id,
      config: { id, ...this.config },
      first,
      disk,
      raft: null,
      gone: false,
      incarnation: 0,
      life: 0,
      terms: new Map(),
      saves: [],
      toApply: [],
      state: 0,
      synced: 0,
      durableTerm: 0,
      commit: 0,
      members: first,
      reads: new Map(),
    };
    this.nodes.push(node);
    this.byId.set(id, node);
    return node;
  }

  run(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.disturb();
      this.step();
    }
    this.heal();
  }

  private step(): void {
    this.now++;
    for (const node of this.nodes) {
      if (this.chance(0.9)) node.raft?.tick();
      if (this.chance(0.2)) this.recall(node);
      this.pump(node);
    }
    const due = this.tasks.filter((task) => task.at <= this.now);
    this.tasks = this.tasks.filter((task) => task.at > this.now);
    for (const task of due.sort(() => this.random.next() - 0.5)) task.run();
    for (const node of this.nodes) {
      this.finishSaves(node);
      this.pump(node);
      this.apply(node, 1 + this.below(10));
      this.pump(node);
      this.check(node);
    }
  }

  private disturb(): void {
    const node = this.pick(this.nodes);
    const { raft } = node;
    if (this.chance(0.4)) this.propose();
    if (raft === null) {
      if (!node.gone && this.chance(0.1)) this.start(node);
      return;
    }
    if (raft.status().removed && this.chance(0.2)) this.end(node);
    if (this.withChanges && this.chance(0.05)) this.changeMembers();
    if (this.chance(0.03)) this.transfer();
    if (this.chance(0.2)) this.read(node);
    if (this.chance(0.006)) this.crash(node);
    if (this.chance(0.02)) this.compact(node);
    if (this.chance(0.003)) raft.stepDown();
    if (this.chance(0.004)) raft.campaign();
    if (this.chance(0.004)) raft.unreachable(this.pick(this.nodes).id);
    if (this.chance(0.01)) this.partition();
    if (this.chance(0.02)) this.blocked.clear();
    if (this.withWipes && this.chance(0.02)) this.wipe(node);
  }

  // --- What the world does to nodes --------------------------------------------------------------

  private start(node: SimNode): void {
    node.incarnation++;
    node.terms.clear();
    node.raft = createRaft(node.config, node.disk.restored(node.state), this.random);
    node.commit = node.state;
    node.members = node.raft.status().configuration.configuration;
    this.ensure(node.disk.hardState.term >= node.durableTerm, `${node.id}: its term went back`);
  }

  private crash(node: SimNode): void {
    this.counts.crashes++;
    node.raft = null;
    node.incarnation++;
    // What was being saved may have reached the disk or not, in order.
    for (const { save } of node.saves) {
      if (this.chance(0.5)) break;
      node.disk.append(save);
    }
    node.saves = [];
    node.toApply = [];
    node.reads.clear();
    if (this.chance(0.3)) node.state = randomBetween(this.random, node.synced, node.state + 1);
  }

  /** It was told that it is a member no more. */
  private end(node: SimNode): void {
    this.crash(node);
    node.gone = true;
    this.counts.learnedRemovals++;
    this.ensure(isRemoved(this.lastMembers, node.id), `${node.id} ended and was not removed`);
  }

  private changeMembers(): void {
    const leader = this.nodes.find(({ raft }) => raft?.status().role === 'leader');
    if (leader?.raft == null || this.someVoterRecovers()) return;
    const changes = this.chance(0.4)
      ? this.exchange(leader.members)
      : [this.randomChange(leader.members)];
    const before = leader.raft.status();
    const result = leader.raft.changeMembers(changes);
    if (!result.ok || result.index <= before.lastIndex) return;
    this.counts.memberChanges++;
    this.ensure(before.configuration.index <= before.commitIndex, 'one change at a time');
    this.check(leader);
  }

  private randomChange({ voters, learners, removed }: Configuration): MemberChange {
    const members = [...voters, ...learners].map(({ id }) => id);
    if (this.chance(0.1) && removed.length > 0) return this.addition(this.pick(removed));
    if (this.chance(0.15) && learners.length > 0) {
      return { type: 'promote', id: this.pick(learners).id };
    }
    const small = members.length < 3;
    if (this.nodes.length < 12 && this.chance(small ? 0.8 : 0.5)) {
      const nobody = configurationOf([]);
      const node = this.create(`n${this.nodes.length + 1}`, new Disk(true, nobody), nobody);
      this.start(node);
      return this.addition(node.id, this.chance(0.3) ? this.pick(voters).id : null);
    }
    return { type: 'remove', id: this.pick(members) };
  }

  /** Old and new majorities that need not have a voter in common. */
  private exchange({ voters, learners }: Configuration): MemberChange[] {
    const leaving = voters.filter(() => this.chance(0.6));
    return [
      ...learners.map(({ id }): MemberChange => ({ type: 'promote', id })),
      ...leaving.map(({ id }): MemberChange => ({ type: 'remove', id })),
    ];
  }

  private addition(id: NodeId, replaces: NodeId | null = null): MemberChange {
    return { type: 'add', id, address: id, promote: this.chance(0.4), replaces };
  }

  private transfer(): void {
    const node = this.pick(this.nodes);
    if (node.raft?.status().role !== 'leader') return;
    const to = this.chance(0.5) ? null : this.pick(this.nodes).id;
    if (node.raft.transferLeadership(to).ok) this.counts.transfers++;
  }

  /** By what any node holds for true. */
  private someVoterRecovers(): boolean {
    const known = this.knownMembers();
    return this.nodes.some(
      ({ id, disk }) => disk.hardState.recovering && known.some((members) => isVoter(members, id)),
    );
  }

  private knownMembers(): Configuration[] {
    return this.nodes.flatMap(({ raft, disk, members }) => [
      disk.configurationAt(Number.POSITIVE_INFINITY).configuration,
      ...(raft === null ? [] : [members]),
    ]);
  }

  /** The disk is lost. Only while all others are there and know what they promised. */
  private wipe(node: SimNode): void {
    if (this.committed.length < 3 || this.someVoterRecovers()) return;
    // Of two voters each is needed, also for the other's recovery. A learner may have been found able
    // to be the only voter, or one of two, by what it said before.
    const known = this.knownMembers();
    const learns = known.some(({ learners }) => learners.some(({ id }) => id === node.id));
    const tooFew = (voters: readonly NodeId[]) => voters.includes(node.id) && voters.length < 3;
    if (learns || known.flatMap(voterSets).some(tooFew)) return;
    this.crash(node);
    this.counts.wipes++;
    node.disk = new Disk(true, node.first);
    node.state = 0;
    node.synced = 0;
    node.durableTerm = 0;
    node.life++;
  }

  /**
   * A node that forgot what it promised asks all others for their terms. Its new connection ends the
   * older one: what is still on its way over that is lost.
   */
  private recall(node: SimNode): void {
    const { incarnation, raft } = node;
    if (raft === null || !raft.status().recovering) return;
    const others = membersOf(raft.status().configuration.configuration);
    for (const { id } of others) {
      const other = this.byId.get(id);
      if (id === node.id || other === undefined || this.isLost(node.id, id)) continue;
      this.later(() => {
        this.dropOlder(node.id, id, node.life);
        const term = other.raft?.status().term;
        if (term === undefined || this.isLost(id, node.id)) return;
        this.later(() => {
          if (node.incarnation !== incarnation) return;
          if (!node.terms.has(id)) node.terms.set(id, term);
          raft.othersTerms(node.terms);
        });
      });
    }
  }

  private isLost(from: NodeId, to: NodeId): boolean {
    return this.blocked.has(`${from}>${to}`) || this.chance(this.fault.lossRate);
  }

  private dropOlder(from: NodeId, to: NodeId, life: number): void {
    this.tasks = this.tasks.filter(
      (task) =>
        !(task instanceof Delivery && task.from === from && task.to === to && task.life < life),
    );
  }

  private partition(): void {
    this.blocked.clear();
    const oneWay = this.chance(0.3);
    const left = this.nodes.filter(() => this.chance(0.5)).map(({ id }) => id);
    for (const a of left) {
      for (const { id: b } of this.nodes) {
        if (left.includes(b)) continue;
        this.blocked.add(`${a}>${b}`);
        if (!oneWay) this.blocked.add(`${b}>${a}`);
      }
    }
  }

  private propose(): void {
    const node = this.pick(this.nodes);
    const data = Array.from({ length: 1 + this.below(4) }, () => this.value());
    const before = node.raft?.status();
    const result = node.raft?.propose(data);
    if (result?.ok && before !== undefined) {
      this.ensure(result.first === before.lastIndex + 1, 'propose says where the entries are');
    }
  }

  private value(): Uint8Array {
    return new TextEncoder().encode(`${this.nextValue++}`.padEnd(1 + this.below(40), '.'));
  }

  private read(node: SimNode): void {
    const context = this.nextContext++;
    node.reads.set(context, this.committed.length - 1);
    node.raft?.readIndex(context);
  }

  private compact(node: SimNode): void {
    const { raft, disk } = node;
    const index = node.state - this.below(6);
    if (raft === null || index <= disk.snapshot.index) return;
    const term = disk.termAt(index);
    if (term === undefined || index > raft.status().appliedIndex) return;
    node.synced = node.state;
    disk.compact({ index, term });
    raft.compacted({ index, term });
  }

  // --- The runtime -------------------------------------------------------------------------------

  private pump(node: SimNode): void {
    for (let i = 0; node.raft?.hasReady(); i++) {
      this.ensure(i < 100, `${node.id}: ready without end`);
      this.carryOut(node, node.raft, node.raft.ready());
      if (this.chance(0.2)) return;
    }
  }

  private carryOut(node: SimNode, raft: Raft, ready: Ready): void {
    const { save, messagesAfterSave: messages } = ready;
    this.ensure(save !== null || messages.length === 0, 'messages after a save have a save');
    for (const message of ready.messages) this.send(node, message);
    if (save !== null) {
      node.saves.push({ save, messages, at: this.now + this.below(this.fault.saveDelayMax) });
    }
    if (ready.committedFromLog !== null) node.toApply.push(ready.committedFromLog);
    const first = ready.committed[0];
    if (first !== undefined) {
      node.toApply.push({ first: first.index, last: first.index + ready.committed.length - 1 });
      for (const entry of ready.committed) {
        const stored = node.disk.at(entry.index);
        this.ensure(stored?.term === entry.term, `${node.id}: handed out before it is durable`);
      }
    }
    for (const { context, index } of ready.reads) {
      const atLeast = node.reads.get(context);
      this.ensure(atLeast !== undefined, `${node.id}: read ${context} is answered once`);
      node.reads.delete(context);
      if (index === 0) continue;
      this.counts.reads++;
      this.ensure(index >= (atLeast ?? 0), `${node.id}: read at ${index}, committed ${atLeast}`);
    }
    const { incarnation } = node;
    for (const load of ready.loads) {
      this.counts.loads++;
      this.later(() => {
        if (node.incarnation !== incarnation) return;
        raft.loaded(load.to, node.disk.read(load.first, load.last, load.bytesMax));
      });
    }
    for (const to of ready.snapshotsTo) this.streamSnapshot(node, raft, to);
  }

  private finishSaves(node: SimNode, all = false): void {
    let last: number | null = null;
    // Several saves are one disk sync: they are reported together.
    while (node.saves[0] !== undefined && (all || node.saves[0].at <= this.now)) {
      const done = node.saves.shift();
      if (done === undefined) break;
      this.checkEntries(node, done.save);
      node.disk.append(done.save);
      node.durableTerm = node.disk.hardState.term;
      for (const message of done.messages) this.send(node, message);
      last = done.save.number;
    }
    if (last === null) return;
    node.raft?.saved(last);
    this.check(node);
  }

  private apply(node: SimNode, countMax: number): void {
    for (let n = 0; n < countMax; n++) {
      const range = node.toApply[0];
      if (range === undefined) break;
      const index = node.state + 1;
      this.ensure(index >= range.first && index <= range.last, `${node.id}: applied in order`);
      const entry = node.disk.at(index);
      this.ensure(entry !== undefined, `${node.id}: ${index} is on disk when it is applied`);
      if (entry !== undefined) this.checkCommitted(node, entry);
      node.state = index;
      if (index === range.last) node.toApply.shift();
    }
    node.raft?.applied(node.state);
  }

  private send(node: SimNode, message: RaftMessage): void {
    if (message.type !== 'pre-vote' && message.type !== 'pre-vote-reply') {
      this.ensure(
        node.disk.hardState.term >= message.term,
        `${node.id}: ${message.type} of term ${message.term} before it is durable`,
      );
    }
    if (message.type === 'vote-reply' && message.granted) {
      const { term, vote } = node.disk.hardState;
      this.ensure(term > message.term || vote === message.to, `${node.id}: durable vote`);
    }
    if (this.blocked.has(`${message.from}>${message.to}`)) return;
    const copies = 1 + (this.chance(this.fault.duplicateRate) ? 1 : 0);
    for (let i = 0; i < copies; i++) {
      if (this.chance(this.fault.lossRate)) continue;
      const at = this.now + this.below(this.fault.delayMax);
      const { from, to } = message;
      const { life } = node;
      this.tasks.push(new Delivery(at, from, to, life, () => this.receive(message, life)));
    }
  }

  private receive(message: RaftMessage, life: number): void {
    const target = this.byId.get(message.to);
    if (target === undefined) return;
    this.dropOlder(message.from, message.to, life);
    target.raft?.step(message);
    this.check(target);
  }

  private streamSnapshot(leader: SimNode, raft: Raft, to: NodeId): void {
    const { incarnation } = leader;
    const term = raft.status().term;
    const mark = { index: leader.state, term: leader.disk.termAt(leader.state) ?? 0 };
    const members = leader.disk.configurationAt(mark.index);
    this.later(() => {
      const target = this.byId.get(to);
      const lost = this.blocked.has(`${leader.id}>${to}`) || this.chance(this.fault.lossRate);
      const ok =
        target !== undefined && !lost && this.install(target, leader.id, { term, mark, members });
      this.later(() => {
        if (leader.incarnation === incarnation) raft.snapshotSent(to, { ok, index: mark.index });
      });
    });
  }

  private install(
    node: SimNode,
    from: NodeId,
    snapshot: {
      readonly term: number;
      readonly mark: SnapshotMark;
      readonly members: ConfigurationAt;
    },
  ): boolean {
    const { term, mark, members } = snapshot;
    if (node.raft === null) return false;
    if (!node.raft.wantsSnapshot(mark)) return true;
    this.finishSaves(node, true);
    this.apply(node, Number.POSITIVE_INFINITY);
    if (!node.raft.wantsSnapshot(mark)) return true;
    this.counts.snapshots++;
    node.disk.reset(mark, members);
    node.state = mark.index;
    node.synced = mark.index;
    node.toApply = [];
    node.raft.snapshotInstalled(from, term, mark, members);
    return true;
  }

  // --- What must hold ----------------------------------------------------------------------------

  private check(node: SimNode): void {
    if (node.raft === null) return;
    const { role, term, commitIndex, id, configuration } = node.raft.status();
    // A commit was counted before the entry that it allowed was appended.
    const { members } = node;
    node.members = configuration.configuration;
    this.ensure(commitIndex >= node.commit, `${id}: its commit index went back`);
    node.commit = commitIndex;
    if (role !== 'leader') return;
    const other = this.leaders.get(term);
    this.ensure(
      other === undefined || other === id,
      `two leaders in term ${term}: ${other}, ${id}`,
    );
    if (other === undefined) {
      this.leaders.set(term, id);
      this.counts.terms++;
      const committed = node.disk.configurationAt(commitIndex).configuration;
      const voter = isVoter(members, id) || isVoter(committed, id);
      const learner = members.learners.some((one) => one.id === id);
      this.ensure(voter || learner, `${id} leads and is no member`);
      this.checkCompleteness(node);
    }
    this.recordCommitted(node, commitIndex, members);
  }

  /** Leader completeness: what was ever committed is in the log of every later leader. */
  private checkCompleteness(node: SimNode): void {
    for (let i = node.disk.snapshot.index + 1; i < this.committed.length; i++) {
      const entry = node.disk.at(i);
      const pending = node.saves.some(({ save }) => save.entries.some(({ index }) => index === i));
      if (pending) continue;
      this.ensure(
        entry !== undefined && describeEntry(entry) === this.committed[i],
        `${node.id} leads without the committed entry ${i}`,
      );
    }
  }

  /** A commit stands on a majority of the members' disks, those of crashed nodes among them. */
  private recordCommitted(leader: SimNode, commitIndex: number, members: Configuration): void {
    while (this.committed.length <= commitIndex) {
      const index = this.committed.length;
      const holder = this.nodes.find(
        ({ disk }) => disk.termAt(commitIndex) === leader.raft?.status().term && disk.at(index),
      );
      const entry = holder?.disk.at(index);
      this.ensure(entry !== undefined, `committed ${index} is on some disk`);
      if (entry === undefined) return;
      // A copy that was lost with its disk after it was counted does no harm while that node does
      // not vote.
      const holders = this.nodes.filter(
        ({ disk }) =>
          index <= disk.snapshot.index ||
          disk.termAt(index) === entry.term ||
          disk.hardState.recovering,
      );
      const ids = new Set(holders.map(({ id }) => id));
      for (const voters of voterSets(members)) {
        const copies = voters.filter((id) => ids.has(id)).length;
        this.ensure(copies * 2 > voters.length, `committed ${index}: ${copies} of ${voters}`);
      }
      if (entry.kind === 'configuration') this.checkSuccession(decodeConfiguration(entry.data));
      this.committed.push(describeEntry(entry));
      this.counts.commits++;
    }
  }

  /** Committed configurations follow on each other so that their majorities always meet. */
  private checkSuccession(next: Configuration): void {
    const before = this.lastMembers;
    this.lastMembers = next;
    const ids = ({ voters, outgoing }: Configuration) =>
      [voters, outgoing].map((members) => members.map(({ id }) => id).sort());
    const [votersBefore, outgoingBefore] = ids(before);
    const [voters, outgoing] = ids(next);
    const shared = outgoing?.length === 0 ? voters : outgoing;
    const text = `${JSON.stringify(before)} -> ${JSON.stringify(next)}`;
    this.ensure(`${shared}` === `${votersBefore}`, `majorities that do not meet: ${text}`);
    this.ensure(outgoing?.length === 0 || outgoingBefore?.length === 0, `joint twice: ${text}`);
    if (outgoing?.length === 0 && outgoingBefore?.length !== 0) this.counts.promotions++;
    this.counts.removals += next.removed.length - before.removed.length;
    this.ensure(
      before.removed.every((id) => next.removed.includes(id)),
      `a removed id is forgotten: ${text}`,
    );
    this.ensure(
      ![...next.voters, ...next.learners].some(({ id }) => next.removed.includes(id)),
      `a removed id is used again: ${text}`,
    );
  }

  /** Log matching: (index, term) names one entry, with one history before it. */
  private checkEntries(node: SimNode, save: Save): void {
    let previous = save.entries[0] && node.disk.termAt(save.entries[0].index - 1);
    for (const entry of save.entries) {
      const key = `${entry.index}:${entry.term}`;
      const value = `${describeEntry(entry)} after ${previous}`;
      const known = this.seen.get(key);
      this.ensure(
        known === undefined || known === value,
        `${node.id}: ${key} is ${value}, ${known}`,
      );
      this.seen.set(key, value);
      previous = entry.term;
    }
  }

  private checkCommitted(node: SimNode, entry: Entry): void {
    const known = this.committed[entry.index];
    this.ensure(
      known === describeEntry(entry),
      `${node.id} applied ${describeEntry(entry)} at ${entry.index}, where ${known} is committed`,
    );
  }

  /** After the faults end everybody agrees on everything, and every read is answered. */
  private heal(): void {
    this.fault = CALM;
    this.blocked.clear();
    for (const node of this.nodes) if (node.raft === null && !node.gone) this.start(node);
    const target = this.committed.length + 3;
    for (let i = 0; i < 1500; i++) {
      this.step();
      if (this.committed.length < target) this.propose();
      else if (this.settled()) return;
    }
    const states = this.nodes.map(({ raft }) => JSON.stringify(raft?.status())).join('\n');
    throw new Error(`no progress after healing:\n${states}`);
  }

  private settled(): boolean {
    const last = this.committed.length - 1;
    const present = membersOf(this.lastMembers);
    if (this.lastMembers.outgoing.length > 0) return false;
    return this.nodes.every(({ id, gone, raft, state, reads, saves, disk }) => {
      const status = raft?.status();
      if (!present.some((member) => member.id === id)) {
        // Whoever knows somebody to ask learns that it was removed.
        const { voters } = disk.configurationAt(Number.POSITIVE_INFINITY).configuration;
        const others = voters.filter((voter) => present.some((member) => member.id === voter.id));
        return gone || others.length === 0 || !!status?.removed || !isRemoved(this.lastMembers, id);
      }
      return (
        state === last &&
        status?.lastIndex === last &&
        reads.size === 0 &&
        saves.length === 0 &&
        !status.recovering &&
        disk.lastIndex === last
      );
    });
  }

  // --- Chance ------------------------------------------------------------------------------------

  private later(run: () => void): void {
    this.tasks.push({ at: this.now + this.below(this.fault.delayMax), run });
  }

  private ensure(condition: boolean, claim: string): void {
    if (!condition) throw new Error(`step ${this.now}: ${claim}`);
  }

  private below(n: number): number {
    return randomBetween(this.random, 0, n);
  }

  private chance(rate: number): boolean {
    return this.random.next() < rate;
  }

  private pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

/** A message on its way. */
class Delivery implements Task {
  constructor(
    readonly at: number,
    readonly from: NodeId,
    readonly to: NodeId,
    /** Which of the sender's disks it speaks of. */
    readonly life: number,
    readonly run: () => void,
  ) {}
}

function describeEntry(entry: Entry): string {
  return `${entry.term}/${entry.kind}/${new TextDecoder().decode(entry.data)}`;
}
