import { type FileHandle, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import { syncDirectory } from './files.js';

/** Where data lies in the files, and its CRC-32. */
export interface Place {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
  readonly checksum: number;
}

/** File u32, offset u32, length u32, checksum u32. */
const PLACE_BYTES = 16;
/** IOV_MAX of limits.h: buffers in one call. */
const BUFFERS_MAX = 1_024;
/** Files kept open for reading. */
const OPEN_FILES_MAX = 64;

interface OpenFile {
  readonly handle: Promise<FileHandle>;
  /** It is not closed while there are any. */
  readonly uses: Set<Promise<unknown>>;
}

/** A file that data is appended to no more. */
export interface ClosedFile {
  readonly number: number;
  readonly bytes: number;
}

/**
 * Large data in files of its own, appended and never changed; what is where, a database knows. To
 * go through RocksDB costs data two more copies in memory, two checksums without the processor's
 * help and up to four writes; here it is written once. One writer at a time; reads may run beside it.
 */
export class DataFiles {
  private readonly files = new Map<number, OpenFile>();
  private readonly sizes = new Map<number, number>();
  /** The file that is appended to; none before the first append. */
  private current: { readonly number: number; readonly handle: FileHandle } | null = null;
  private lastNumber = 0;
  private closing = false;

  /** A file of `fileBytes` gets a successor: what is removed is removed a file at a time. */
  constructor(
    private readonly directory: string,
    private readonly fileBytes: number,
  ) {}

  /** Makes the directory when it is missing, unless `readOnly`. What was there is appended to no more. */
  async open({ readOnly }: { readonly readOnly: boolean }): Promise<void> {
    await this.guard(async () => {
      if (!readOnly) {
        await mkdir(this.directory, { recursive: true });
        await syncDirectory(dirname(this.directory));
      }
      for (const name of await namesIn(this.directory)) {
        const digits = /^(\d+)\.data$/.exec(name)?.[1];
        if (digits === undefined) continue;
        const { size } = await stat(join(this.directory, name));
        this.sizes.set(Number(digits), size);
        this.lastNumber = Math.max(this.lastNumber, Number(digits));
      }
    });
  }

  /** Of all files. */
  get bytes(): number {
    return this.bytesOf(this.sizes.keys());
  }

  get closed(): readonly ClosedFile[] {
    return [...this.sizes]
      .filter(([number]) => number !== this.current?.number)
      .map(([number, bytes]) => ({ number, bytes }));
  }

  /** Of these; what is not there has none. */
  bytesOf(numbers: Iterable<number>): number {
    let bytes = 0;
    for (const number of numbers) bytes += this.sizes.get(number) ?? 0;
    return bytes;
  }

  /** What is there is appended to no more. Not while an append is under way. */
  endFile(): void {
    this.current = null;
  }

  /** DATA_CORRUPT unless the file has at least so many bytes, which were once synced. */
  check(number: number, bytes: number): void {
    const size = this.sizes.get(number);
    const path = this.pathOf(number);
    if (size === undefined) throw new MootError('DATA_CORRUPT', `${path} is missing`);
    if (size < bytes) throw new MootError('DATA_CORRUPT', `${path} has lost its end`);
  }

  /** On disk, synced, when the promise resolves: one place for each part. */
  append(parts: readonly Uint8Array[]): Promise<Place[]> {
    return this.guard(async () => {
      const { number, handle } = await this.fileToAppend();
      const start = this.sizes.get(number) ?? 0;
      let offset = start;
      const places = parts.map((part) => {
        const place = { file: number, offset, length: part.length, checksum: crc32(part) };
        offset += part.length;
        return place;
      });
      await writeAll(handle, parts, start);
      await handle.datasync();
      this.sizes.set(number, offset);
      return places;
    });
  }

  /** The data at each place; DATA_CORRUPT, naming the file, when it is not there as it was written. */
  async read(places: readonly Place[]): Promise<Buffer[]> {
    const parts = places.map((place) => Buffer.allocUnsafeSlow(place.length));
    for (let from = 0; from < places.length; ) {
      const end = endOfRun(places, from);
      await this.readRun(places.slice(from, end), parts.slice(from, end));
      from = end;
    }
    return parts;
  }

  /** Removes files that nothing refers to. After a crash they may be there again. */
  async remove(numbers: readonly number[]): Promise<void> {
    await this.guard(async () => {
      for (const number of numbers) {
        if (this.current?.number === number) this.current = null;
        this.sizes.delete(number);
        await unlink(this.pathOf(number)).catch(ignoreMissing);
        await this.closeFile(number);
      }
    });
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.closing = true;
    this.current = null;
    await Promise.allSettled([...this.files.keys()].map((number) => this.closeFile(number)));
  }

  private async readRun(places: readonly Place[], parts: readonly Buffer[]): Promise<void> {
    const [first] = places;
    if (first === undefined) return;
    const path = this.pathOf(first.file);
    const wanted = places.reduce((sum, place) => sum + place.length, 0);
    const bytes = await this.guard(() =>
      this.using(first.file, (handle) => readAll(handle, parts, first.offset)),
    );
    if (bytes === null) throw new MootError('DATA_CORRUPT', `${path} is missing`);
    if (bytes < wanted) throw new MootError('DATA_CORRUPT', `${path} has lost its end`);
    for (const [i, { offset, checksum }] of places.entries()) {
      const part = parts[i];
      assert(part !== undefined, 'each place has its part');
      if (crc32(part) === checksum) continue;
      throw new MootError('DATA_CORRUPT', `${path} at ${offset} does not match its checksum`);
    }
  }

  private async fileToAppend(): Promise<{ readonly number: number; readonly handle: FileHandle }> {
    const { current } = this;
    if (current !== null && (this.sizes.get(current.number) ?? 0) < this.fileBytes) return current;
    if (this.closing) throw this.closedError();
    const number = ++this.lastNumber;
    const handle = await open(this.pathOf(number), 'wx+', 0o644);
    this.files.set(number, { handle: Promise.resolve(handle), uses: new Set() });
    this.sizes.set(number, 0);
    await syncDirectory(this.directory);
    this.current = { number, handle };
    return this.current;
  }

  /** null: there is no such file. It stays open until the use is over. */
  private async using<T>(
    number: number,
    use: (handle: FileHandle) => Promise<T>,
  ): Promise<T | null> {
    if (this.closing) throw this.closedError();
    const file = this.files.get(number) ?? {
      handle: open(this.pathOf(number), 'r'),
      uses: new Set(),
    };
    // The one used last is the last to go.
    this.files.delete(number);
    this.files.set(number, file);
    const used = this.useOf(number, file, use);
    file.uses.add(used);
    this.closeOldest();
    try {
      return await used;
    } finally {
      file.uses.delete(used);
      this.closeOldest();
    }
  }

  private async useOf<T>(
    number: number,
    file: OpenFile,
    use: (handle: FileHandle) => Promise<T>,
  ): Promise<T | null> {
    let handle: FileHandle;
    try {
      handle = await file.handle;
    } catch (error) {
      if (this.files.get(number) === file) this.files.delete(number);
      ignoreMissing(error);
      return null;
    }
    return use(handle);
  }

  private closeOldest(): void {
    if (this.files.size <= OPEN_FILES_MAX) return;
    for (const [number, { uses }] of this.files) {
      if (number === this.current?.number || uses.size > 0) continue;
      this.closeFile(number).catch(() => {
        // It was open for reading: nothing is lost.
      });
      return;
    }
  }

  /** Waits for what is under way. */
  private async closeFile(number: number): Promise<void> {
    const file = this.files.get(number);
    if (file === undefined) return;
    this.files.delete(number);
    await Promise.allSettled(file.uses);
    await (await file.handle).close();
  }

  private closedError(): MootError {
    return new MootError('CLOSED', `the files in ${this.directory} are closed`);
  }

  private pathOf(number: number): string {
    return join(this.directory, `${String(number).padStart(10, '0')}.data`);
  }

  private async guard<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof MootError) throw error;
      throw new MootError('DISK_FAILED', `the files in ${this.directory}`, { cause: error });
    }
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    ignoreMissing(error);
    return [];
  }
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

