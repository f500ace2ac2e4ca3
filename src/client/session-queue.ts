import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import type { Command } from '../filesystem/commands.js';
import type { Reply } from '../filesystem/records.js';

/**
 * Commands on their way at once, of one session. The cluster keeps a reply for each, so this also
 * bounds the session's record. Enough to fill many group commits one after the other.
 */
export const COMMANDS_IN_FLIGHT_MAX = 256;
/** Bytes of commands on their way at once: what a lost connection makes us send again at most. */
export const BYTES_IN_FLIGHT_MAX = 16 * 1_048_576;

/** How a command ended: decided by the cluster, or given up by this client. */
export type Settlement =
  | { readonly type: 'reply'; readonly reply: Reply }
  | { readonly type: 'error'; readonly error: MootError };

/** A command in the queue. Only the queue changes it. */
export interface QueuedCommand {
  /** 0 until it is first sent: what was never sent needs no number and leaves no trace. */
  sequence: number;
  command: Command;
  readonly bytes: number;
  /** null once the caller has its answer. */
  settle: ((settlement: Settlement) => void) | null;
  /** Copies that were sent and of which nobody knows whether they count. */
  uncertain: number;
  replied: boolean;
  /** It means nothing in another session. */
  readonly isBound: boolean;
  /** Called with the first copy. */
  readonly onSent: (() => void) | null;
  /** `nothing` goes in its place, and its reply will say whether an earlier copy took effect. */
  rejection: Rejection | null;
}

interface Rejection {
  /** If none did. */
  readonly error: MootError;
  /** If that reply was given before, and both answer alike. */
  readonly isUnknown: MootError | null;
}

/** One copy of a command to be sent now. */
export interface Submission {
  readonly sequence: number;
  readonly acknowledged: number;
  readonly command: Command;
  /** Given back with the answer to this copy. */
  readonly round: number;
}

/**
 * The commands of one session in the order of the calls, and which of them to send next. Pure:
 * answers and losses in, copies to send out.
 *
 * The state machine takes the commands of a session in order and each once (see Session in
 * filesystem/records.ts), so it is always safe to send a copy again, and a copy that comes before
 * its time does nothing. Sending goes in rounds: a round sends every command without a reply, in
 * order, and then what is new. Whatever may have broken the order (another leader, a gap, a
 * refusal) starts a new round; complaints about copies of earlier rounds are old news.
 */
export class SessionQueue {
  /** Sent and not yet acknowledged, ascending and without gaps in their sequence. */
  private readonly sent: QueuedCommand[] = [];
  private readonly waiting = new Set<QueuedCommand>();
  private bytesInFlight = 0;
  private acknowledged = 0;
  /** The sequence that this round sends next. */
  private cursor = 1;
  private round = 1;
  /**
   * Copies of this round that may wait for their replies. Halved by a round that brought no reply at
   * all: where connections break under what we send, the first command alone still gets through.
   */
  private roundCopiesMax = COMMANDS_IN_FLIGHT_MAX;
  private roundProgressed = true;

  /** No caller and no session waits for anything here. */
  get empty(): boolean {
    return this.sent.length === 0 && this.waiting.size === 0;
  }

  push(
    command: Command,
    bytes: number,
    settle: (settlement: Settlement) => void,
    { isBound = false, onSent = null }: Partial<Pick<QueuedCommand, 'isBound' | 'onSent'>> = {},
  ): QueuedCommand {
    const queued: QueuedCommand = {
      sequence: 0,
      command,
      bytes,
      settle,
      uncertain: 0,
      replied: false,
      isBound,
      onSent,
      rejection: null,
    };
    this.waiting.add(queued);
    return queued;
  }

  /** The next copy to send; null when all is sent or the window is full. */
  next(): Submission | null {
    if (this.cursor - 1 - this.acknowledged >= this.roundCopiesMax) return null;
    const queued = this.nextToRepeat() ?? this.nextFresh();
    if (queued === undefined) return null;
    queued.uncertain++;
    this.cursor = queued.sequence + 1;
    return {
      sequence: queued.sequence,
      acknowledged: this.acknowledged,
      command: queued.command,
      round: this.round,
    };
  }

  /** The command, while its caller waits for the reply. */
  awaited(sequence: number): Command | null {
    const queued = this.find(sequence);
    return queued === undefined || queued.settle === null ? null : queued.command;
  }

  /** Everything without a reply is to be sent again. */
  restart(): void {
    if (!this.roundProgressed) this.roundCopiesMax = Math.max(1, this.roundCopiesMax >>> 1);
    this.roundProgressed = false;
    this.round++;
    this.cursor = this.acknowledged + 1;
  }

  /** `first`: what this copy was, when it is the one that took effect; null: the reply was given before. */
  onReply(sequence: number, reply: Reply, first: Command | null = null): void {
    const queued = this.find(sequence);
    if (queued === undefined || queued.replied) return;
    queued.replied = true;
    const error = rejectionOf(queued.rejection, reply, first);
    finish(queued, error === null ? { type: 'reply', reply } : { type: 'error', error });
    for (let head = this.sent[0]; head?.replied; head = this.sent[0]) {
      this.sent.shift();
      this.bytesInFlight -= head.bytes;
      this.acknowledged = head.sequence;
    }
    this.cursor = Math.max(this.cursor, this.acknowledged + 1);
    this.roundCopiesMax = Math.min(COMMANDS_IN_FLIGHT_MAX, this.roundCopiesMax * 2);
    this.roundProgressed = true;
  }

