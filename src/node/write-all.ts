import type { Clock } from '../base/clock.js';
import type { Report } from '../base/report.js';
import type { QueryRequest } from '../codec/client-messages.js';
import type { ReadLeaseMessage } from '../codec/peer-messages.js';
import type { NodeId, Raft, RaftStatus } from '../raft/types.js';
import { LiveVoters } from './live-voters.js';
import { READ_LEASE_MS } from './node.js';
import { ReadLease } from './read-lease.js';
import type { Reads } from './reads.js';

type Asked = Extract<ReadLeaseMessage, { type: 'read-lease' }>;
type Granted = Extract<ReadLeaseMessage, { type: 'read-lease-reply' }>;

export interface WriteAllParts {
  readonly id: NodeId;
  readonly clock: Clock;
  readonly raft: Pick<Raft, 'status' | 'waitFor'>;
  readonly reads: Reads;
  readonly send: (message: ReadLeaseMessage) => void;
  /** As of the last turn. */
  readonly present: () => RaftStatus;
  readonly report: Report;
}

/**
 * Write concern `all`, at the leader and at the others: nothing is committed that a live voter lacks
 * (LiveVoters), so a live voter answers strong reads from its own tree (ReadLease).
 */
export class WriteAll {
  private readonly liveVoters = new LiveVoters(READ_LEASE_MS);
  private readonly readLease: ReadLease;
  private awaitedIds: readonly NodeId[] = [];

  constructor(private readonly parts: WriteAllParts) {
    this.readLease = new ReadLease(parts.clock, (to, term, id) =>
      parts.send({ type: 'read-lease', from: parts.id, to, term, id }),
    );
  }

  /** Whom commits wait for; nobody where this node does not lead. */
  get awaited(): readonly NodeId[] {
    return this.awaitedIds;
  }

  /** This node begins to lead. */
  begin(): void {
    const nowMs = this.parts.clock.monotonicMs();
    this.liveVoters.begin(nowMs);
    this.update(nowMs);
  }

  /** It leads no longer. */
  end(): void {
    this.liveVoters.end();
    this.awaitedIds = [];
  }

  /** Called every few milliseconds. */
  tick(): void {
    if (!this.leads) this.readLease.tick(this.office());
  }

  /** At the leader: who lives may have changed. */
  update(nowMs: number): void {
    const { raft, report } = this.parts;
    const before = this.awaitedIds;
    const status = raft.status();
    const { voters, outgoing } = status.configuration.configuration;
    const ids = [...voters, ...outgoing].map(({ id }) => id).filter((id) => id !== status.id);
    this.awaitedIds = this.liveVoters.update(nowMs, ids, status);
    raft.waitFor(this.awaitedIds);
    for (const id of before) {
      if (!this.awaitedIds.includes(id)) report('warn', `waits for ${id} no longer`);
    }
  }

  /** A voter wants a lease: it gets one after a round of heartbeats. */
  grant({ from: to, term, id }: Asked): void {
    const { raft, clock, reads, send } = this.parts;
    if (!this.leads || this.parts.present().term !== term) return;
    const grant = () => {
      const leading = raft.status();
      if (leading.role !== 'leader' || leading.term !== term || !staysVoter(leading, to)) return;
      const durationMs = this.liveVoters.grant(clock.monotonicMs(), to, leading);
      if (durationMs === 0) return;
      send({ type: 'read-lease-reply', from: this.parts.id, to, term, id, durationMs });
    };
    reads.strong(grant, () => {});
  }

  granted(reply: Granted): void {
    this.readLease.granted(reply);
  }

  /** A strong read that this node may answer by itself needs its tree to be at the end of its log. */
  atOwnTree(request: QueryRequest): QueryRequest {
    if (request.level !== 'strong' || this.leads) return request;
    const status = this.parts.raft.status();
    // Who leaves is not waited for once it has left; it has the entry that says so before that.
    if (!staysVoter(status, status.id) || !this.readLease.use(this.office())) return request;
    return { ...request, level: 'session', minIndex: status.lastIndex };
  }

  private get leads(): boolean {
    return this.parts.present().role === 'leader';
  }

  private office(): { readonly leader: NodeId; readonly term: number } | null {
    const { leader, term } = this.parts.present();
    return leader === null ? null : { leader, term };
  }
}

/** It votes also when the change under way is through. */
function staysVoter({ configuration }: Pick<RaftStatus, 'configuration'>, id: NodeId): boolean {
  return configuration.configuration.voters.some((voter) => voter.id === id);
}
