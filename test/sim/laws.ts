import type { NodeStatus } from '../../src/codec/client-messages.js';
import { decodeConfiguration } from '../../src/codec/configuration.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import { isVoter } from '../../src/raft/membership.js';
import type { Configuration, Entry, NodeId, Save } from '../../src/raft/types.js';
import { type Reference, same } from './reference.js';
import type { Judge, Server } from './server.js';

/** A configuration and where it stands in a log. */
interface Configured {
  readonly index: number;
  readonly configuration: Configuration;
}

/** An entry as it was first seen. */
interface Known {
  readonly kind: Entry['kind'];
  readonly data: Uint8Array;
  /** Term of the entry before it, as soon as somebody knew. */
  previous: number | undefined;
}

interface Seen {
  readonly configuration: Configuration;
  /** null: it did not lead. */
  readonly ledTerm: number | null;
  /** Whom it waits for besides a majority. */
  readonly liveVoters: readonly NodeId[];
  term: number;
  commitIndex: number;
  appliedIndex: number;
}

/** A leader whose disk does not finish a write steps down within 5 s of its clock. */
const HUNG_MICROS_MAX = 5_300_000;
/** A node whose disk has failed stops at once, but for what it was about to do. */
const FAILED_MICROS_MAX = 1_000_000;

/**
 * What must hold of every node at every moment: figure 3 of the Raft paper, what its disk must have
 * before it says so, and one history that all apply.
 */
export class Laws {
  private readonly leaders = new Map<number, NodeId>();
  /** What each disk says, by node and term. */
  private readonly votesOnDisk = new Map<string, NodeId>();
  /** What each node told others, or itself, by node and term; also of disks that were lost since. */
  private readonly votesGiven = new Map<string, NodeId>();
  /** What any (index, term) ever stood for, and the term of the entry before it: by index, then term. */
  private readonly entries: Map<number, Known>[] = [];
  /** Entries that were on a disk of each node once, replaced or lost since or not. */
  private readonly held = new Set<string>();
  private readonly seen = new Map<Server, Seen>();
  readonly counts = { terms: 0, commits: 0, awaited: 0, readLeases: 0 };

  constructor(
    private readonly servers: readonly Server[],
    private readonly reference: Reference,
    /** The highest that any leader ever had. */
    private committedIndex = 0,
  ) {}

  /** A new life: what was only in memory may be behind. */
  onStart(server: Server): void {
    this.seen.delete(server);
  }

  onAppend(server: Server, saves: readonly Save[]): void {
    const { log } = server.disk.memory;
    for (const { truncateFrom } of saves) {
      if (truncateFrom === null) continue;
      for (const { index, term } of log.entries) {
        if (index < truncateFrom) continue;
        const committed = this.reference.at(index)?.entry;
        ensure(committed?.term !== term, `${server.id} removes the committed entry ${index}`);
      }
    }
    /** What the saves before have put in front of the entries in hand. */
    const terms = new Map<number, number>();
    for (const save of saves) this.matching(server, save, terms);
  }

  onDurable(server: Server, saves: readonly Save[]): void {
    for (const { entries } of saves) {
      for (const entry of entries) this.held.add(copyOf(server, entry));
    }
    for (const { hardState } of saves) {
      if (!hardState?.vote) continue;
      const { term, vote } = hardState;
      const disk = `${server.id}.${server.disk.replaced}`;
      once(this.votesOnDisk, disk, term, vote);
      if (vote === server.id) once(this.votesGiven, server.id, term, vote);
    }
  }

