import { number56, parse56 } from '../base/binary-key.js';
import { pack, unpack } from '../codec/msgpack.js';
import { Reader } from '../codec/reader.js';
import { corruptRecord, seal, unseal } from '../codec/records.js';
import type { DataFiles, Place } from './data-files.js';
import type { Operation, RocksDatabase } from './rocksdb.js';

/** In front of all tables' letters: the number of data files, and behind it a record for each of them. */
const REGISTER_KEY = '\u0001d';
const FILE_KEY_LENGTH = REGISTER_KEY.length + 7;

/**
 * Which data files a tree's database counts on, and how long they are at least. Kept in the same
 * batches as what refers to them: so a file that is missing or has lost its end is known at the
 * start, and a file that is not in the register is of no use.
 */
export class FileRegister {
  private readonly files = new Map<number, number>();

  constructor(private readonly database: RocksDatabase) {}

  get bytes(): ReadonlyMap<number, number> {
    return this.files;
  }

  /** DATA_CORRUPT when it is not whole. */
  async load(): Promise<void> {
    const count = await this.database.get(REGISTER_KEY);
    if (count === undefined) throw corruptRecord(REGISTER_KEY, 'is missing');
    const files = readNumber(REGISTER_KEY, count);
    await this.database.using(this.database.iterate(fileKey(0)), async (iterator) => {
      while (this.files.size < files) {
        const record = await iterator.next();
        const isFile = record?.[0].startsWith(REGISTER_KEY) && record[0].length === FILE_KEY_LENGTH;
        if (!record || !isFile) throw corruptRecord(REGISTER_KEY, 'lacks a file');
        this.files.set(parse56(record[0], REGISTER_KEY.length), readNumber(...record));
      }
    });
  }

  /** For a database without one. */
  start(files: ReadonlyMap<number, number>): Operation[] {
    for (const [file, bytes] of files) this.files.set(file, bytes);
    return [...[...files.keys()].map((file) => this.putFile(file)), this.putCount()];
  }

  /** The files with these places are as long as they are now. */
  note(places: readonly Place[], lengths: Pick<DataFiles, 'bytesOf'>): Operation[] {
    const before = this.files.size;
    const changed = [...new Set(places.map(({ file }) => file))];
    for (const file of changed) this.files.set(file, lengths.bytesOf([file]));
    const operations = changed.map((file) => this.putFile(file));
    return this.files.size === before ? operations : [...operations, this.putCount()];
  }

  remove(files: readonly number[]): Operation[] {
    for (const file of files) this.files.delete(file);
    return [
      ...files.map((file) => ({ type: 'del', key: fileKey(file) }) as const),
      this.putCount(),
    ];
  }

  private putFile(file: number): Operation {
    return putNumber(fileKey(file), this.files.get(file) ?? 0);
  }

  private putCount(): Operation {
    return putNumber(REGISTER_KEY, this.files.size);
  }
}

function fileKey(file: number): string {
  return REGISTER_KEY + number56(file);
}

function putNumber(key: string, value: number): Operation {
  return { type: 'put', key, value: seal(key, pack([value])) };
}

function readNumber(key: string, sealed: Buffer): number {
  return new Reader(unpack(unseal(key, sealed)), 'the register of data files').uint('number');
}
