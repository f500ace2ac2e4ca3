import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import { decodeConfiguration } from '../codec/configuration.js';
import { pack, unpack } from '../codec/msgpack.js';
import { Reader } from '../codec/reader.js';
import { seal, unseal } from '../codec/records.js';
import type { Entry, EntryKind, HardState, Save, SnapshotMark, TermRun } from '../raft/types.js';
import { number56, parse56 } from './binary-key.js';
import type { StoreFigures } from './figures.js';
import type { LogStore, RestoredLog } from './log-store.js';
import { type DatabaseOptions, type Operation, RocksDatabase } from './rocksdb.js';

/**
 * Keys: e<index> the entries, f the format, h the hard state, m the mark behind which the log
 * starts. An index is seven bytes, big end first, so that entries are in order. All values are
 * sealed (codec/records.ts): the checksum of an entry covers its index, term, kind and data.
 */
const FORMAT_KEY = 'f';
const HARD_STATE_KEY = 'h';
const MARK_KEY = 'm';
const FORMAT = 1;

const DATABASE_OPTIONS: Omit<DatabaseOptions, 'mustExist'> = {
  synced: true,
  // Entries live shortly: the larger the buffer, the more of them are dropped before they are
  // written a second time (measured with 40 MiB of log kept: 2.6 bytes written per byte with
  // 16 MiB, 2.2 with 32, 1.7 with 64). Twice this is in memory.
  writeBufferBytes: 32 * 1_048_576,
  // Entries are read at most once again, in order, by iterators that do not fill the cache.
  blockCacheBytes: 1_048_576,
  // File content dominates, and it comes through here once more on its way to the tree.
  compression: false,
};

/** Deletes in one batch: far below a millisecond of work. */
const DELETES_MAX = 1_000;

const KINDS: readonly EntryKind[] = ['command', 'empty', 'configuration'];
/** Term u56, kind u8, then the data. */
const ENTRY_HEADER_BYTES = 8;
const ENTRY_KEY_LENGTH = 8;

export interface RocksLogOptions {
  readonly directory: string;
  /** A directory without a log is refused: this node has had one. */
  readonly mustExist: boolean;
  /** For a look from outside: `open` changes nothing, and nothing else may be written. */
  readonly readOnly?: boolean;
}

export function createRocksLogStore(options: RocksLogOptions): LogStore & StoreFigures {
  return new RocksLogStore(options);
}

class RocksLogStore implements LogStore, StoreFigures {
  private database: RocksDatabase | null = null;
  private mark: SnapshotMark = { index: 0, term: 0 };
  private lastIndex = 0;
  /** Entries up to here are certainly in the database; behind it while an append is under way. */
  private readableIndex = 0;

  constructor(private readonly options: RocksLogOptions) {}

  async open(): Promise<RestoredLog> {
    assert(this.database === null, 'a log is opened once');
    const { directory, mustExist, readOnly = false } = this.options;
    this.database = await RocksDatabase.open(directory, {
      ...DATABASE_OPTIONS,
      mustExist,
      readOnly,
    });
    try {
      return await this.restore();
    } catch (error) {
      await this.database.close();
      throw error;
    }
  }

  async append(saves: readonly Save[]): Promise<void> {
    const operations: Operation[] = [];
    let last = this.lastIndex;
    let hardState: HardState | null = null;
    for (const save of saves) {
      hardState = save.hardState ?? hardState;
      if (save.truncateFrom !== null && save.truncateFrom <= last) {
        assert(save.truncateFrom > this.mark.index, 'a compacted entry is never truncated');
        for (let index = save.truncateFrom; index <= last; index++) {
          operations.push({ type: 'del', key: entryKey(index) });
        }
        last = save.truncateFrom - 1;
        this.readableIndex = Math.min(this.readableIndex, last);
      }
      for (const entry of save.entries) {
        assert(entry.index === last + 1, 'the log has no gaps');
        operations.push({ type: 'put', key: entryKey(entry.index), value: encodeEntry(entry) });
        last = entry.index;
      }
    }
    if (hardState !== null) operations.push(putHardState(hardState));
    if (operations.length === 0) return;
    await this.opened().batch(operations, true);
    this.lastIndex = last;
    this.readableIndex = last;
  }

