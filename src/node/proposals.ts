import { type Clock, compareTimespec, type Timespec } from '../base/clock.js';
import { type ErrorCode, isMootError } from '../base/errors.js';
import type { SubmitRequest } from '../codec/client-messages.js';
import type { Command, LogCommand } from '../filesystem/commands.js';
import type { Applied } from '../filesystem/filesystem.js';
import type { ProposeResult, SnapshotMark } from '../raft/types.js';

/** Entries' bytes proposed in one go: a part of a long queue may pass where the whole would not. */
const PROPOSE_BYTES_MAX = 1_048_576;
/** Commands that wait while leadership is handed over, which takes an election at most. */
const COLLECTED_BYTES_MAX = 33_554_432;

/** How a command that was to enter the log ended. */
export type Decision =
  | {
      readonly type: 'applied';
      readonly index: number;
      readonly outcome: Applied['outcome'];
      readonly effects: Applied['effects'];
    }
  | { readonly type: 'refused'; readonly code: ErrorCode; readonly message: string };

export type Decide = (decision: Decision) => void;

/** A command that has not entered the log. */
interface Collected {
  readonly data: Uint8Array;
  readonly space: number;
  readonly decide: Decide;
}

/**
 * Commands on their way through the log. Those that arrive in one turn of the event loop are
 * proposed together. Each waits for its own entry, known by index and term, to be applied.
 */
export class Proposals {
  private collected: Collected[] = [];
  private collectedBytes = 0;
  private collectedSpace = 0;
  private readonly proposed = new Map<number, { readonly term: number; readonly decide: Decide }>();
  private lastTime: Timespec = { sec: 0, nsec: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly codec: {
      readonly encode: (command: LogCommand) => Uint8Array;
      /** BAD_MESSAGE when no node could read it. */
      readonly decode: (data: Uint8Array) => LogCommand;
      /** Bytes that it may take of a disk. */
      readonly spaceOf: (command: Command) => number;
    },
    /** `space`: what they may take of a disk together. */
    private readonly propose: (data: readonly Uint8Array[], space: number) => ProposeResult,
  ) {}

  /** Commands that are not decided. */
  get size(): number {
    return this.collected.length + this.proposed.size;
  }

  /** What those that have not entered the log may take of a disk. */
  get waitingSpace(): number {
    return this.collectedSpace;
  }

  /** A command of the log, with the leader's time, which never goes back. */
  stamp(session: number, sequence: number, acknowledged: number, command: Command): LogCommand {
    const now = this.clock.now();
    if (compareTimespec(now, this.lastTime) > 0) this.lastTime = now;
    return { session, sequence, acknowledged, time: this.lastTime, command };
  }

  /** What no node could read must not enter the log: they would all end over it, for ever. */
  add(command: LogCommand, decide: Decide): void {
    if (this.collectedBytes >= COLLECTED_BYTES_MAX) {
      decide({ type: 'refused', ...REFUSALS.full });
      return;
    }
    const data = this.codec.encode(command);
    try {
      this.codec.decode(data);
    } catch (error) {
      if (!isMootError(error, 'BAD_MESSAGE')) throw error;
      decide({ type: 'refused', code: 'BAD_ARGUMENT', message: error.message });
      return;
    }
    const space = this.codec.spaceOf(command.command);
    this.collectedBytes += data.length;
    this.collectedSpace += space;
    this.collected.push({ data, space, decide });
  }

  /** Proposes what was collected. In order: when one is refused, so are all behind it. */
  flush(): void {
    while (this.collected.length > 0) {
      let count = 0;
      let bytes = 0;
      for (; count < this.collected.length && bytes < PROPOSE_BYTES_MAX; count++) {
        bytes += this.collected[count]?.data.length ?? 0;
      }
      const batch = this.collected.slice(0, count);
      const space = batch.reduce((sum, one) => sum + one.space, 0);
      const data = batch.map((one) => one.data);
      const result = this.propose(data, space);
      if (!result.ok) {
        // While leadership is handed over they wait: soon it is known who decides.
        if (result.reason !== 'transferring') this.refuseCollected(result.reason);
        return;
      }
      this.collected = this.collected.slice(count);
      this.collectedBytes -= bytes;
      this.collectedSpace -= space;
      for (const [i, { decide }] of batch.entries()) {
        const index = result.first + i;
        // Another leader took this place from it meanwhile, and so did this node now from that one.
        this.proposed.get(index)?.decide(unknown('its place in the log was taken'));
        this.proposed.set(index, { term: result.term, decide });
      }
    }
  }

  /** The entry at `mark` is applied; null: it held no command. */
  applied(mark: SnapshotMark, applied: Applied | null): void {
    const waiting = this.proposed.get(mark.index);
    if (waiting === undefined) return;
    this.proposed.delete(mark.index);
    if (waiting.term === mark.term && applied !== null) {
      const { outcome, effects } = applied;
      waiting.decide({ type: 'applied', index: mark.index, outcome, effects });
    } else {
      waiting.decide({
        type: 'refused',
        code: 'NOT_LEADER',
        message: 'another leader decided otherwise',
      });
    }
  }

  /** Nobody here will learn what became of those from there on: they may or may not count. */
  giveUp(message: string, fromIndex = 0): void {
    for (const [index, { decide }] of this.proposed) {
      if (index < fromIndex) continue;
      this.proposed.delete(index);
      decide(unknown(message));
    }
  }

  /** Nothing is decided here any more. */
  stop(): void {
    this.giveUp('the node stops');
    this.refuseCollected('not-leader');
  }

  private refuseCollected(reason: Refused): void {
    const refused = this.collected;
    this.collected = [];
    this.collectedBytes = 0;
    this.collectedSpace = 0;
    for (const { decide } of refused) decide({ type: 'refused', ...REFUSALS[reason] });
  }
}

function unknown(message: string): Decision {
  return { type: 'refused', code: 'OUTCOME_UNKNOWN', message };
}

type Refused = Exclude<Extract<ProposeResult, { readonly ok: false }>['reason'], 'transferring'>;

const REFUSALS: {
  readonly [R in Refused]: { readonly code: ErrorCode; readonly message: string };
} = {
  full: { code: 'BUSY', message: 'too much is waiting to be committed' },
  'not-leader': { code: 'NOT_LEADER', message: 'this node does not lead' },
};

/** null: such a command may come from outside, under such numbers. */
export function checkSession({ session, sequence, command }: SubmitRequest): string | null {
  if (command.type === 'expire-session') return 'only the cluster itself expires sessions';
  const outside = command.type === 'open-session';
  if (outside !== (session === 0)) {
    return outside ? 'a session is opened outside any session' : 'a command needs a session';
  }
  return outside || sequence > 0 ? null : 'sequence numbers start at 1';
}
