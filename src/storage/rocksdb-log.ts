import { join } from 'node:path';
import { assert } from '../base/assert.js';
import { number56, parse56 } from '../base/binary-key.js';
import { isMootError, MootError } from '../base/errors.js';
import { decodeConfiguration } from '../codec/configuration.js';
import { pack, unpack } from '../codec/msgpack.js';
import { Reader } from '../codec/reader.js';
import { seal, unseal } from '../codec/records.js';
import type { Entry, EntryKind, HardState, Save, SnapshotMark, TermRun } from '../raft/types.js';
import { DataFiles, decodePlace, encodePlace, type Place } from './data-files.js';
import type { StoreFigures } from './figures.js';
import type { LogStore, RestoredLog } from './log-store.js';
import {
  type DatabaseOptions,
  type KeyValue,
  type Operation,
  RocksDatabase,
  type RocksIterator,
} from './rocksdb.js';

/**
 * Keys: e<index> the entries, f the format, h the hard state, m the mark behind which the log
 * starts. An index is seven bytes, big end first, so that entries are in order. All values are
 * sealed (codec/records.ts): the checksum of an entry covers its index, term, kind and data, or
 * where its data lies among the data files and that data's checksum. Data is in its file, synced,
 * before an entry refers to it: so whatever an entry refers to must be there.
 */
const FORMAT_KEY = 'f';
const HARD_STATE_KEY = 'h';
const MARK_KEY = 'm';
/** 1: all data is in the database. Such a log is taken over as it is. */
const FORMAT = 2;
const OLDEST_FORMAT = 1;
const DATA_DIRECTORY = 'data';

/**
 * An append with so many bytes of larger entries puts these into data files. Below that one sync of
 * the database alone is faster than two.
 */
const FILED_BYTES_MIN = 262_144;
const FILED_ENTRY_BYTES_MIN = 4_096;
/** A part of what is kept of the log, so that little more than that is on disk. */
const FILE_BYTES = 16 * 1_048_576;

const DATABASE_OPTIONS: Omit<DatabaseOptions, 'mustExist'> = {
  synced: true,
  // Entries live shortly: the larger the buffer, the more of them are dropped before they are
  // written a second time. Twice this is in memory.
  writeBufferBytes: 16 * 1_048_576,
  // Entries are read at most once again, in order, by iterators that do not fill the cache.
  blockCacheBytes: 1_048_576,
  compression: false,
};

/** Deletes in one batch: far below a millisecond of work. */
const DELETES_MAX = 1_000;

/** Of the entries whose data is in files. */
type Places = ReadonlyMap<Entry, Place>;
const NO_PLACES: Places = new Map();

