import type { Entry } from '../raft/types.js';

/** Entries' bytes that wait in memory for being applied; more than that is read from the log later. */
const WAITING_BYTES_MAX = 8_388_608;
/** Entries' bytes read from the log at one time. */
const LOG_READ_BYTES_MAX = 4_194_304;

export interface FeedSource {
  read(first: number, last: number, bytesMax: number): Promise<readonly Entry[]>;
  /** Gives entries on, in order and without gaps. */
  give(entries: readonly Entry[]): void;
  /** The core need not keep these in memory: they were given on, or the log has them. */
  release(index: number): void;
  onFailed(error: unknown): void;
}

/**
 * Committed entries on their way to the tree. When the tree is slower than the log, entries are let
 * go and read again from the log, where committed entries are durable: memory stays bounded.
 */
export class Feed {
  /** Given on up to here. */
  private given: number;
  /** Committed and durable up to here. */
  private known: number;
  private readonly bytesWaiting: { readonly index: number; readonly bytes: number }[] = [];
  private waiting = 0;
  private reading = false;
  private epoch = 0;

  constructor(
    private readonly source: FeedSource,
    appliedIndex: number,
  ) {
    this.given = appliedIndex;
    this.known = appliedIndex;
  }

  add(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    const next = this.given === this.known && this.waiting < WAITING_BYTES_MAX;
    this.known = last.index;
    if (next) this.give(entries);
    else this.source.release(last.index);
  }

  /** Committed entries that are no longer in memory. */
  addFromLog(last: number): void {
    this.known = Math.max(this.known, last);
    this.pump();
  }

  /** The tree has applied up to here. */
  applied(index: number): void {
    let first = this.bytesWaiting[0];
    while (first !== undefined && first.index <= index) {
      this.waiting -= first.bytes;
      this.bytesWaiting.shift();
      first = this.bytesWaiting[0];
    }
    this.pump();
  }

  /** The tree now stands at this index by other means. */
  reset(index: number): void {
    this.epoch++;
    this.given = index;
    this.known = index;
    this.bytesWaiting.length = 0;
    this.waiting = 0;
    this.reading = false;
  }

  private pump(): void {
    if (this.reading || this.given === this.known || this.waiting >= WAITING_BYTES_MAX) return;
    this.reading = true;
    const { epoch } = this;
    this.source.read(this.given + 1, this.known, LOG_READ_BYTES_MAX).then(
      (entries) => {
        if (epoch !== this.epoch) return;
        this.reading = false;
        if (entries.length === 0) {
          this.source.onFailed(new Error(`committed entry ${this.given + 1} is not in the log`));
          return;
        }
        this.give(entries);
        this.pump();
      },
      (error: unknown) => this.source.onFailed(error),
    );
  }

  private give(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    let bytes = 0;
    for (const entry of entries) bytes += entry.data.length;
    this.given = last.index;
    this.bytesWaiting.push({ index: last.index, bytes });
    this.waiting += bytes;
    this.source.give(entries);
  }
}
