import type { SnapshotMark } from '../raft/types.js';
import type { LogStore } from '../storage/log-store.js';
import type { StateStore } from '../storage/state-store.js';
import type { Saver } from './saver.js';
import type { Tree } from './tree.js';

export interface CompactionLimits {
  readonly logBytes: number;
  readonly logEntries: number;
  readonly tailEntries: number;
}

/** A log this many times over its limit is compacted whoever lags behind. */
const PATIENCE = 4;
/** What could not be forgotten is looked at again after this part of the limit. */
const RETRIES = 8;

export interface CompactionParts {
  readonly limits: CompactionLimits;
  readonly log: LogStore;
  readonly state: StateStore;
  readonly tree: Tree;
  readonly saver: Saver;
  /** The last index that some follower, which is not far behind, does not need any more. */
  readonly neededBehind: () => number;
  readonly onCompacted: (mark: SnapshotMark) => void;
}

/**
 * Keeps the log short: what the tree holds durably is forgotten, but for a tail, so that followers
 * that lag a little need no snapshot.
 */
export class Compaction {
  private mark: SnapshotMark;
  private bytes = 0;
  /** Not due again before this index is applied. */
  private notBefore = 0;
  private running: Promise<number> | null = null;

  constructor(
    private readonly parts: CompactionParts,
    mark: SnapshotMark,
  ) {
    this.mark = mark;
  }

  /** The log starts behind this. */
  get snapshotIndex(): number {
    return this.mark.index;
  }

  /** An entry with so many bytes was applied. After a restart the count begins anew. */
  count(bytes: number): void {
    this.bytes += bytes;
  }

  /** The log was emptied: it starts behind `mark`. */
  reset(mark: SnapshotMark): void {
    this.mark = mark;
    this.bytes = 0;
  }

  /** True when it is time to `run`. */
  get due(): boolean {
    const { tree } = this.parts;
    return this.running === null && tree.applied.index >= this.notBefore && this.excess(1);
  }

  /** Makes the tree durable and compacts the log; resolves to the index that is durable. */
  async run(): Promise<number> {
    // Whoever asks while one runs wants what is applied now: another one, behind it.
    while (this.running !== null) await this.running;
    this.running = this.compact();
    try {
      return await this.running;
    } finally {
      this.running = null;
    }
  }

  private excess(times: number): boolean {
    const { limits, tree } = this.parts;
    const entries = tree.applied.index - this.mark.index - limits.tailEntries;
    return (
      entries > limits.logEntries * times || (this.bytes > limits.logBytes * times && entries > 0)
    );
  }

  private async compact(): Promise<number> {
    const { tree, state, log, saver, limits, neededBehind, onCompacted } = this.parts;
    const impatient = this.excess(PATIENCE);
    await tree.flush();
    const durable = tree.written;
    await state.sync();
    const behind = durable.index - limits.tailEntries;
    const upTo = impatient ? behind : Math.min(behind, neededBehind());
    // Also when nothing can be forgotten: it must not be tried at every command.
    this.bytes = 0;
    this.notBefore = durable.index + Math.ceil(limits.logEntries / RETRIES);
    if (upTo <= this.mark.index) return durable.index;
    await saver.exclusive(async () => {
      // A snapshot may have been installed while this waited.
      if (upTo <= this.mark.index) return;
      const [entry] = await log.read(upTo, upTo, 1);
      if (entry === undefined) return;
      const mark = { index: entry.index, term: entry.term };
      await log.compact(mark);
      this.mark = mark;
      onCompacted(mark);
    });
    return durable.index;
  }
}
