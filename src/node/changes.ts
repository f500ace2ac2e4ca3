import type { Clock, Timer } from '../base/clock.js';
import { describe, MootError } from '../base/errors.js';
import type { Configuration, MemberChange, NodeId, Raft } from '../raft/types.js';
import { parseAddress } from '../transport/address.js';
import type { Leases } from './leases.js';

/** A change that could not begin, or did not end, in so long is given up; whoever asked may ask again. */
const WAIT_MS_MAX = 10_000;
/** For handing over before a stop: leases run out, a follower is elected, replies are sent. */
const HAND_OVER_MS_MAX = 1_000;
/** How often it is looked whether replies are sent. */
const REPLIES_MS = 10;

interface Waiting {
  readonly deadlineMs: number;
  /** True when it is decided. */
  readonly look: (late: boolean) => boolean;
  readonly fail: (error: MootError) => void;
}

/**
 * Changes of the members and of the leader that somebody waits for: each is tried until it can
 * begin, and watched until it is through. Only what is asked of a leader.
 */
export class Changes {
  private waiting: Waiting[] = [];
  /** In this term somebody may have been told that nothing is granted any more. */
  private begunTerm = 0;

  constructor(
    private readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>,
    private readonly raft: Pick<Raft, 'changeMembers' | 'transferLeadership' | 'status'>,
    private readonly leases: Leases,
  ) {}

  /** Resolves, when the change is committed, to who is a member then. */
  changeMembers(change: MemberChange): Promise<Configuration> {
    const problem = problemOf(change);
    if (problem !== null) return Promise.reject(refused(problem));
    return this.wait((resolve, reject) => {
      let index: number | null = null;
      return (late) => {
        if (!this.leading) return reject(notLeader());
        if (index === null) {
          const result = this.raft.changeMembers([change]);
          if (result.ok) index = result.index;
          else if (result.reason === 'refused') return reject(refused(result.message));
          else if (late) return reject(new MootError('BUSY', result.message));
          else return false;
        }
        const { configuration: latest, commitIndex } = this.raft.status();
        const { outgoing } = latest.configuration;
        if (latest.index >= index && latest.index <= commitIndex && outgoing.length === 0) {
          return resolve(latest.configuration);
        }
        const why = 'the change has begun, and no majority has confirmed it yet';
        return late && reject(new MootError('OUTCOME_UNKNOWN', why));
      };
    });
  }

  /**
   * Resolves to who leads instead. What clients may keep runs out first, while everybody is still
   * served, so that the next leader can answer at once.
   */
  transfer(to: NodeId | null): Promise<NodeId> {
    return this.wait((resolve, reject) => {
      let begun = false;
      return (late) => {
        const { role, term, leader, transferringTo, id, configuration } = this.raft.status();
        if (role !== 'leader') {
          if (!begun) return reject(notLeader());
          if (leader !== null) return resolve(leader);
          return late && reject(new MootError('NO_LEADER', 'nobody took over'));
        }
        if (begun) {
          // Leases stay ended in this term: the word to take over may still be on its way.
          return (
            transferringTo === null && reject(new MootError('BUSY', 'nobody took over in time'))
          );
        }
        if (to === id) return resolve(id);
        const { voters } = configuration.configuration;
        if (!voters.some((voter) => voter.id !== id && (to === null || voter.id === to))) {
          return reject(refused(to === null ? 'there is no other voter' : `'${to}' is no voter`));
        }
        if (!this.leases.runOut() && !late) return false;
        const result = this.raft.transferLeadership(to, { grantsOver: this.leases.runOut() });
        begun = result.ok;
        if (result.ok) {
          this.begunTerm = term;
          return false;
        }
        if (result.reason === 'busy' && !late) return false;
        if (this.begunTerm !== term) this.leases.goOn();
        return reject(refused(result.message));
      };
    });
  }

  /** Before a polite stop; see Node.handOver. `owes`: somebody waits for a reply. */
  async handOver(owes: () => boolean): Promise<void> {
    const { clock } = this;
    const untilMs = clock.monotonicMs() + HAND_OVER_MS_MAX;
    let late: Timer | undefined;
    await Promise.race([
      this.transfer(null).catch(() => {}),
      new Promise<void>((resolve) => {
        late = clock.setTimer(HAND_OVER_MS_MAX, resolve);
      }),
    ]);
    late?.cancel();
    while (owes() && clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => clock.setTimer(REPLIES_MS, resolve));
    }
  }

  get busy(): boolean {
    return this.waiting.length > 0;
  }

  /** Something may have happened that somebody waits for. */
  look(): void {
    const nowMs = this.clock.monotonicMs();
    this.waiting = this.waiting.filter(({ look, deadlineMs }) => !look(nowMs >= deadlineMs));
  }

  /** Nobody is served any more. */
  end(error: MootError): void {
    for (const { fail } of this.waiting.splice(0)) fail(error);
  }

  private get leading(): boolean {
    return this.raft.status().role === 'leader';
  }

  private wait<T>(
    begin: (
      resolve: (value: T) => true,
      reject: (error: MootError) => true,
    ) => (late: boolean) => boolean,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = begin(
        (value) => {
          resolve(value);
          return true;
        },
        (error) => {
          reject(error);
          return true;
        },
      );
      if (look(false)) return;
      const deadlineMs = this.clock.monotonicMs() + WAIT_MS_MAX;
      this.waiting.push({ deadlineMs, look, fail: reject });
    });
  }
}

function notLeader(): MootError {
  return new MootError('NOT_LEADER', 'this node does not lead');
}

/** As the command line has it; who else asks has no command line. */
const ID = /^[A-Za-z0-9._-]{1,64}$/;

/** What no node could work with, once it is in the log. */
function problemOf(change: MemberChange): string | null {
  if (change.type !== 'add') return null;
  if (!ID.test(change.id)) return `'${change.id}' is not 1 to 64 characters of A-Z a-z 0-9 . _ -`;
  try {
    parseAddress(change.address);
    return null;
  } catch (error) {
    return describe(error);
  }
}

function refused(message: string): MootError {
  return new MootError('MEMBERS_REFUSED', message);
}
