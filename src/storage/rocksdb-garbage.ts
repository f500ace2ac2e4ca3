import { isMootError } from '../base/errors.js';
import type { ChunkFiles } from './chunk-files.js';
import { openQueued, QUEUE_PREFIX } from './discarded.js';
import type { KeyValue, Operation, RocksDatabase } from './rocksdb.js';
import { checkBehind, openChunk, placedBytes } from './stored-chunk.js';

/** Chunks deleted in one batch: 8 MiB are read for it at most. */
const CHUNKS_MAX = 256;

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
    private readonly chunks: ChunkFiles,
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
        await this.collectContent(...queued);
      }
    }
    if (!this.stopped) this.chunks.collected();
  }

  private firstInQueue(): Promise<KeyValue | null> {
    return this.database.using(this.database.iterate(this.cursor), async (iterator) => {
      const record = await iterator.next();
      if (record?.[0].startsWith(QUEUE_PREFIX)) return record;
      checkBehind(record);
      return null;
    });
  }

  private async collectContent(...queued: KeyValue): Promise<void> {
    const marker = openQueued(...queued);
    const [key] = queued;
    while (!this.stopped) {
      // A sweep reads chunks and puts them elsewhere: in between none of them may be deleted, or
      // it would be there again, and with its marker gone for ever.
      const isLast = await this.chunks.exclusively(() => this.deleteSome(key, marker));
      if (!isLast) continue;
      this.cursor = `${key}\u0000`;
      return;
    }
  }

  /** True: these were the last. */
  private async deleteSome(queued: string, marker: string): Promise<boolean> {
    const records = await this.someChunks(marker);
    const operations: Operation[] = records.map(([key]) => ({ type: 'del', key }));
    const isLast = records.length < CHUNKS_MAX;
    if (isLast) operations.push({ type: 'del', key: marker }, { type: 'del', key: queued });
    await this.database.batch(operations, false);
    this.chunks.freed(placedBytes(records));
    return isLast;
  }

  private someChunks(marker: string): Promise<KeyValue[]> {
    // The first possible key behind the marker.
    return this.database.using(this.database.iterate(`${marker}\u0000`), async (iterator) => {
      const records: KeyValue[] = [];
      while (records.length < CHUNKS_MAX) {
        const record = await iterator.next();
        if (record === null || !record[0].startsWith(marker)) {
          checkBehind(record);
          break;
        }
        openChunk(...record);
        records.push(record);
      }
      return records;
    });
  }
}