  /**
   * The state machine had seen commands of this session only up to `lastSequence`; this copy came
   * too early and does nothing. False: commands that were answered are gone, so the cluster is not
   * the one that answered them, and the session cannot go on. Of a copy of an earlier round that is
   * not said: its answer may come behind the replies to later ones.
   */
  onGap(sequence: number, round: number, lastSequence: number): boolean {
    if (round === this.round && lastSequence < this.acknowledged) return false;
    this.onRefused(sequence, round);
    return true;
  }

  /** This copy has no effect. True when that is news: the round was restarted. */
  onRefused(sequence: number, round: number): boolean {
    const queued = this.find(sequence);
    if (queued !== undefined) queued.uncertain--;
    return this.onUnknown(round);
  }

  /** Nobody will say what became of a copy of this round. True when the round was restarted. */
  onUnknown(round: number): boolean {
    if (round !== this.round) return false;
    this.restart();
    return true;
  }

  /** The command itself is not acceptable: its caller is told, and `nothing` takes its place. */
  onRejected(sequence: number, round: number, error: MootError): void {
    const queued = this.find(sequence);
    if (!this.onRefused(sequence, round) || queued === undefined) return;
    const { type } = queued.command;
    if (queued.uncertain === 0 && queued === this.sent.at(-1)) {
      // Nobody has a command of this number or a higher one: the next command gets it.
      this.sent.pop();
      this.bytesInFlight -= queued.bytes;
      // An answer came through, be it a refusal.
      this.roundProgressed = true;
      finish(queued, { type: 'error', error });
      return;
    }
    queued.command = { type: 'nothing' };
    // Another copy was sent to somebody who may have taken it.
    if (queued.uncertain > 0) queued.rejection = { error, isUnknown: unknownOf(type, error) };
    else finish(queued, { type: 'error', error });
  }

  /**
   * The caller gives up. True: no copy can ever take effect. False: a copy is on its way and may
   * count; later copies will be `nothing`, so that the commands behind it can go on.
   */
  abandon(queued: QueuedCommand): boolean {
    queued.settle = null;
    if (this.waiting.delete(queued)) return true;
    queued.command = { type: 'nothing' };
    return queued.uncertain === 0;
  }

  /**
   * The session is over and the copy of `sequence` had no effect. When that was the only copy of the
   * first command without a reply, then none of those behind it can have taken effect either, since
   * they go in order: they move to the queue of a new session, and nobody notices, but for those that
   * were for this session only. Otherwise null: some may have taken effect.
   */
  moveToNewSession(sequence: number): SessionQueue | null {
    const queued = this.find(sequence);
    if (queued !== undefined) queued.uncertain--;
    const head = this.sent[0];
    if (head !== undefined && head.uncertain > 0) return null;
    const successor = new SessionQueue();
    for (const moved of [...this.sent, ...this.waiting]) {
      if (moved.settle === null) continue;
      if (moved.isBound) {
        finish(moved, { type: 'error', error: sessionOver(moved.command) });
        continue;
      }
      moved.sequence = 0;
      moved.uncertain = 0;
      successor.waiting.add(moved);
    }
    this.sent.length = 0;
    this.waiting.clear();
    return successor;
  }

  /** Ends every call that still waits. Sent commands stay, as `nothing`. */
  failAll(errorOf: (queued: QueuedCommand) => MootError): void {
    const all = [...this.sent, ...this.waiting];
    for (const queued of all) {
      const error = errorOf(queued);
      const settle = queued.settle;
      this.abandon(queued);
      settle?.({ type: 'error', error });
    }
  }

  private find(sequence: number): QueuedCommand | undefined {
    return this.sent[sequence - this.acknowledged - 1];
  }

  private nextToRepeat(): QueuedCommand | undefined {
    for (let sequence = this.cursor; ; sequence++) {
      const queued = this.find(sequence);
      if (queued === undefined || !queued.replied) return queued;
    }
  }

  private nextFresh(): QueuedCommand | undefined {
    const [queued] = this.waiting;
    if (queued === undefined || !this.windowTakes(queued)) return undefined;
    this.waiting.delete(queued);
    this.sent.push(queued);
    this.bytesInFlight += queued.bytes;
    queued.sequence = this.acknowledged + this.sent.length;
    queued.onSent?.();
    assert(queued.sequence >= this.cursor, 'a session counts up');
    return queued;
  }

  private windowTakes(queued: QueuedCommand): boolean {
    if (this.sent.length === 0) return true;
    return (
      this.sent.length < COMMANDS_IN_FLIGHT_MAX &&
      this.bytesInFlight + queued.bytes <= BYTES_IN_FLIGHT_MAX
    );
  }
}

export function sessionOver(command: Command): MootError {
  const message = `the cluster has forgotten this client before ${command.type} took effect`;
  return new MootError('SESSION_EXPIRED', message);
}

function finish(queued: QueuedCommand, settlement: Settlement): void {
  const settle = queued.settle;
  queued.settle = null;
  settle?.(settlement);
}

/** null: the command itself took effect. */
function rejectionOf(
  rejection: Rejection | null,
  reply: Reply,
  first: Command | null,
): MootError | null {
  if (rejection === null) return null;
  if (first !== null) return first.type === 'nothing' ? rejection.error : null;
  const isNothing = reply.ok && reply.value === null;
  return isNothing ? (rejection.isUnknown ?? rejection.error) : null;
}

/** What takes space, and may be rejected, has a value; but for this. */
function unknownOf(type: Command['type'], cause: MootError): MootError | null {
  if (type !== 'set-xattr') return null;
  const message = 'set-xattr was sent twice and refused once: it may have taken effect';
  return new MootError('OUTCOME_UNKNOWN', message, { cause });
}