  onSend(server: Server, message: PeerMessage): void {
    const { hardState } = server.disk.memory.log;
    const term = hardState?.term ?? 0;
    switch (message.type) {
      case 'vote-reply':
        this.durableTerm(server, message.type, message.term, term);
        if (!message.granted) return;
        once(this.votesGiven, server.id, message.term, message.to);
        ensure(
          term > message.term || hardState?.vote === message.to,
          `${server.id} gives ${message.to} a vote in term ${message.term} that is not on its disk`,
        );
        return;
      case 'vote':
      case 'append':
      case 'heartbeat':
      case 'heartbeat-reply':
      case 'bootstrap-reply':
        this.durableTerm(server, message.type, message.term, term);
        return;
      case 'append-reply':
        this.durableTerm(server, message.type, message.term, term);
        if (message.success) {
          const { mark, entries } = server.disk.memory.log;
          ensure(
            message.match <= Math.max(mark.index, entries.at(-1)?.index ?? 0),
            `${server.id} acknowledges ${message.match}, which is not on its disk`,
          );
        }
        return;
      case 'read-lease-reply':
        this.mayRead(server, message.to);
        return;
      default:
        return;
    }
  }

  /** After each step, also when nothing changed but the time. */
  onMoment(server: Server): void {
    const { machine, disk, id, stopping } = server;
    if (disk.failedAt !== null && !stopping) {
      const failedMicros = machine?.awakeSince(disk.failedAt) ?? 0;
      ensure(failedMicros < FAILED_MICROS_MAX, `${id} goes on although its disk has failed`);
    }
    if (disk.appending === null || stopping || this.seen.get(server)?.ledTerm == null) return;
    const hungMicros = machine?.awakeSince(disk.appending) ?? 0;
    ensure(hungMicros < HUNG_MICROS_MAX, `${id} leads although its disk hangs`);
  }

  onStep(server: Server, status: NodeStatus): void {
    const { id, role, term, commitIndex, appliedIndex } = status;
    const before = this.seen.get(server);
    if (before !== undefined) {
      ensure(term >= before.term, `${id}: its term went from ${before.term} to ${term}`);
      ensure(commitIndex >= before.commitIndex, `${id}: its commit index went back`);
      ensure(appliedIndex >= before.appliedIndex, `${id}: its applied index went back`);
    } else {
      const durable = server.disk.memory.log.hardState?.term ?? 0;
      ensure(term >= durable, `${id}: its term went from ${durable} to ${term} at its start`);
    }
    if (role === 'leader') this.leads(server, status);
    // Who has just learned of another leader may have committed something right before that.
    const ledTerm = role === 'leader' ? term : (before?.ledTerm ?? null);
    if (ledTerm !== null) {
      this.ownTerm(server, ledTerm, commitIndex);
      // What a commit changes itself was not in force when it was counted.
      this.majorityHas(server, before?.configuration ?? status.configuration, ledTerm, commitIndex);
      if (before?.ledTerm === term && role === 'leader') this.awaitedHave(status, before);
      this.committedIndex = Math.max(this.committedIndex, commitIndex);
    }
    ensure(commitIndex <= this.committedIndex, `${id}: no leader has committed ${commitIndex}`);
    if (appliedIndex > this.reference.index) this.advance(server, appliedIndex);
    if (appliedIndex !== before?.appliedIndex) this.sameState(status);
    this.seen.set(server, {
      term,
      commitIndex,
      appliedIndex,
      configuration: status.configuration,
      liveVoters: status.liveVoters,
      ledTerm: role === 'leader' ? term : null,
    });
  }

  /** By counting, a leader commits only up to an entry of its own term (thesis §3.6.2, figure 8). */
  private ownTerm(server: Server, term: number, commitIndex: number): void {
    if (commitIndex <= this.committedIndex) return;
    const last = termOnDisk(server, commitIndex);
    ensure(
      last === undefined || last === term,
      `${server.id} commits ${commitIndex} of term ${last} in term ${term}`,
    );
  }

  /** Log matching: (index, term) names one entry, with one history before it. */
  private matching(server: Server, { entries }: Save, terms: Map<number, number>): void {
    for (const entry of entries) {
      terms.set(entry.index, entry.term);
      const previous = terms.get(entry.index - 1) ?? termOnDisk(server, entry.index - 1);
      let byTerm = this.entries[entry.index];
      if (byTerm === undefined) this.entries[entry.index] = byTerm = new Map();
      const known = byTerm.get(entry.term);
      if (known === undefined) {
        // Its writer may use the buffer again.
        byTerm.set(entry.term, { kind: entry.kind, data: entry.data.slice(), previous });
        continue;
      }
      ensure(
        known.kind === entry.kind && Buffer.compare(known.data, entry.data) === 0,
        `${server.id} has another entry ${entry.index}:${entry.term} than others`,
      );
      known.previous ??= previous;
      ensure(
        previous === undefined || known.previous === previous,
        `${server.id}: another history before ${entry.index}:${entry.term}`,
      );
    }
  }

