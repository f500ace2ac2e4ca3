import { MootError } from '../base/errors.js';
import { unseal } from '../codec/records.js';
import { tableOf } from '../filesystem/keys.js';
import type { SnapshotMark } from '../raft/types.js';
import type { ChunkFiles } from './chunk-files.js';
import { isMarker } from './discarded.js';
import type { KeyValue, Operation, RocksDatabase } from './rocksdb.js';
import { putMark } from './rocksdb-records.js';
import { ChunkReader } from './snapshot-format.js';
import type { SnapshotImport } from './state-store.js';

/** Chunks written together: so many that the large ones go to data files, with a sync for all. */
const COLLECTED_BYTES = 4 * 1_048_576;

export interface ImportParts {
  readonly database: RocksDatabase;
  readonly chunks: ChunkFiles;
  readonly mark: SnapshotMark;
  /** Makes the imported tree the present one. */
  readonly replaceTree: () => Promise<void>;
  /** Closes and removes it. */
  readonly drop: () => Promise<void>;
}

export class RocksImport implements SnapshotImport {
  private readonly reader = new ChunkReader();
  private collected: KeyValue[] = [];
  private collectedBytes = 0;
  private over = false;

  constructor(private readonly parts: ImportParts) {}

  async write(chunk: Uint8Array): Promise<void> {
    this.checkOpen();
    const operations: Operation[] = [];
    for (const { key, sealed } of this.reader.read(chunk)) {
      const table = tableOf(key);
      if (table === undefined || isMarker(key)) {
        throw new MootError('BAD_MESSAGE', 'snapshot chunk: it has a record of no table');
      }
      const payload = unseal(key, sealed);
      if (table !== 'chunk') operations.push({ type: 'put', key, value: sealed });
      else {
        this.collected.push([key, payload]);
        this.collectedBytes += payload.length;
      }
    }
    if (operations.length > 0) await this.parts.database.batch(operations, false);
    if (this.collectedBytes >= COLLECTED_BYTES) await this.storeCollected();
  }

  get isComplete(): boolean {
    return this.reader.isComplete;
  }

  async finish(): Promise<void> {
    this.checkOpen();
    if (!this.isComplete) throw new MootError('BAD_MESSAGE', 'the snapshot is not complete');
    this.over = true;
    await this.storeCollected();
    await this.parts.database.batch([putMark(this.parts.mark)], true);
    await this.parts.replaceTree();
  }

  async abort(): Promise<void> {
    if (this.over) return;
    this.over = true;
    await this.parts.drop();
  }

  private async storeCollected(): Promise<void> {
    const { database, chunks } = this.parts;
    const { collected } = this;
    this.collected = [];
    this.collectedBytes = 0;
    await chunks.exclusively(async () => {
      const { values, operations } = await chunks.store(collected);
      const puts = collected.flatMap(([key], i): Operation[] => {
        const value = values[i];
        return value === undefined ? [] : [{ type: 'put', key, value }];
      });
      await database.batch([...puts, ...operations], false);
    });
  }

  private checkOpen(): void {
    if (this.over) throw new MootError('CLOSED', 'the import is over');
  }
}
