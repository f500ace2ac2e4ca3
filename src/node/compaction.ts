import type { SnapshotMark } from '../raft/types.js';
import type { LogStore } from '../storage/log-store.js';
import type { StateStore } from '../storage/state-store.js';
import type { Saver } from './saver.js';
import type { Tree } from './tree.js';

export interface CompactionLimits {
  readonly logBytes: number;
  readonly logEntries: number;
  /** Entries that stay, but not more than TAIL_SHARE of `logBytes` of them. */
  readonly tailEntries: number;
}

const TAIL_SHARE = 0.5;
/** Sizes are known in steps of this part of the limit. */
const STEP_SHARE = 1 / 16;

/** A log with this many times the entries is compacted whoever lags behind. */
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
  /** Of all entries counted so far; and how much that was at some indexes, ascending. */
  private total = 0;
  private steps: { readonly index: number; readonly total: number }[] = [];
  /** Not due for its entries again before this index is applied. */
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

  /** The entry at `index`, with so many bytes, is about to be applied. After a restart the count begins anew. */
  count(index: number, bytes: number): void {
    this.bytes += bytes;
    this.total += bytes;
    const { logBytes } = this.parts.limits;
    const step = logBytes * STEP_SHARE;
    if (this.total - (this.steps.at(-1)?.total ?? 0) >= step) {
      this.steps.push({ index, total: this.total });
    }
    // The first of them is behind the tail: so is all before it.
    while (this.total - (this.steps[1]?.total ?? this.total) > logBytes * TAIL_SHARE) {
      this.steps.shift();
    }
  }

  /** The log was emptied: it starts behind `mark`. */
  reset(mark: SnapshotMark): void {
    this.mark = mark;
    this.bytes = 0;
    this.steps = [];
  }

  /** True when it is time to `run`. */
  get due(): boolean {
    if (this.running !== null) return false;
    const { limits, tree } = this.parts;
    const entries = this.entriesToForget(tree.applied.index);
    const tooMany = entries > limits.logEntries && tree.applied.index >= this.notBefore;
    return tooMany || (entries > 0 && this.bytes > limits.logBytes);
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

  private entriesToForget(appliedIndex: number): number {
    return this.tailStart(appliedIndex) - this.mark.index;
  }

  /** What is up to here need not be kept when `appliedIndex` is. */
  private tailStart(appliedIndex: number): number {
    const { logBytes, tailEntries } = this.parts.limits;
    const [first] = this.steps;
    const large = first !== undefined && this.total - first.total > logBytes * TAIL_SHARE;
    return Math.max(appliedIndex - tailEntries, large ? Math.min(first.index, appliedIndex) : 0);
  }

  private async compact(): Promise<number> {
    const { tree, state, log, saver, limits, neededBehind, onCompacted } = this.parts;
    const entries = this.entriesToForget(tree.applied.index);
    const impatient = entries > limits.logEntries * PATIENCE;
    await tree.flush();
    const durable = tree.written;
    await state.sync();
    const behind = this.tailStart(durable.index);
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
