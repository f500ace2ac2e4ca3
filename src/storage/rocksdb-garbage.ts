import { number56 } from '../base/binary-key.js';
import { isMootError } from '../base/errors.js';
import { chunkRange } from '../filesystem/keys.js';
import type { ChunkFiles } from './chunk-files.js';
import type { Operation, RocksDatabase } from './rocksdb.js';

/**
 * Discarded contents. Each has two records of this node's own, in the batch that discarded it: one
 * in a queue for the collector, and one right in front of its chunks, so that an export that comes
 * along knows what to leave out. Both go with the last chunk.
 */

/** In front of all tables' letters. */
const QUEUE_PREFIX = '\u0001g';
const EMPTY = Buffer.alloc(0);

/** Chunks deleted in one batch. Their keys are read from disk with their values: 8 MiB at most. */
const CHUNKS_MAX = 256;

/** `index` is that of the write: it grows, so that the collector never goes back over what it deleted. */
export function discardOperations(index: number, content: number): Operation[] {
  const marker = markerKey(content);
  return [
    { type: 'put', key: QUEUE_PREFIX + number56(index) + marker, value: EMPTY },
    { type: 'put', key: marker, value: EMPTY },
  ];
}

/** A chunk's key without the chunk's number: sorts right before all chunks of its content. */
function markerKey(content: number): string {
  return chunkRange(content).from.slice(0, MARKER_LENGTH);
}

const MARKER_LENGTH = 8;

export function isMarker(key: string): boolean {
  return key.startsWith('c') && key.length === MARKER_LENGTH;
}

/** Deletes discarded contents' chunks in the background, a bounded batch at a time. */
export class GarbageCollector {
  /** The queue is empty up to here, in keys. */
  private cursor = QUEUE_PREFIX;
  private fromStart = false;
  private wanted = false;
  private stopped = false;
  private running: Promise<void> | null = null;

  constructor(
    private readonly database: RocksDatabase,
    /** One write to the database after the other; see ChunkFiles. */
    private readonly exclusively: ChunkFiles['exclusively'],
    private readonly onFailure: (error: unknown) => void,
  ) {}

  /** There may be something to collect; with `again` also where the collector has been. */
  wake({ again }: { readonly again: boolean }): void {
    this.wanted = true;
    if (again) this.fromStart = true;
    if (this.running !== null || this.stopped) return;
    this.running = this.collect()
      .catch((error: unknown) => {
        if (!isMootError(error, 'CLOSED')) this.onFailure(error);
      })
      .finally(() => {
        this.running = null;
        if (this.wanted && !this.stopped) this.wake({ again: false });
      });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private async collect(): Promise<void> {
    while (this.wanted && !this.stopped) {
      this.wanted = false;
      if (this.fromStart) this.cursor = QUEUE_PREFIX;
      this.fromStart = false;
      for (;;) {
        const queued = await this.firstInQueue();
        if (queued === null || this.stopped) break;
        await this.collectContent(queued);
      }
    }
  }

  private firstInQueue(): Promise<string | null> {
    const iterator = this.database.iterate(this.cursor, { values: false });
    return this.database.using(iterator, async () => {
      const record = await iterator.next();
      return record?.[0].startsWith(QUEUE_PREFIX) ? record[0] : null;
    });
  }

  private async collectContent(queued: string): Promise<void> {
    const marker = queued.slice(-MARKER_LENGTH);
    while (!this.stopped) {
      // A sweep reads chunks and puts them elsewhere: in between none of them may be deleted, or
      // it would be there again, and with its marker gone for ever.
      const isLast = await this.exclusively(() => this.deleteSome(queued, marker));
      if (!isLast) continue;
      this.cursor = `${queued}\u0000`;
      return;
    }
  }

  /** True: these were the last. */
  private async deleteSome(queued: string, marker: string): Promise<boolean> {
    const keys = await this.someChunks(marker);
    const operations: Operation[] = keys.map((key) => ({ type: 'del', key }));
    const isLast = keys.length < CHUNKS_MAX;
    if (isLast) operations.push({ type: 'del', key: marker }, { type: 'del', key: queued });
    await this.database.batch(operations, false);
    return isLast;
  }

  private someChunks(marker: string): Promise<string[]> {
    // The first possible key behind the marker.
    const iterator = this.database.iterate(`${marker}\u0000`, { values: false });
    return this.database.using(iterator, async () => {
      const keys: string[] = [];
      while (keys.length < CHUNKS_MAX) {
        const record = await iterator.next();
        if (record === null || !record[0].startsWith(marker)) break;
        keys.push(record[0]);
      }
      return keys;
    });
  }
}