  async read(first: number, last: number, bytesMax: number): Promise<readonly Entry[]> {
    const end = Math.min(last, this.readableIndex);
    if (first <= this.mark.index || first > end) return [];
    const database = this.opened();
    return database.using(database.iterate(entryKey(first)), async (iterator) => {
      const entries: Entry[] = [];
      let bytes = 0;
      for (let index = first; index <= end && (bytes < bytesMax || entries.length === 0); index++) {
        const record = await iterator.next();
        if (record === null || record[0] !== entryKey(index)) throw missing(index);
        const entry = decodeEntry(index, record[1]);
        bytes += entry.data.length;
        if (bytes > bytesMax && entries.length > 0) break;
        entries.push(entry);
      }
      return entries;
    });
  }

  async compact(mark: SnapshotMark): Promise<void> {
    if (mark.index <= this.mark.index) return;
    assert(mark.index <= this.lastIndex, 'only what is in the log is compacted');
    const first = this.mark.index + 1;
    await this.opened().batch([putMark(mark, false)], true);
    this.mark = mark;
    await this.remove(first, mark.index);
  }

  async reset(mark: SnapshotMark): Promise<void> {
    const first = this.mark.index + 1;
    const last = this.lastIndex;
    this.readableIndex = 0;
    // Entries on both sides of the mark go. Should that be interrupted, `open` goes on with it.
    await this.opened().batch([putMark(mark, true)], true);
    this.mark = mark;
    this.lastIndex = mark.index;
    await this.remove(first, last);
    await this.opened().batch([putMark(mark, false)], true);
    this.readableIndex = mark.index;
  }

  async close(): Promise<void> {
    await this.database?.close();
  }

  figures(): Readonly<Record<string, number>> {
    return this.database?.figures() ?? {};
  }

  private opened(): RocksDatabase {
    if (this.database === null) throw new MootError('CLOSED', 'the log is not open');
    return this.database;
  }

  private async restore(): Promise<RestoredLog> {
    const database = this.opened();
    const [format, hardState, mark] = await database.getMany([
      FORMAT_KEY,
      HARD_STATE_KEY,
      MARK_KEY,
    ]);
    if (format === undefined) {
      if (this.options.mustExist) throw corrupt(`${this.options.directory} has lost its content`);
      await database.batch(
        [{ type: 'put', key: FORMAT_KEY, value: sealValue(FORMAT_KEY, [FORMAT]) }],
        true,
      );
    } else {
      checkFormat(openValue(FORMAT_KEY, 'format', format));
    }
    const resetting = mark === undefined ? false : this.restoreMark(mark);
    const found = resetting ? { termRuns: [], configurationEntries: [] } : await this.verify();
    if (resetting) await this.finishReset();
    this.readableIndex = this.lastIndex;
    return {
      hardState: hardState === undefined ? FIRST_HARD_STATE : decodeHardState(hardState),
      snapshot: this.mark,
      lastIndex: this.lastIndex,
      ...found,
    };
  }

  private restoreMark(sealed: Buffer): boolean {
    const r = openValue(MARK_KEY, 'mark', sealed);
    this.mark = { index: r.uint('index'), term: r.uint('term') };
    return r.bool('resetting');
  }

  /** Reads the whole log, a read-ahead at a time; removes what an interrupted compaction left. */
  private async verify(): Promise<Pick<RestoredLog, 'termRuns' | 'configurationEntries'>> {
    const database = this.opened();
    const termRuns: TermRun[] = [];
    const configurationEntries: Entry[] = [];
    let expected = this.mark.index + 1;
    let term = this.mark.term;
    let leftFrom: number | null = null;
    await database.using(database.iterate(entryKey(0)), async (iterator) => {
      for (;;) {
        const record = await iterator.next();
        if (record === null || !isEntryKey(record[0])) break;
        const index = indexOf(record[0]);
        if (index <= this.mark.index) {
          leftFrom ??= index;
          continue;
        }
        if (index !== expected) throw missing(expected);
        const entry = decodeEntry(index, record[1]);
        if (entry.term < term)
          throw corrupt(`log entry ${index} is of term ${entry.term}, after one of term ${term}`);
        if (entry.term > term || termRuns.length === 0) {
          termRuns.push({ term: entry.term, first: index });
        }
        if (entry.kind === 'configuration') configurationEntries.push(checkConfiguration(entry));
        term = entry.term;
        expected++;
      }
    });
    this.lastIndex = expected - 1;
    if (leftFrom !== null && this.options.readOnly !== true) {
      await this.remove(leftFrom, this.mark.index);
    }
    return { termRuns, configurationEntries };
  }

