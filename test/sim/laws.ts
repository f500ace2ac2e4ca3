import type { NodeStatus } from '../../src/codec/client-messages.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import type { Entry, NodeId, Save } from '../../src/raft/types.js';
import type { Reference } from './reference.js';
import type { Server } from './server.js';

interface Seen {
  term: number;
  commitIndex: number;
  appliedIndex: number;
  recovering: boolean;
}

/** A leader whose disk does not finish a write steps down within 5 s of its clock. */
const HUNG_MICROS_MAX = 5_300_000;

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
  /** What any (index, term) ever stood for, and the term of the entry before it. */
  private readonly entries = new Map<string, string>();
  private readonly seen = new Map<Server, Seen>();
  /** The highest that any node ever had. */
  private committedIndex = 0;
  readonly counts = { terms: 0, commits: 0 };

  constructor(
    private readonly servers: readonly Server[],
    private readonly reference: Reference,
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
      default:
        return;
    }
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
    if (role === 'leader') {
      this.leads(server, term);
      this.ownTerm(server, term, commitIndex);
      const { machine, disk } = server;
      const hungMicros = disk.appending === null ? 0 : (machine?.awakeSince(disk.appending) ?? 0);
      ensure(
        server.stopping || hungMicros < HUNG_MICROS_MAX,
        `${id} leads although its disk hangs`,
      );
    }
    this.committedIndex = Math.max(this.committedIndex, commitIndex);
    if (appliedIndex > this.reference.index) this.advance(server, appliedIndex);
    if (appliedIndex !== before?.appliedIndex) this.sameState(status);
    this.seen.set(server, { term, commitIndex, appliedIndex, recovering: status.recovering });
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
      const key = `${entry.index}:${entry.term}`;
      const value = `${entry.kind} ${Buffer.from(entry.data).toString('latin1')}`;
      const known = this.entries.get(key);
      if (known === undefined) this.entries.set(key, value);
      else ensure(known === value, `${server.id} has another entry ${key} than others`);
      if (previous !== undefined) {
        const order = `before ${key}`;
        const earlier = this.entries.get(order);
        if (earlier === undefined) this.entries.set(order, `${previous}`);
        else ensure(earlier === `${previous}`, `${server.id}: another history before ${key}`);
      }
    }
  }

  private durableTerm(server: Server, type: string, term: number, durable: number): void {
    ensure(
      durable >= term,
      `${server.id} sends ${type} of term ${term}, on its disk is ${durable}`,
    );
  }

  private leads(server: Server, term: number): void {
    const other = this.leaders.get(term);
    ensure(other === undefined || other === server.id, `two leaders in term ${term}`);
    if (other !== undefined) return;
    this.leaders.set(term, server.id);
    this.counts.terms++;
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
      this.majorityHas(entry);
      this.reference.apply(entry);
      this.counts.commits++;
    }
  }

  private majorityHas(entry: Entry): void {
    const holders = this.servers.filter((server) => {
      const { mark, hardState } = server.disk.memory.log;
      // A copy that was lost with its disk after it was counted does no harm while that node does
      // not vote.
      if (entry.index <= mark.index || (hardState?.recovering ?? true)) return true;
      return termOnDisk(server, entry.index) === entry.term;
    });
    ensure(
      holders.length * 2 > this.servers.length,
      `${entry.index} was applied and is on ${holders.length} of ${this.servers.length} disks`,
    );
  }

  /** State machine safety. */
  private sameState({ id, appliedIndex, stateHash }: NodeStatus): void {
    const hash =
      appliedIndex === 0 ? this.reference.hashAt(0) : this.reference.at(appliedIndex)?.hash;
    ensure(stateHash === hash, `${id}: its state at ${appliedIndex} is ${stateHash}, not ${hash}`);
  }
}

function termOnDisk(server: Server, index: number): number | undefined {
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