  private durableTerm(server: Server, type: string, term: number, durable: number): void {
    ensure(
      durable >= term,
      `${server.id} sends ${type} of term ${term}, on its disk is ${durable}`,
    );
  }

  /** Leader completeness: it has all that anybody has applied. */
  private leads(server: Server, status: NodeStatus): void {
    const { term, lastIndex } = status;
    const other = this.leaders.get(term);
    ensure(other === undefined || other === server.id, `two leaders in term ${term}`);
    if (other !== undefined) return;
    this.leaders.set(term, server.id);
    this.counts.terms++;
    this.elected(server, status);
    const { index: applied } = this.reference;
    ensure(lastIndex >= applied, `${server.id} leads in term ${term} and lacks ${applied}`);
    for (let index = 1; index <= this.reference.index; index++) {
      const own = termOnDisk(server, index);
      const committed = this.reference.at(index)?.entry.term;
      // What is still on its way to its disk is not looked at.
      ensure(
        own === undefined || own === committed,
        `${server.id} leads in term ${term} and has another entry than the committed ${index}`,
      );
    }
  }

  /** Someone has applied what nobody had applied before. */
  private advance(server: Server, appliedIndex: number): void {
    const { mark, entries } = server.disk.memory.log;
    while (this.reference.index < appliedIndex) {
      const index = this.reference.index + 1;
      const entry = entries[index - mark.index - 1];
      ensure(entry !== undefined, `${server.id} has applied ${index}, which is not in its log`);
      this.reference.apply(entry);
      this.counts.commits++;
    }
  }

  /** The newest configuration in its log counts (thesis §4.1), and by that it has won. */
  private elected(server: Server, { id, term, configuration, commitIndex }: NodeStatus): void {
    const newest = newestConfiguration(server);
    ensure(
      newest === null || same(newest.configuration, configuration),
      `${id} leads in term ${term} by another configuration than that at ${newest?.index} in its log`,
    );
    const possible = this.possible(server, commitIndex);
    const isLearner = configuration.learners.some((one) => one.id === id);
    ensure(
      isLearner || possible.some((one) => isVoter(one, id)),
      `${id} leads in term ${term} and is no member`,
    );
    const votes = (voter: NodeId) => this.votesGiven.get(`${voter}:${term}`) === id;
    ensure(everyMajority(configuration, votes), `${id} leads in term ${term} without a majority`);
  }

  /**
   * What may turn out to count, as far as it knows: who leaves may be the only one who has the entry that
   * says so, and must then lead to commit it (thesis §4.2.2).
   */
  private possible({ disk }: Server, commitIndex: number): Configuration[] {
    const found: Configuration[] = [];
    for (const { kind, index, data } of disk.memory.log.entries.toReversed()) {
      if (kind !== 'configuration') continue;
      found.push(decodeConfiguration(data));
      if (index <= commitIndex) return found;
    }
    return [...found, this.reference.configuration];
  }

  private majorityHas(
    { id, disk }: Server,
    configuration: Configuration,
    term: number,
    index: number,
  ): void {
    if (index <= this.committedIndex || index <= disk.memory.log.mark.index) return;
    const holders = this.holders(index, term);
    ensure(
      everyMajority(configuration, (voter) => holders.has(voter)),
      `${id} commits ${index}, which only ${[...holders].join(', ')} have on disk`,
    );
  }

