import { ENTRY_OVERHEAD_BYTES } from '../raft/log.js';
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

/** A log this many times over its limit is compacted whoever lags behind. */
const PATIENCE = 4;
/** What could not be forgotten is looked at again after this part of the limit. */
const RETRIES = 8;
/** How exactly the size of the log is known: to this part of its limit. */
const SAMPLES = 16;

/** A follower that is not far behind, or about to catch up. */
export interface Laggard {
  /** It has everything up to here. */
  readonly index: number;
  /**
   * It takes in a snapshot, or has and now follows the log from there. A log that was cut meanwhile
   * would make it take in another one, and so on for ever. What the log may grow to instead is the
   * tree's size: whoever takes in a tree faster than others fill one has caught up before that.
   */
  readonly bySnapshot: boolean;
}

export interface CompactionParts {
  readonly limits: CompactionLimits;
  readonly log: Pick<LogStore, 'read' | 'compact' | 'sweep'>;
  readonly state: Pick<StateStore, 'sync'>;
  readonly tree: Pick<Tree, 'flush' | 'written' | 'applied'>;
  readonly saver: Pick<Saver, 'exclusive'>;
  readonly laggards: () => readonly Laggard[];
  /** About what a snapshot takes. */
  readonly treeBytes: () => number;
  readonly onCompacted: (mark: SnapshotMark) => void;
}

/**
 * Keeps the log short: what the tree holds durably is forgotten, but for a tail, so that followers
 * that lag a little need no snapshot.
 */
export class Compaction {
  private mark: SnapshotMark;
  /** Bytes of all entries so far. */
  private countedBytes = 0;
  /** `countedBytes` at some indexes, ascending, from the mark on: so the log's size is known. */
  private samples: { readonly index: number; readonly bytes: number }[] = [];
  /** Not due again before this index, or this many counted bytes. */
  private notBefore = { index: 0, bytes: 0 };
  private running: Promise<number> | null = null;
  /** Behind the one that runs. */
  private next: Promise<number> | null = null;

  constructor(
    private readonly parts: CompactionParts,
    mark: SnapshotMark,
  ) {
    this.mark = mark;
  }

  /** The entry at `index` is about to be applied. After a restart the count begins anew. */
  count(index: number, dataBytes: number): void {
    this.countedBytes += dataBytes + ENTRY_OVERHEAD_BYTES;
    const last = this.samples.at(-1)?.bytes ?? 0;
    if (
      this.countedBytes - last >= this.parts.limits.logBytes / SAMPLES ||
      this.samples.length === 0
    ) {
      this.samples.push({ index, bytes: this.countedBytes });
    }
  }

  /** The log was emptied: it starts behind `mark`. */
  reset(mark: SnapshotMark): void {
    this.mark = mark;
    this.samples = [];
  }

  /** Bytes of the log behind the mark, as far as they were counted. */
  get logBytes(): number {
    return this.countedBytes - (this.samples[0]?.bytes ?? this.countedBytes);
  }

  /** True when it is time to `run`. */
  get due(): boolean {
    const { tree } = this.parts;
    const later =
      tree.applied.index >= this.notBefore.index || this.countedBytes >= this.notBefore.bytes;
    return this.running === null && later && this.excess(1);
  }

  /** Makes the tree durable and compacts the log; resolves to the index that is durable. */
  run(): Promise<number> {
    if (this.next !== null) return this.next;
    if (this.running === null) return this.begin();
    // Whoever asks while one runs wants what is applied now: another one, behind it, for all who ask.
    const begin = () => {
      this.next = null;
      return this.begin();
    };
    this.next = this.running.then(begin, begin);
    return this.next;
  }

  private begin(): Promise<number> {
    this.running = this.compact().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  private excess(times: number): boolean {
    const { limits, tree } = this.parts;
    const entries = this.tailStart(tree.applied.index) - this.mark.index;
    return (
      entries > limits.logEntries * times ||
      (this.logBytes > limits.logBytes * times && entries > 0)
    );
  }

  /** When everything up to `index` is applied, what is up to here need not be kept. */
  private tailStart(index: number): number {
    const { logBytes, tailEntries } = this.parts.limits;
    const behind = this.samples.findLast(
      ({ bytes }) => this.countedBytes - bytes > logBytes * TAIL_SHARE,
    );
    return Math.max(index - tailEntries, Math.min(behind?.index ?? 0, index));
  }

  /** The last index that nobody needs any more, of those whom the log waits for. */
  private neededBehind(): number {
    const { limits, treeBytes, laggards } = this.parts;
    const impatient = this.excess(PATIENCE);
    const large = this.logBytes > Math.max(limits.logBytes * PATIENCE, treeBytes());
    let index = Number.POSITIVE_INFINITY;
    for (const laggard of laggards()) {
      if (laggard.bySnapshot ? !large : !impatient) index = Math.min(index, laggard.index);
    }
    return index;
  }

  private async compact(): Promise<number> {
    const { tree, state, log, saver, limits, onCompacted } = this.parts;
    await tree.flush();
    const durable = tree.written;
    await state.sync();
    // Also when nothing can be forgotten: it must not be tried at every command.
    this.notBefore = {
      index: durable.index + Math.ceil(limits.logEntries / RETRIES),
      bytes: this.countedBytes + Math.ceil(limits.logBytes / RETRIES),
    };
    const upTo = Math.min(this.tailStart(durable.index), this.neededBehind());
    if (upTo <= this.mark.index) return durable.index;
    // Only the mark keeps the saves waiting; there may be much to remove, and nobody waits for that.
    await saver.exclusive(async () => {
      // A snapshot may have been installed while this waited.
      if (upTo <= this.mark.index) return;
      const [entry] = await log.read(upTo, upTo, 1);
      if (entry === undefined) return;
      const mark = { index: entry.index, term: entry.term };
      await log.compact(mark);
      this.mark = mark;
      const behind = this.samples.findIndex(({ index }) => index > mark.index);
      this.samples.splice(0, (behind < 0 ? this.samples.length : behind) - 1);
      onCompacted(mark);
    });
    await log.sweep();
    return durable.index;
  }
}