const KINDS: readonly EntryKind[] = ['command', 'empty', 'configuration'];
/** Term u56, kind u8, then the data or its place. */
const ENTRY_HEADER_BYTES = 8;
/** Added to the kind: a place follows. */
const IN_FILE = 0x80;
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
  private preparedReset: SnapshotMark | null = null;
  private lastIndex = 0;
  /** Entries up to here are removed; those from there to the mark are forgotten and still there. */
  private sweptIndex = 0;
  private sweeping: Promise<void> = Promise.resolve();
  /** Entries up to here are certainly in the database; behind it while an append is under way. */
  private readableIndex = 0;
  private readonly files: DataFiles;
  /** The last index whose data is in each data file. */
  private readonly lastIn = new Map<number, number>();
  /** What they found in the database may be in a file that is about to go. */
  private readonly reads = new Set<Promise<unknown>>();

  constructor(private readonly options: RocksLogOptions) {
    this.files = new DataFiles(join(options.directory, DATA_DIRECTORY), FILE_BYTES);
  }

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
      await this.close();
      throw error;
    }
  }

  async append(saves: readonly Save[]): Promise<void> {
    for (const { truncateFrom } of saves) {
      if (truncateFrom !== null)
        this.readableIndex = Math.min(this.readableIndex, truncateFrom - 1);
    }
    const large = largeOf(saves);
    // Awaited only where there are some: what the caller does next would come before the disk's work.
    const places = large.length === 0 ? NO_PLACES : await this.putInFiles(large);
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
      }
      for (const entry of save.entries) {
        assert(entry.index === last + 1, 'the log has no gaps');
        const value = encodeEntry(entry, places.get(entry));
        operations.push({ type: 'put', key: entryKey(entry.index), value });
        last = entry.index;
      }
    }
    if (hardState !== null) operations.push(putHardState(hardState));
    if (operations.length === 0) return;
    await this.write(operations);
    this.lastIndex = last;
    this.readableIndex = last;
  }

  async read(first: number, last: number, bytesMax: number): Promise<readonly Entry[]> {
    const end = Math.min(last, this.readableIndex);
    if (first <= this.mark.index || first > end) return [];
    const read = this.readFrom(first, end, bytesMax);
    this.reads.add(read);
    try {
      return await read;
    } finally {
      this.reads.delete(read);
    }
  }

  private readFrom(first: number, end: number, bytesMax: number): Promise<readonly Entry[]> {
    const database = this.opened();
    return database.using(database.iterate(entryKey(first)), async (iterator) => {
      const entries: Entry[] = [];
      let bytes = 0;
      for (let index = first; index <= end && (bytes < bytesMax || entries.length === 0); index++) {
        const record = await iterator.next();
        if (record === null || record[0] !== entryKey(index)) throw missing(index);
        const stored = decodeEntry(index, record[1]);
        bytes += stored.place === null ? stored.data.length : stored.place.length;
        if (bytes > bytesMax && entries.length > 0) break;
        entries.push(await this.entryOf(stored));
      }
      return entries;
    });
  }

  async compact(mark: SnapshotMark): Promise<void> {
    if (mark.index <= this.mark.index) return;
    assert(mark.index <= this.lastIndex, 'only what is in the log is compacted');
    await this.write([putMark(mark, false)]);
    this.mark = mark;
    this.preparedReset = null;
  }

  sweep(): Promise<void> {
    this.sweeping = this.sweeping.then(() => this.removeForgotten());
    return this.sweeping;
  }

  private async removeForgotten(): Promise<void> {
    const { index: upTo } = this.mark;
    await this.remove(this.sweptIndex + 1, upTo);
    this.sweptIndex = Math.max(this.sweptIndex, upTo);
    const last = Math.max(0, ...this.lastIn.keys());
    // The last file may be appended to, and is dropped with a later one.
    await this.removeFiles((index, file) => index <= upTo && file < last);
  }

  async prepareReset(mark: SnapshotMark | null): Promise<void> {
    await this.write([putMark(this.mark, false, mark)]);
    this.preparedReset = mark;
  }

  async reset(mark: SnapshotMark): Promise<void> {
    const first = this.sweptIndex + 1;
    const last = this.lastIndex;
    this.readableIndex = 0;
    // Entries on both sides of the mark go. Should that be interrupted, `open` goes on with it.
    await this.write([putMark(mark, true)]);
    this.mark = mark;
    this.preparedReset = null;
    this.lastIndex = mark.index;
    await this.remove(first, last);
    this.sweptIndex = Math.max(this.sweptIndex, mark.index);
    await this.removeFiles(() => true);
    await this.write([putMark(mark, false)]);
    this.readableIndex = mark.index;
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.sweeping]);
    await this.database?.close();
    await this.files.close();
  }

  /** The places of entries that are better kept in files. */
  private async putInFiles(large: readonly Entry[]): Promise<Places> {
    const placeOf = new Map<Entry, Place>();
    const places = await this.files.append(large.map((entry) => entry.data));
    for (const [i, place] of places.entries()) {
      const entry = large[i];
      assert(entry !== undefined, 'each entry has its place');
      placeOf.set(entry, place);
      this.note(place, entry.index);
    }
    return placeOf;
  }

  private note({ file }: Place, index: number): void {
    this.lastIn.set(file, Math.max(this.lastIn.get(file) ?? 0, index));
  }

  private async removeFiles(which: (lastIndex: number, file: number) => boolean): Promise<void> {
    const gone = [...this.lastIn].filter(([file, index]) => which(index, file));
    for (const [file] of gone) this.lastIn.delete(file);
    await Promise.allSettled(this.reads);
    await this.files.remove(gone.map(([file]) => file));
  }

  private async entryOf({ index, term, kind, data, place }: StoredEntry): Promise<Entry> {
    if (data !== null) return { index, term, kind, data };
    try {
      const [read] = await this.files.read([place]);
      assert(read !== undefined, 'a place has its data');
      return { index, term, kind, data: read };
    } catch (cause) {
      if (!isMootError(cause, 'DATA_CORRUPT')) throw cause;
      throw new MootError('DATA_CORRUPT', `log entry ${index} is damaged: ${cause.message}`, {
        cause,
      });
    }
  }

  figures(): Readonly<Record<string, number>> {
    return { ...this.database?.figures(), 'data-files-size': this.files.bytes };
  }

  private opened(): RocksDatabase {
    if (this.database === null) throw new MootError('CLOSED', 'the log is not open');
    return this.database;
  }

  private async restore(): Promise<RestoredLog> {
    const database = this.opened();
    const { readOnly = false } = this.options;
    const [format, hardState, mark] = await database.getMany([
      FORMAT_KEY,
      HARD_STATE_KEY,
      MARK_KEY,
    ]);
    if (format === undefined) {
      if (this.options.mustExist) throw corrupt(`${this.options.directory} has lost its content`);
      await database.batch([putFormat()], true);
    } else {
      const older = readFormat(openValue(FORMAT_KEY, 'format', format)) !== FORMAT;
      if (older && !readOnly) await database.batch([putFormat()], true);
    }
    await this.files.open({ readOnly });
    const resetting = mark === undefined ? false : this.restoreMark(mark);
    const found = resetting ? { termRuns: [], configurationEntries: [] } : await this.verify();
    if (resetting) await this.finishReset();
    // What was never acknowledged, or was compacted.
    const unused = this.files.closed.filter((file) => !this.lastIn.has(file.number));
    if (!readOnly) await this.files.remove(unused.map((file) => file.number));
    this.readableIndex = this.lastIndex;
    this.sweptIndex = this.mark.index;
    return {
      hardState: hardState === undefined ? FIRST_HARD_STATE : decodeHardState(hardState),
      snapshot: this.mark,
      preparedReset: this.preparedReset,
      lastIndex: this.lastIndex,
      ...found,
    };
  }

  private restoreMark(sealed: Buffer): boolean {
    const r = openValue(MARK_KEY, 'mark', sealed);
    this.mark = { index: r.uint('index'), term: r.uint('term') };
    const resetting = r.bool('resetting');
    // Not in logs of old.
    if (r.more)
      this.preparedReset = { index: r.uint('prepared index'), term: r.uint('prepared term') };
    return resetting;
  }

  /** Reads the whole log, a read-ahead at a time; removes what an interrupted compaction left. */
  private async verify(): Promise<Pick<RestoredLog, 'termRuns' | 'configurationEntries'>> {
    const database = this.opened();
    const termRuns: TermRun[] = [];
    const configurationEntries: Entry[] = [];
    let expected = this.mark.index + 1;
    let term = this.mark.term;
    let leftFrom: number | null = null;
    // From the very first record to the last: what has no known key is an entry whose key is damaged.
    await database.using(database.iterate(''), async (iterator) => {
      for (;;) {
        const record = await iterator.next();
        if (record === null || !isEntryKey(record[0])) {
          await checkRest(iterator, record);
          break;
        }
        const index = indexOf(record[0]);
        if (index <= this.mark.index) {
          leftFrom ??= index;
          continue;
        }
        if (index !== expected) throw missing(expected);
        const stored = decodeEntry(index, record[1]);
        if (stored.place !== null) this.note(stored.place, index);
        const entry = await this.entryOf(stored);
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
    // What was read was not verified; a get is.
    if ((await database.get(entryKey(expected))) !== undefined) throw missing(expected);
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
      await this.write(keys.map((key) => ({ type: 'del', key })));
    }
    await this.write([putMark(this.mark, false)]);
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

  private async remove(first: number, last: number): Promise<void> {
    for (let from = first; from <= last; from += DELETES_MAX) {
      const to = Math.min(from + DELETES_MAX - 1, last);
      const operations: Operation[] = [];
      for (let index = from; index <= to; index++) {
        operations.push({ type: 'del', key: entryKey(index) });
      }
      await this.write(operations);
    }
  }

  /**
   * Synced, whatever it is: a power loss may leave a hole in what was not, and a hole before something
   * that was synced is damage (rocksdb-check.ts).
   */
  private write(operations: readonly Operation[]): Promise<void> {
    return this.opened().batch(operations, true);
  }
}

/** What a node is that has never saved anything. */
const FIRST_HARD_STATE: HardState = {
  term: 0,
  vote: null,
  recovering: true,
  incarnation: 0,
};

/** Entries that go into data files; none when they are few. */
function largeOf(saves: readonly Save[]): readonly Entry[] {
  let bytes = 0;
  const large: Entry[] = [];
  for (const { entries } of saves) {
    for (const entry of entries) {
      if (entry.data.length < FILED_ENTRY_BYTES_MIN) continue;
      bytes += entry.data.length;
      large.push(entry);
    }
  }
  return bytes < FILED_BYTES_MIN ? [] : large;
}

function putHardState({ term, vote, recovering, incarnation }: HardState): Operation {
  const value = sealValue(HARD_STATE_KEY, [term, vote, recovering, incarnation]);
  return { type: 'put', key: HARD_STATE_KEY, value };
}

function decodeHardState(sealed: Buffer): HardState {
  const r = openValue(HARD_STATE_KEY, 'hard state', sealed);
  return {
    term: r.uint('term'),
    vote: r.nullableString('vote', 64),
    recovering: r.bool('recovering'),
    // Not in logs of old.
    incarnation: r.more ? r.uint('incarnation') : 0,
  };
}

function putMark(
  mark: SnapshotMark,
  resetting: boolean,
  prepared: SnapshotMark | null = null,
): Operation {
  const more = prepared === null ? [] : [prepared.index, prepared.term];
  const value = sealValue(MARK_KEY, [mark.index, mark.term, resetting, ...more]);
  return { type: 'put', key: MARK_KEY, value };
}

function putFormat(): Operation {
  return { type: 'put', key: FORMAT_KEY, value: sealValue(FORMAT_KEY, [FORMAT]) };
}

function readFormat(r: Reader): number {
  const format = r.uint('format');
  if (format >= OLDEST_FORMAT && format <= FORMAT) return format;
  throw corrupt(`the log has the unknown format ${format}`);
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

/** An entry, or all of it but the data, which is in a file. */
type StoredEntry = Omit<Entry, 'data'> &
  (
    | { readonly data: Uint8Array; readonly place: null }
    | { readonly data: null; readonly place: Place }
  );

function encodeEntry(entry: Entry, place: Place | undefined): Buffer {
  const header = Buffer.allocUnsafe(ENTRY_HEADER_BYTES);
  header.writeUIntBE(Math.floor(entry.term / 2 ** 32), 0, 3);
  header.writeUInt32BE(entry.term % 2 ** 32, 3);
  header.writeUInt8(KINDS.indexOf(entry.kind) + (place === undefined ? 0 : IN_FILE), 7);
  const rest = place === undefined ? entry.data : encodePlace(place);
  return seal(entryKey(entry.index), Buffer.concat([header, rest]));
}

function decodeEntry(index: number, sealed: Buffer): StoredEntry {
  let payload: Buffer;
  try {
    payload = unseal(entryKey(index), sealed);
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', `log entry ${index} is damaged`, { cause });
  }
  const kindByte = payload.length < ENTRY_HEADER_BYTES ? 0xff : payload.readUInt8(7);
  const kind = KINDS[kindByte & ~IN_FILE];
  if (kind === undefined) throw corrupt(`log entry ${index} is of an unknown kind`);
  const term = payload.readUIntBE(0, 3) * 2 ** 32 + payload.readUInt32BE(3);
  const rest = payload.subarray(ENTRY_HEADER_BYTES);
  if ((kindByte & IN_FILE) === 0) return { index, term, kind, data: rest, place: null };
  const place = decodePlace(rest);
  if (place === null) throw corrupt(`log entry ${index} does not say where its data is`);
  return { index, term, kind, data: null, place };
}

/** Behind the entries lie the format and what else there is one of, and nothing more. */
async function checkRest(iterator: RocksIterator, first: KeyValue | null): Promise<void> {
  let record = first;
  for (const key of [FORMAT_KEY, HARD_STATE_KEY, MARK_KEY]) {
    if (record?.[0] === key) {
      openValue(key, 'record', record[1]);
      record = await iterator.next();
    } else if (key === FORMAT_KEY) throw corrupt('what follows the last log entry is damaged');
  }
  if (record !== null) throw corrupt('the log has a record with a damaged key');
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
