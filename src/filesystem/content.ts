import type { Draft } from './draft.js';
import { getAll, type Records } from './draft.js';
import { chunkKey, chunkRange, type Key } from './keys.js';
import { CHUNK_BYTES, type Inode } from './records.js';

/**
 * The bytes of regular files. A content is a row of chunks, each of which may be shorter than
 * CHUNK_BYTES or not there at all: what is not stored is zeros. No chunk reaches beyond the end of
 * its file, so that a file that grows grows by zeros. Nobody else knows how content is stored.
 */

/** Chunks looked at in one step when a file is cut: bounds what is asked of the view at once (2 MiB). */
const SCAN_CHUNKS = 64;
/**
 * Up to this many kept chunks (1 MiB) are copied to a new content when a file is cut that has far
 * more: then the old content is discarded as a whole, without looking at its chunks.
 */
const COPIED_CHUNKS_MAX = 32;
/** "Far more": stored bytes behind which looking at each chunk costs more than copying a few. */
const COPY_INSTEAD_BYTES = 2 * COPIED_CHUNKS_MAX * CHUNK_BYTES;

/** Where the content of an inode is after a change, and how many bytes of it are stored. */
export interface Stored {
  readonly content: number;
  readonly bytes: number;
}

/**
 * Writes `data` at `offset`. The data is copied: it may be a part of a larger buffer of the caller,
 * which a stored chunk must not keep alive.
 */
export function writeContent(draft: Draft, inode: Inode, offset: number, data: Uint8Array): Stored {
  const first = Math.floor(offset / CHUNK_BYTES);
  const end = Math.ceil((offset + data.length) / CHUNK_BYTES);
  // Behind the end of the file nothing is stored: an append need not look there.
  const lookEnd = inode.bytes === 0 ? first : Math.min(end, Math.ceil(inode.size / CHUNK_BYTES));
  const old = draft.getAll(chunkKeys(inode.content, first, lookEnd));
  let bytes = inode.bytes;
  for (let chunk = first; chunk < end; chunk++) {
    const before = old[chunk - first];
    const start = chunk * CHUNK_BYTES;
    const from = Math.max(offset - start, 0);
    const to = Math.min(offset + data.length - start, CHUNK_BYTES);
    const part = data.subarray(start + from - offset, start + to - offset);
    const after = overwrite(before, from, part);
    draft.put(chunkKey(inode.content, chunk), after);
    bytes += after.length - (before?.length ?? 0);
  }
  return { content: inode.content, bytes };
}

function overwrite(before: Uint8Array | undefined, at: number, part: Uint8Array): Uint8Array {
  const end = at + part.length;
  if (at === 0 && end >= (before?.length ?? 0)) return new Uint8Array(part);
  const after = new Uint8Array(Math.max(end, before?.length ?? 0));
  if (before !== undefined) after.set(before);
  after.set(part, at);
  return after;
}

/** Cuts the content at `size`, which is at most the inode's size. */
export function cutContent(draft: Draft, inode: Inode, size: number): Stored {
  if (inode.bytes === 0) return { content: inode.content, bytes: 0 };
  const kept = Math.ceil(size / CHUNK_BYTES);
  if (size === 0 || (kept <= COPIED_CHUNKS_MAX && inode.bytes > COPY_INSTEAD_BYTES)) {
    return copyHead(draft, inode, size, kept);
  }
  let bytes = inode.bytes - cutLastChunk(draft, inode, size);
  let { from, to } = chunkRange(inode.content, kept);
  for (;;) {
    const found = draft.view.scan({ from, to }, SCAN_CHUNKS);
    for (const [key, chunk] of found) {
      draft.delete(key);
      bytes -= chunk.length;
      from = `${key}\0`;
    }
    if (found.length < SCAN_CHUNKS) return { content: inode.content, bytes };
  }
}

/** A new content with the first `size` bytes of the old one, which is discarded. */
function copyHead(draft: Draft, inode: Inode, size: number, kept: number): Stored {
  const chunks = draft.getAll(chunkKeys(inode.content, 0, kept));
  const content = draft.takeNumber();
  let bytes = 0;
  for (const [index, chunk] of chunks.entries()) {
    if (chunk === undefined) continue;
    const length = Math.min(chunk.length, size - index * CHUNK_BYTES);
    draft.put(
      chunkKey(content, index),
      length < chunk.length ? new Uint8Array(chunk.subarray(0, length)) : chunk,
    );
    bytes += length;
  }
  draft.discard(inode.content);
  return { content, bytes };
}

/** Takes what is behind `size` from the chunk in which it lies; returns how many bytes that were. */
function cutLastChunk(draft: Draft, inode: Inode, size: number): number {
  const length = size % CHUNK_BYTES;
  if (length === 0) return 0;
  const key = chunkKey(inode.content, Math.floor(size / CHUNK_BYTES));
  const chunk = draft.get(key);
  if (chunk === undefined || chunk.length <= length) return 0;
  draft.put(key, new Uint8Array(chunk.subarray(0, length)));
  return chunk.length - length;
}

/**
 * At most `size` bytes from `offset`, shorter at the end of the file. May be a part of a stored
 * chunk: the caller must not change it.
 */
export function readContent(
  records: Records,
  inode: Inode,
  offset: number,
  size: number,
): Uint8Array {
  const length = Math.max(0, Math.min(size, inode.size - offset));
  if (length === 0 || inode.bytes === 0) return new Uint8Array(length);
  const first = Math.floor(offset / CHUNK_BYTES);
  const end = Math.ceil((offset + length) / CHUNK_BYTES);
  const chunks = getAll(records, chunkKeys(inode.content, first, end));
  const only = chunks[0];
  const at = offset - first * CHUNK_BYTES;
  if (end - first === 1 && only !== undefined && only.length >= at + length) {
    return only.subarray(at, at + length);
  }
  const data = new Uint8Array(length);
  for (const [i, chunk] of chunks.entries()) {
    if (chunk === undefined) continue;
    const start = (first + i) * CHUNK_BYTES - offset;
    const part = chunk.subarray(Math.max(0, -start), Math.max(0, length - start));
    data.set(part, Math.max(0, start));
  }
  return data;
}

/** Frees all of it: the inode is no more. */
export function discardContent(draft: Draft, inode: Inode): void {
  if (inode.bytes > 0) draft.discard(inode.content);
}

function chunkKeys(content: number, first: number, end: number): Key<'chunk'>[] {
  const keys: Key<'chunk'>[] = [];
  for (let chunk = first; chunk < end; chunk++) keys.push(chunkKey(content, chunk));
  return keys;
}
