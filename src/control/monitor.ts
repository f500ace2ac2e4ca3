import type { Clock } from '../base/clock.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import type { CommandType, LogCommand } from '../filesystem/commands.js';
import type { NodeObserver, SnapshotNotice } from '../node/observer.js';
import type { NodeId, RaftStatus, SnapshotMark } from '../raft/types.js';
import type { TransportObserver } from '../transport/observed.js';
import { commandText } from './command-text.js';
import type { NodeEvent } from './events.js';
import { CommitLatencies } from './latencies.js';
import { Traffic } from './traffic.js';

/** Commands told one by one between two flushes; of the others there is only the number. */
const COMMANDS_TOLD_MAX = 16;
/** Notable events that a newcomer is told. */
const REMEMBERED_MAX = 200;

/**
 * Looks on while a node works. It always counts, for the metrics; for watchers it also collects
 * events, which `take` hands over a few times a second, so that what watching costs does not grow
 * with the node's work.
 */
export class Monitor implements NodeObserver, TransportObserver {
  readonly traffic = new Traffic();
  readonly latencies = new CommitLatencies();
  readonly commands = new Map<CommandType, number>();
  /** What a person would want to read afterwards: everything but messages, commits and commands. */
  readonly remembered: NodeEvent[] = [];
  clients = 0;
  leaderChanges = 0;
  truncations = 0;
  snapshotsTaken = 0;
  snapshotsSent = 0;
  snapshotsInstalled = 0;
  private watching = false;
  private events: NodeEvent[] = [];
  private told = 0;
  private skipped = 0;
  private role: RaftStatus['role'] = 'follower';
  private term = 0;
  private vote: NodeId | null = null;
  private leader: NodeId | null = null;
  private lastIndex = 0;
  private commitIndex = 0;
  private commitTold = 0;

  constructor(
    private readonly clock: Clock,
    /** Called for each event that is worth a line in the log. */
    private readonly onNotable: (event: NodeEvent) => void,
  ) {}

  setWatching(watching: boolean): void {
    if (watching && !this.watching) this.commitTold = this.commitIndex;
    this.watching = watching;
    if (!watching) this.take();
  }

  /** What happened since the last call. */
  take(): NodeEvent[] {
    const at = this.nowMs();
    const events = [...this.events, ...this.traffic.take(at)];
    if (this.watching && this.commitIndex > this.commitTold) {
      const [first, last] = [this.commitTold + 1, this.commitIndex];
      events.push({ type: 'commit', at, first, last, term: this.term });
      this.commitTold = this.commitIndex;
    }
    this.events = [];
    this.told = 0;
    return events;
  }

  onSent(message: PeerMessage): void {
    this.traffic.onSent(message, this.watching);
  }

  onReceived(message: PeerMessage): void {
    this.traffic.onReceived(message);
  }

  onClients(count: number): void {
    this.clients = count;
  }

  onTurn({ role, term, leader, vote, commitIndex, lastIndex }: RaftStatus): void {
    this.commitIndex = commitIndex;
    this.lastIndex = lastIndex;
    if (role !== this.role || term !== this.term || leader !== this.leader) {
      if (leader !== null && leader !== this.leader) this.leaderChanges++;
      if (role !== this.role) this.latencies.forget();
      this.role = role;
      this.leader = leader;
      this.notable({ type: 'role', at: this.nowMs(), role, term, leader });
    }
    if (vote !== null && (vote !== this.vote || term !== this.term)) {
      this.notable({ type: 'vote', at: this.nowMs(), term, candidate: vote });
    }
    this.term = term;
    this.vote = vote;
  }

  onProposed(first: number, count: number): void {
    this.latencies.proposed(first, count, this.clock.monotonicMs());
  }

  onApplied(mark: SnapshotMark, log: LogCommand | null): void {
    if (log === null) return;
    const { type } = log.command;
    this.commands.set(type, (this.commands.get(type) ?? 0) + 1);
    if (this.role === 'leader') this.latencies.applied(mark.index, this.clock.monotonicMs());
    const session = sessionOf(log);
    if (session !== null) this.notable({ type: 'session', at: this.nowMs(), ...session });
    if (this.watching) this.tell(mark, log);
  }

  onTruncated(fromIndex: number): void {
    this.truncations++;
    const { lastIndex } = this;
    this.notable({ type: 'truncated', at: this.nowMs(), fromIndex, lastIndex });
  }

  onSnapshot(notice: SnapshotNotice): void {
    if (notice.type === 'taken') this.snapshotsTaken++;
    if (notice.type === 'installed') this.snapshotsInstalled++;
    if (notice.type === 'sent' && notice.ok) this.snapshotsSent++;
    this.notable({ type: 'snapshot', at: this.nowMs(), notice });
  }

  onFault(slowMs: number, cutFrom: readonly NodeId[]): void {
    this.notable({ type: 'fault', at: this.nowMs(), slowMs, cutFrom });
  }

  private notable(event: NodeEvent): void {
    this.onNotable(event);
    this.remembered.push(event);
    if (this.remembered.length > REMEMBERED_MAX) this.remembered.shift();
    if (this.watching) this.events.push(event);
  }

  private tell({ index, term }: SnapshotMark, { session, command }: LogCommand): void {
    if (this.told >= COMMANDS_TOLD_MAX) {
      this.skipped++;
      return;
    }
    this.told++;
    const { skipped } = this;
    this.skipped = 0;
    const text = commandText(command);
    const at = this.nowMs();
    this.events.push({ type: 'command', at, index, term, session, command: text, skipped });
  }

  private nowMs(): number {
    const { sec, nsec } = this.clock.now();
    return sec * 1000 + Math.floor(nsec / 1e6);
  }
}

function sessionOf({ session, command }: LogCommand) {
  switch (command.type) {
    case 'open-session':
      return { action: 'opened', session: command.name } as const;
    case 'close-session':
      return { action: 'closed', session: String(session) } as const;
    case 'expire-session':
      return { action: 'expired', session: String(command.session) } as const;
    default:
      return null;
  }
}