  /**
   * Write concern `all`: what a leader commits, and so whatever it answers, is on the disk of every voter
   * that it waits for. Who has left by then is not waited for any more.
   */
  private awaitedHave({ id, term, commitIndex, liveVoters }: NodeStatus, before: Seen): void {
    if (commitIndex <= before.commitIndex || liveVoters.length === 0) return;
    const holders = this.holders(commitIndex, term);
    for (const voter of liveVoters) {
      if (!before.liveVoters.includes(voter) || !isVoter(before.configuration, voter)) continue;
      ensure(
        holders.has(voter),
        `${id} commits ${commitIndex} and waits for ${voter}, which does not have it on disk`,
      );
      this.counts.awaited++;
    }
  }

  /** Who answers strong reads by itself has all that was committed, and nothing is without it from now on. */
  private mayRead(server: Server, voter: NodeId): void {
    const { status, id } = server;
    if (status === null) return;
    this.counts.readLeases++;
    const { commitIndex, liveVoters } = status;
    ensure(liveVoters.includes(voter), `${id} lets ${voter} read, and does not wait for it`);
    const term = termOnDisk(server, commitIndex);
    ensure(
      term === undefined || this.holders(commitIndex, term).has(voter),
      `${id} lets ${voter} read, which does not have ${commitIndex} on disk`,
    );
  }

  /** Who has this entry on disk, or behind a snapshot. */
  private holders(index: number, term: number): Set<NodeId> {
    const holders = new Set<NodeId>();
    for (const server of this.servers) {
      const { mark, hardState } = server.disk.memory.log;
      if (
        index <= mark.index ||
        termOnDisk(server, index) === term ||
        // A copy that was lost with its disk after it was counted does no harm while that node does
        // not vote.
        ((hardState?.recovering ?? true) && this.held.has(copyOf(server, { index, term })))
      ) {
        holders.add(server.id);
      }
    }
    return holders;
  }

  /** State machine safety. */
  private sameState({ id, appliedIndex, stateHash }: NodeStatus): void {
    const hash =
      appliedIndex === 0 ? this.reference.hashAt(0) : this.reference.at(appliedIndex)?.hash;
    ensure(stateHash === hash, `${id}: its state at ${appliedIndex} is ${stateHash}, not ${hash}`);
  }
}

/** One that goes by these laws. */
export function judgedBy(laws: Laws, onFailed: Judge['onFailed']): Judge {
  return {
    onStart: (server) => laws.onStart(server),
    onAppend: (server, saves) => laws.onAppend(server, saves),
    onDurable: (server, saves) => laws.onDurable(server, saves),
    onSend: (server, message) => laws.onSend(server, message),
    onStep: (server, status) => laws.onStep(server, status),
    onMoment: (server) => laws.onMoment(server),
    onFailed,
  };
}

function copyOf(server: Server, { index, term }: Pick<Entry, 'index' | 'term'>): string {
  return `${server.id} ${index}:${term}`;
}

/** The last one in the log on its disk; null: it is not in the log, but in the tree. */
export function newestConfiguration(server: Server): Configured | null {
  const entry = server.disk.memory.log.entries.findLast(({ kind }) => kind === 'configuration');
  if (entry === undefined) return null;
  return { index: entry.index, configuration: decodeConfiguration(entry.data) };
}

function everyMajority(configuration: Configuration, has: (voter: NodeId) => boolean): boolean {
  const { voters, outgoing } = configuration;
  return [voters, outgoing].every(
    (set) => set.length === 0 || set.filter(({ id }) => has(id)).length * 2 > set.length,
  );
}

/** undefined: its log does not have the index, or not any more. */
export function termOnDisk(server: Server, index: number): number | undefined {
  const { mark, entries } = server.disk.memory.log;
  if (index === mark.index) return mark.term;
  return entries[index - mark.index - 1]?.term;
}

export function ensure(condition: boolean, law: string): asserts condition {
  if (!condition) throw new Error(law);
}

/** At most one vote a term. */
function once(votes: Map<string, NodeId>, voter: string, term: number, candidate: NodeId): void {
  const key = `${voter}:${term}`;
  const first = votes.get(key);
  if (first === undefined) votes.set(key, candidate);
  else ensure(first === candidate, `${voter} votes in term ${term} for ${first} and ${candidate}`);
}
