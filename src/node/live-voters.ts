import type { FollowerStatus, NodeId } from '../raft/types.js';

/**
 * With `--write-concern all` nothing is committed before every live voter has it on disk. A voter
 * lives until it was silent, or has kept a commit waiting without taking in anything, for so long.
 * Then it does not count until it has caught up. So a voter that dies makes operations wait once,
 * for about this long.
 */
export const PATIENCE_MS = 2_000;

interface Voter {
  counts: boolean;
  match: number;
  heardMs: number;
  /** It lacks something, and has got nothing since. */
  behindSinceMs: number | null;
  /** Until then it may answer reads by itself. */
  leaseEndMs: number;
}

/** What a leader must know of itself. */
interface Leading {
  readonly followers: readonly FollowerStatus[];
  readonly lastIndex: number;
  readonly commitIndex: number;
}

/**
 * At the leader: which voters live. A live voter may be given a lease, under which it answers strong
 * reads from its own tree, since nothing is acknowledged that it does not have. So it counts until
 * its last lease is certainly over, also one of the leader before: those are over when `leaseMs`
 * have passed in this office (see ReadLease).
 */
export class LiveVoters {
  private office: { readonly sinceMs: number; readonly voters: Map<NodeId, Voter> } | null = null;

  constructor(private readonly leaseMs: number) {}

  /** This node begins to lead: any voter may hold a lease. */
  begin(nowMs: number): void {
    this.office = { sinceMs: nowMs, voters: new Map() };
  }

  end(): void {
    this.office = null;
  }

  /** The others of `voters` that a commit waits for from now on. */
  update(nowMs: number, voters: readonly NodeId[], leading: Leading): readonly NodeId[] {
    const { office } = this;
    if (office === null) return [];
    const { sinceMs } = office;
    for (const id of office.voters.keys()) if (!voters.includes(id)) office.voters.delete(id);
    const live: NodeId[] = [];
    for (const follower of leading.followers) {
      if (!voters.includes(follower.id)) continue;
      const voter = office.voters.get(follower.id) ?? newVoter(sinceMs);
      office.voters.set(follower.id, voter);
      this.look(nowMs, voter, follower, leading.lastIndex);
      const failing = isFailing(nowMs, voter);
      if (voter.counts) {
        const leaseIsOver = nowMs >= Math.max(voter.leaseEndMs, sinceMs + this.leaseMs);
        voter.counts = !(failing && leaseIsOver);
      } else {
        voter.counts = !failing && isCaughtUp(follower, leading.commitIndex);
      }
      if (voter.counts) live.push(follower.id);
    }
    return live;
  }

  /** A lease for that many milliseconds; 0: none. Only after a majority has confirmed this leader since it was asked for. */
  grant(nowMs: number, id: NodeId, leading: Leading): number {
    const voter = this.office?.voters.get(id);
    const follower = leading.followers.find((one) => one.id === id);
    if (voter === undefined || follower === undefined) return 0;
    if (!voter.counts || isFailing(nowMs, voter)) return 0;
    if (!isCaughtUp(follower, leading.commitIndex)) return 0;
    voter.leaseEndMs = nowMs + this.leaseMs;
    return this.leaseMs;
  }

  private look(nowMs: number, voter: Voter, follower: FollowerStatus, lastIndex: number): void {
    const { match, recentlyActive } = follower;
    if (recentlyActive) voter.heardMs = nowMs;
    if (match >= lastIndex) voter.behindSinceMs = null;
    else if (voter.behindSinceMs === null || match !== voter.match) voter.behindSinceMs = nowMs;
    voter.match = match;
  }
}

function newVoter(nowMs: number): Voter {
  return { counts: true, match: 0, heardMs: nowMs, behindSinceMs: null, leaseEndMs: nowMs };
}

function isFailing(nowMs: number, { heardMs, behindSinceMs }: Voter): boolean {
  return nowMs - heardMs > PATIENCE_MS || nowMs - (behindSinceMs ?? nowMs) > PATIENCE_MS;
}

/** It has all that anybody was told of. */
function isCaughtUp({ state, match, counts }: FollowerStatus, commitIndex: number): boolean {
  return counts && state === 'replicate' && match >= commitIndex;
}
