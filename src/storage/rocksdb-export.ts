import { isMootError } from '../base/errors.js';
import { seal, unseal } from '../codec/records.js';
import { tableOf } from '../filesystem/keys.js';
import type { SnapshotMark } from '../raft/types.js';
import type { ChunkFiles } from './chunk-files.js';
import { isMarker, openMarker } from './discarded.js';
import type { KeyValue, RocksDatabase, RocksIterator } from './rocksdb.js';
import { TABLES_FROM, Witnesses } from './rocksdb-records.js';
import { ChunkWriter, type SnapshotRecord } from './snapshot-format.js';
import {
  type RecordVisitor,
  SNAPSHOT_CHUNK_BYTES,
  type SnapshotExport,
  visitRecord,
} from './state-store.js';
import { isPlace, openChunk } from './stored-chunk.js';

export class RocksExport implements SnapshotExport {
  private readonly writer = new ChunkWriter(SNAPSHOT_CHUNK_BYTES);
  /** Read, and had no place in the last chunk. */
  private held: SnapshotRecord | null = null;
  private read: SnapshotRecord[] = [];
  private state: 'records' | 'end' | 'over' = 'records';
  private readonly records: LiveRecords;
  private readonly witnesses = new Witnesses();
  private closed: Promise<void> | null = null;

  constructor(
    private readonly database: RocksDatabase,
    iterator: RocksIterator,
    private readonly chunks: ChunkFiles,
    readonly mark: SnapshotMark,
    private readonly end: () => Promise<void>,
  ) {
    this.records = new LiveRecords(iterator, (error) => {
      throw error;
    });
  }

  async next(): Promise<Uint8Array | null> {
    if (this.state === 'records') {
      await this.fill();
      if (!this.writer.isEmpty) return this.writer.take();
    }
    if (this.state === 'over') return null;
    this.state = 'over';
    await this.close();
    return this.writer.takeEnd();
  }

  close(): Promise<void> {
    this.closed ??= this.end();
    return this.closed;
  }

  private async fill(): Promise<void> {
    for (;;) {
      const record = this.held ?? (await this.nextRecord());
      this.held = null;
      if (record === null) {
        this.state = 'end';
        return;
      }
      if (!this.writer.fits(record)) {
        this.held = record;
        return;
      }
      this.writer.add(record);
    }
  }

  private async nextRecord(): Promise<SnapshotRecord | null> {
    if (this.read.length === 0) this.read = await this.readSome();
    return this.read.shift() ?? null;
  }

  /** About as many as a chunk holds, verified; none at the end. */
  private async readSome(): Promise<SnapshotRecord[]> {
    const records: SnapshotRecord[] = [];
    for (let bytes = 0; bytes < SNAPSHOT_CHUNK_BYTES; ) {
      const record = await this.records.next();
      if (record === null) break;
      records.push(record);
      this.witnesses.saw(record.key, record.sealed.length);
      bytes += sizeOf(record);
    }
    await this.witnesses.verify(this.database);
    return withTheirData(this.chunks, records);
  }
}

/** What a record takes in a snapshot. DATA_CORRUPT when it does not hold. */
function sizeOf({ key, sealed }: SnapshotRecord): number {
  if (tableOf(key) !== 'chunk') return unseal(key, sealed).length;
  return openChunk(key, sealed).length;
}

/** Chunks that are in files as they are in a snapshot; the others are verified by whoever asks. */
async function withTheirData(
  chunks: ChunkFiles,
  records: readonly SnapshotRecord[],
): Promise<SnapshotRecord[]> {
  const placed = records.filter(
    ({ key, sealed }) => tableOf(key) === 'chunk' && isPlace(openChunk(key, sealed)),
  );
  const data = await chunks.load(placed.map(({ key, sealed }) => [key, sealed] as const));
  const dataOf = new Map(placed.map((record, i) => [record, data[i]] as const));
  return records.map((record) => {
    const bytes = dataOf.get(record);
    return bytes === undefined ? record : { key: record.key, sealed: seal(record.key, bytes) };
  });
}

/** Every record that an export would carry, verified. */
export async function visitRecords(
  { database, chunks }: { readonly database: RocksDatabase; readonly chunks: ChunkFiles },
  visitor: RecordVisitor,
): Promise<void> {
  const damaged = (error: unknown) => {
    if (!isMootError(error, 'DATA_CORRUPT')) throw error;
    visitor.onDamaged(error);
  };
  await database.using(database.iterate(TABLES_FROM), async (iterator) => {
    const live = new LiveRecords(iterator, damaged);
    for (let record = await live.next(); record !== null; record = await live.next()) {
      try {
        for (const whole of await withTheirData(chunks, [record])) visitRecord(visitor, whole);
      } catch (error) {
        damaged(error);
      }
    }
  });
}

/** The tables' records, without the chunks of contents that are discarded and not freed yet. */
class LiveRecords {
  /** Chunks of this content are left out. */
  private discarded: string | null = null;

  constructor(
    private readonly iterator: RocksIterator,
    /** A marker does not hold: then what is behind it counts. */
    private readonly damaged: (error: unknown) => void,
  ) {}

  /** Not verified. */
  async next(): Promise<SnapshotRecord | null> {
    for (;;) {
      const record = await this.iterator.next();
      if (record === null) return null;
      const [key, sealed] = record;
      if (key < TABLES_FROM) continue;
      if (isMarker(key)) this.open(record);
      else if (this.discarded === null || !key.startsWith(this.discarded)) return { key, sealed };
    }
  }

  private open(record: KeyValue): void {
    try {
      this.discarded = openMarker(...record);
    } catch (error) {
      this.damaged(error);
    }
  }
}
