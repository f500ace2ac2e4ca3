import { type FileHandle, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
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

/** A file that is this long gets a successor: what is dropped is dropped a file at a time. */
const FILE_BYTES = 16 * 1_048_576;
/** IOV_MAX of limits.h: buffers in one call. */
const BUFFERS_MAX = 1_024;

/**
 * Large data in files of its own, appended and never changed; what is where, a database knows. To
 * go through RocksDB costs data two more copies in memory, two checksums without the processor's
 * help and up to three writes; here it is written once. One writer at a time; reads may run beside it.
 */
export class DataFiles {
  private readonly handles = new Map<number, Promise<FileHandle>>();
  /** The file that is appended to; none before the first append. */
  private current: { readonly number: number; readonly handle: FileHandle; bytes: number } | null =
    null;
  private lastNumber = 0;

  constructor(private readonly directory: string) {}

  /** Makes the directory when it is missing; resolves to the numbers of the files in it. */
  async open(): Promise<readonly number[]> {
    return this.guard(async () => {
      await mkdir(this.directory, { recursive: true });
      const names = await readdir(this.directory);
      const numbers = names.flatMap((name) => /^(\d+)\.data$/.exec(name)?.[1] ?? []).map(Number);
      this.lastNumber = Math.max(0, ...numbers);
      return numbers;
    });
  }

  /** On disk, synced, when the promise resolves: one place for each part. */
  async append(parts: readonly Uint8Array[]): Promise<Place[]> {
    return this.guard(async () => {
      const file = await this.fileToAppend();
      let offset = file.bytes;
      const places = parts.map((part) => {
        const place = { file: file.number, offset, length: part.length, checksum: crc32(part) };
        offset += part.length;
        return place;
      });
      await writeAll(file.handle, parts, file.bytes);
      await file.handle.datasync();
      file.bytes = offset;
      return places;
    });
  }

  /** The data at `place`; DATA_CORRUPT, naming the file, when it is not there as it was written. */
  async read(place: Place): Promise<Buffer> {
    const path = this.pathOf(place.file);
    const data = Buffer.allocUnsafeSlow(place.length);
    const bytes = await this.guard(async () => {
      const handle = await this.handleOf(place.file);
      return handle === null ? null : readAll(handle, data, place.offset);
    });
    if (bytes === null) throw new MootError('DATA_CORRUPT', `${path} is missing`);
    if (bytes < data.length) throw new MootError('DATA_CORRUPT', `${path} has lost its end`);
    if (crc32(data) !== place.checksum) {
      throw new MootError('DATA_CORRUPT', `${path} at ${place.offset} does not match its checksum`);
    }
    return data;
  }

  /** Removes files that nothing refers to. After a crash they may be there again. */
  async remove(numbers: readonly number[]): Promise<void> {
    await this.guard(async () => {
      for (const number of numbers) {
        if (this.current?.number === number) this.current = null;
        const handle = this.handles.get(number);
        this.handles.delete(number);
        await unlink(this.pathOf(number)).catch(ignoreMissing);
        await (await handle)?.close();
      }
    });
  }

  /** Waits for the reads under way. */
  async close(): Promise<void> {
    const handles = await Promise.allSettled(this.handles.values());
    this.handles.clear();
    this.current = null;
    for (const handle of handles) if (handle.status === 'fulfilled') await handle.value.close();
  }

  private async fileToAppend() {
    if (this.current !== null && this.current.bytes < FILE_BYTES) return this.current;
    const number = ++this.lastNumber;
    const handle = await open(this.pathOf(number), 'wx+', 0o644);
    this.handles.set(number, Promise.resolve(handle));
    await syncDirectory(this.directory);
    this.current = { number, handle, bytes: 0 };
    return this.current;
  }

  /** null: there is no such file. */
  private async handleOf(number: number): Promise<FileHandle | null> {
    let handle = this.handles.get(number);
    if (handle === undefined) {
      handle = open(this.pathOf(number), 'r');
      this.handles.set(number, handle);
    }
    try {
      return await handle;
    } catch (error) {
      this.handles.delete(number);
      ignoreMissing(error);
      return null;
    }
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

/** Resolves to how many bytes there were, at most `data.length`. */
async function readAll(handle: FileHandle, data: Buffer, offset: number): Promise<number> {
  let length = 0;
  while (length < data.length) {
    const { bytesRead } = await handle.read(data, length, data.length - length, offset + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}
