import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import type { HardState, RaftMessage, Save } from '../raft/types.js';
import type { LogStore } from '../storage/log-store.js';

export interface SaverEvents {
  /** The save with this number and all before it are on disk; these messages may go now. */
  onSaved(number: number, messages: readonly RaftMessage[]): void;
  /** The log store refused: final. */
  onFailed(error: unknown): void;
}

/**
 * The one writer of the log: one write at a time, and all saves that arrive meanwhile share the
 * next sync (group commit).
 */
export class Saver {
  private saves: Save[] = [];
  private messages: RaftMessage[] = [];
  /** Saves are being written. */
  private writing = false;
  private exclusives: { behind: number; run(): Promise<void>; refuse(error: Error): void }[] = [];
  /** Saves that were given, and of them those that are on disk. */
  private given = 0;
  private written = 0;
  private busy = false;
  private stopped = false;
  private idle: (() => void)[] = [];
  private finishedCount = 0;
  /** What the disk has. */
  private durable: HardState;

  constructor(
    private readonly log: LogStore,
    private readonly events: SaverEvents,
    hardState: HardState,
  ) {
    this.durable = hardState;
  }

  get hardState(): HardState {
    return this.durable;
  }

  /** Saves are given and not on disk yet. */
  get waiting(): boolean {
    return this.writing || this.saves.length > 0;
  }

  /** Counts what the disk has finished. */
  get finished(): number {
    return this.finishedCount;
  }

  /** Takes a save in; `kick` starts it. */
  add(save: Save, messagesAfterSave: readonly RaftMessage[]): void {
    this.given++;
    this.saves.push(save);
    // What is replaced in the same write is never on the disk by itself: nobody is told that it is.
    const { truncateFrom } = save;
    if (truncateFrom !== null) {
      this.messages = this.messages.filter((message) => !acknowledges(message, truncateFrom));
    }
    this.messages.push(...messagesAfterSave);
  }

  /** Starts what was added, unless a write is under way. */
  kick(): void {
    if (this.busy || this.stopped) return;
    // In the order in which they came: under steady load there is always another save, and an action
    // that waited until there is none would wait for ever.
    const behind = this.exclusives[0]?.behind ?? Number.POSITIVE_INFINITY;
    if (behind <= this.written) this.runExclusive();
    else if (this.saves.length > 0) this.append();
  }

  /**
   * Runs `action`, which may use the log's writing calls, when all saves given before it are on
   * disk, before most that are given later, and while no other write runs.
   */
  exclusive<T>(action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.stopped) {
        reject(closed());
        return;
      }
      const run = () => action().then(resolve, reject);
      this.exclusives.push({ behind: this.given, run, refuse: reject });
      this.kick();
    });
  }

  /** Writes nothing more; resolves when what is under way has ended. */
  stop(): Promise<void> {
    this.refuseMore();
    if (!this.busy) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  private append(): void {
    const saves = this.saves;
    const messages = this.messages;
    const last = saves.at(-1);
    assert(last !== undefined, 'an append has saves');
    this.saves = [];
    this.messages = [];
    this.busy = true;
    this.writing = true;
    this.log.append(saves).then(
      () => {
        this.written += saves.length;
        for (const save of saves) this.durable = save.hardState ?? this.durable;
        // Still busy: what these events add joins the next write as one.
        if (!this.stopped) this.events.onSaved(last.number, messages);
        this.ended();
      },
      (error: unknown) => {
        this.refuseMore();
        this.events.onFailed(error);
        this.ended();
      },
    );
  }

  private refuseMore(): void {
    this.stopped = true;
    for (const exclusive of this.exclusives.splice(0)) exclusive.refuse(closed());
  }

  private runExclusive(): void {
    const exclusive = this.exclusives.shift();
    assert(exclusive !== undefined, 'there is an exclusive action');
    this.busy = true;
    exclusive.run().then(() => this.ended());
  }

  private ended(): void {
    this.busy = false;
    this.finishedCount++;
    this.writing = false;
    for (const resolve of this.idle.splice(0)) resolve();
    this.kick();
  }
}

function acknowledges(message: RaftMessage, index: number): boolean {
  return message.type === 'append-reply' && message.success && message.match >= index;
}

function closed(): MootError {
  return new MootError('CLOSED', 'the node is stopping');
}