/** write(2) may write less than it was given. */
async function writeAll(
  handle: FileHandle,
  parts: readonly Uint8Array[],
  offset: number,
): Promise<void> {
  let at = offset;
  let rest = parts.filter((part) => part.length > 0);
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest.slice(0, BUFFERS_MAX), at);
    assert(bytesWritten > 0, 'a write that does not fail writes something');
    at += bytesWritten;
    rest = behind(rest, bytesWritten);
  }
}

function behind(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  let whole = 0;
  for (const part of parts) {
    if (part.length > left) break;
    left -= part.length;
    whole++;
  }
  const rest = parts.slice(whole);
  const [first] = rest;
  if (first !== undefined && left > 0) rest[0] = first.subarray(left);
  return rest;
}

/** Resolves to how many bytes there were for the parts, one behind the other. */
async function readAll(
  handle: FileHandle,
  parts: readonly Uint8Array[],
  offset: number,
): Promise<number> {
  let length = 0;
  let rest = parts.filter((part) => part.length > 0);
  while (rest.length > 0) {
    const { bytesRead } = await handle.readv(rest.slice(0, BUFFERS_MAX), offset + length);
    if (bytesRead === 0) break;
    length += bytesRead;
    rest = behind(rest, bytesRead);
  }
  return length;
}

/** Places that lie one behind the other are read together. */
function endOfRun(places: readonly Place[], from: number): number {
  for (let end = from + 1; ; end++) {
    const last = places[end - 1];
    const next = places[end];
    const follows =
      last !== undefined && next?.file === last.file && next.offset === last.offset + last.length;
    if (!follows) return end;
  }
}

export function encodePlace({ file, offset, length, checksum }: Place): Buffer {
  const place = Buffer.allocUnsafe(PLACE_BYTES);
  for (const [i, number] of [file, offset, length, checksum].entries()) {
    place.writeUInt32BE(number, 4 * i);
  }
  return place;
}

/** null: it is none. */
export function decodePlace(place: Buffer): Place | null {
  if (place.length !== PLACE_BYTES) return null;
  return {
    file: place.readUInt32BE(0),
    offset: place.readUInt32BE(4),
    length: place.readUInt32BE(8),
    checksum: place.readUInt32BE(12),
  };
}
