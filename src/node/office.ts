import type { Clock } from '../base/clock.js';
import type { LogCommand } from '../filesystem/commands.js';
import type { RaftStatus } from '../raft/types.js';
import type { Leases } from './leases.js';
import type { NodeConfig } from './node.js';
import type { Decide, Proposals } from './proposals.js';
import { SessionExpiry } from './sessions.js';
import type { Snapshots } from './snapshots.js';
import type { StateHashes } from './state-hash.js';
import type { Tree } from './tree.js';
import type { WriteAll } from './write-all.js';

export interface OfficeParts {
  readonly config: NodeConfig;
  readonly clock: Clock;
  readonly tree: Pick<Tree, 'sessions'>;
  readonly proposals: Proposals;
  readonly leases: Leases;
  readonly hashes: StateHashes;
  readonly snapshots: Snapshots;
  /** null: with write concern `majority`. */
  readonly writeAll: WriteAll | null;
  readonly propose: (command: LogCommand, decide: Decide) => void;
}

/** What a node has to do because it leads, from its first moment in office to its last. */
export class Office {
  private readonly expiry: SessionExpiry;
  private lostMs = 0;

  constructor(private readonly parts: OfficeParts) {
    this.expiry = new SessionExpiry(parts.config.sessionTimeoutMs);
  }

  /** Who leads may have changed. */
  look(before: RaftStatus | null, present: RaftStatus): void {
    const { leases, writeAll, snapshots, clock } = this.parts;
    const leads = present.role === 'leader';
    const led = before?.role === 'leader';
    if (leads && (!led || before.term !== present.term)) {
      this.expiry.begin();
      leases.begin(present.term, present);
      writeAll?.begin();
    }
    if (led) snapshots.keepOffice(present);
    if (!led || leads) return;
    leases.end();
    writeAll?.end();
    this.lostMs = clock.monotonicMs();
  }

  /** Something came from this session. */
  heard(session: number): void {
    this.expiry.heard(session, this.parts.clock.monotonicMs());
  }

  /** A leader's small duties, and those of one that was: now and then. */
  tick(nowMs: number, { id, role, term, configuration, followers }: RaftStatus): void {
    const { config, snapshots, writeAll, hashes, tree, proposals, propose } = this.parts;
    if (role !== 'leader') {
      if (nowMs - this.lostMs > config.electionTimeoutMaxMs) {
        proposals.giveUp('this node leads no longer and has not heard what became of it');
      }
      return;
    }
    snapshots.hearFollowers(nowMs, followers);
    writeAll?.update(nowMs);
    const others = followers.map((follower) => follower.id);
    hashes.tick(nowMs, { id, term, configuration: configuration.configuration, others });
    for (const session of this.expiry.sweep(tree.sessions, nowMs)) {
      const { id, lastIndex } = session;
      const command = { type: 'expire-session', session: id, lastIndex } as const;
      propose(proposals.stamp(0, 0, 0, command), () => this.expiry.ended(id));
    }
  }
}
