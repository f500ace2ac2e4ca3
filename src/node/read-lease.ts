import type { Clock } from '../base/clock.js';
import { leaseRemainingMs, type Moment, momentOf } from '../base/lease-time.js';
import type { ReadLeaseMessage } from '../codec/peer-messages.js';
import type { NodeId } from '../raft/types.js';

/** Asked for again after this part of its time. */
const RENEW_PART = 1 / 3;
/** Nobody read anything for so long: the lease is let go. */
const IDLE_MS = 2_000;
/** Without an answer it is asked for again after this. */
const RETRY_MS = 50;

/** The one who leads, as far as this node knows. */
interface Office {
  readonly leader: NodeId;
  readonly term: number;
}

interface Asked extends Office, Moment {
  readonly id: number;
}

/**
 * At a follower, with `--write-concern all`: the right to answer strong reads from its own tree. Its
 * leader commits nothing that this node does not have while the lease lasts. So what was
 * acknowledged to anybody is in this node's log when the read comes, and a tree that has come to the
 * end of that log answers it.
 *
 * A lease counts from when it was asked for, and is given by a leader whom a majority has confirmed
 * since: a leader of later times, for whom one of them voted, waits until it is over. It ends with
 * the office.
 */
export class ReadLease {
  private held: (Asked & { readonly durationMs: number }) | null = null;
  private asked: Asked | null = null;
  private lastId = 0;
  private usedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly clock: Pick<Clock, 'monotonicMs' | 'now'>,
    private readonly send: (to: NodeId, term: number, id: number) => void,
  ) {}

  /** Somebody reads here. True: this node may answer, when its tree has come to the end of its log. */
  use(office: Office | null): boolean {
    this.usedMs = this.clock.monotonicMs();
    if (office === null) return false;
    if (this.isValid(office)) return true;
    this.ask(office);
    return false;
  }

  /** Called every few milliseconds: a lease that is used is prolonged. */
  tick(office: Office | null): void {
    const nowMs = this.clock.monotonicMs();
    if (office === null || nowMs - this.usedMs > IDLE_MS) return;
    const { held } = this;
    const isFresh =
      held !== null &&
      this.isValid(office) &&
      nowMs - held.monotonicMs < held.durationMs * RENEW_PART;
    if (!isFresh) this.ask(office);
  }

  granted({ from, term, id, durationMs }: Extract<ReadLeaseMessage, { type: 'read-lease-reply' }>) {
    const { asked } = this;
    if (asked?.id !== id || asked.leader !== from || asked.term !== term) return;
    this.held = { ...asked, durationMs };
    this.asked = null;
  }

  private isValid({ leader, term }: Office): boolean {
    const { held } = this;
    if (held === null || held.leader !== leader || held.term !== term) return false;
    return leaseRemainingMs(this.clock, held, held.durationMs) > 0;
  }

  private ask({ leader, term }: Office): void {
    const nowMs = this.clock.monotonicMs();
    const { asked } = this;
    const isOut = asked !== null && asked.leader === leader && asked.term === term;
    if (isOut && nowMs - asked.monotonicMs < RETRY_MS) return;
    this.asked = { leader, term, id: ++this.lastId, ...momentOf(this.clock) };
    this.send(leader, term, this.lastId);
  }
}