  private async finishReset(): Promise<void> {
    this.lastIndex = this.mark.index;
    if (this.options.readOnly === true) return;
    for (;;) {
      const keys = await this.someEntryKeys();
      if (keys.length === 0) break;
      await this.opened().batch(
        keys.map((key) => ({ type: 'del', key })),
        false,
      );
    }
    await this.opened().batch([putMark(this.mark, false)], true);
  }

  private someEntryKeys(): Promise<string[]> {
    const database = this.opened();
    return database.using(database.iterate(entryKey(0), { values: false }), async (iterator) => {
      const keys: string[] = [];
      while (keys.length < DELETES_MAX) {
        const record = await iterator.next();
        if (record === null || !isEntryKey(record[0])) break;
        keys.push(record[0]);
      }
      return keys;
    });
  }

  /** Not synced: what comes back after a crash is removed at `open`. */
  private async remove(first: number, last: number): Promise<void> {
    for (let from = first; from <= last; from += DELETES_MAX) {
      const to = Math.min(from + DELETES_MAX - 1, last);
      const operations: Operation[] = [];
      for (let index = from; index <= to; index++) {
        operations.push({ type: 'del', key: entryKey(index) });
      }
      await this.opened().batch(operations, false);
    }
  }
}

/** What a node is that has never saved anything. */
const FIRST_HARD_STATE: HardState = { term: 0, vote: null, recovering: true };

function putHardState({ term, vote, recovering }: HardState): Operation {
  const value = sealValue(HARD_STATE_KEY, [term, vote, recovering]);
  return { type: 'put', key: HARD_STATE_KEY, value };
}

function decodeHardState(sealed: Buffer): HardState {
  const r = openValue(HARD_STATE_KEY, 'hard state', sealed);
  return {
    term: r.uint('term'),
    vote: r.nullableString('vote', 64),
    recovering: r.bool('recovering'),
  };
}

function putMark(mark: SnapshotMark, resetting: boolean): Operation {
  const value = sealValue(MARK_KEY, [mark.index, mark.term, resetting]);
  return { type: 'put', key: MARK_KEY, value };
}

function checkFormat(r: Reader): void {
  const format = r.uint('format');
  if (format !== FORMAT) throw corrupt(`the log has the unknown format ${format}`);
}

function sealValue(key: string, fields: readonly unknown[]): Buffer {
  return seal(key, pack(fields));
}

function openValue(key: string, what: string, sealed: Buffer): Reader {
  try {
    return new Reader(unpack(unseal(key, sealed)), what);
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', `the log's ${what} is damaged`, { cause });
  }
}

function entryKey(index: number): string {
  return `e${number56(index)}`;
}

function isEntryKey(key: string): boolean {
  return key.startsWith('e') && key.length === ENTRY_KEY_LENGTH;
}

function indexOf(key: string): number {
  return parse56(key, 1);
}

function encodeEntry(entry: Entry): Buffer {
  const payload = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + entry.data.length);
  payload.writeUIntBE(Math.floor(entry.term / 2 ** 32), 0, 3);
  payload.writeUInt32BE(entry.term % 2 ** 32, 3);
  payload.writeUInt8(KINDS.indexOf(entry.kind), 7);
  payload.set(entry.data, ENTRY_HEADER_BYTES);
  return seal(entryKey(entry.index), payload);
}

function decodeEntry(index: number, sealed: Buffer): Entry {
  let payload: Buffer;
  try {
    payload = unseal(entryKey(index), sealed);
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', `log entry ${index} is damaged`, { cause });
  }
  const kind = payload.length < ENTRY_HEADER_BYTES ? undefined : KINDS[payload.readUInt8(7)];
  if (kind === undefined) throw corrupt(`log entry ${index} is of an unknown kind`);
  const term = payload.readUIntBE(0, 3) * 2 ** 32 + payload.readUInt32BE(3);
  return { index, term, kind, data: payload.subarray(ENTRY_HEADER_BYTES) };
}

function checkConfiguration(entry: Entry): Entry {
  try {
    decodeConfiguration(entry.data);
    return entry;
  } catch (cause) {
    const message = `log entry ${entry.index} does not hold a configuration of the members`;
    throw new MootError('DATA_CORRUPT', message, { cause });
  }
}

function missing(index: number): MootError {
  return corrupt(`log entry ${index} is missing`);
}

function corrupt(what: string): MootError {
  return new MootError('DATA_CORRUPT', what);
}
