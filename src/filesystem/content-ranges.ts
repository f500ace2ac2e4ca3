import {
  chunkKeys,
  clearContent,
  forEachMap,
  GROUP_CHUNKS,
  groupOf,
  lengthIn,
  mapKeys,
  type Stored,
  writeContent,
} from './content.js';
import type { Draft } from './draft.js';
import { getAll } from './draft.js';
import { CHUNK_BYTES, type Inode } from './records.js';
import type { View } from './view.js';

/** Ranges of contents that are found or copied without anybody carrying the bytes. */

/**
 * Copies `length` bytes of `source`, all of them within its size. What is a hole becomes a hole. The
 * ranges do not overlap when both are of one inode. `target` is big enough afterwards if its size is
 * then at least `toOffset + length`.
 */
export function copyContent(
  draft: Draft,
  source: Inode,
  offset: number,
  target: Inode,
  toOffset: number,
  length: number,
): Stored {
  const end = offset + length;
  const first = Math.floor(offset / CHUNK_BYTES);
  const last = Math.ceil(end / CHUNK_BYTES);
  // All at once: the writes below would ask for their chunks one by one.
  const toFirst = Math.floor(toOffset / CHUNK_BYTES);
  const toLast = Math.ceil(Math.min(toOffset + length, target.size) / CHUNK_BYTES);
  const toGroups = mapKeys(target.content, groupOf(toFirst), groupOf(toLast));
  const chunks = draft
    .getAll([
      ...chunkKeys(source.content, first, last),
      ...(target.bytes === 0 ? [] : [...chunkKeys(target.content, toFirst, toLast), ...toGroups]),
    ])
    .slice(0, last - first);
  let after = target;
  for (const [i, chunk] of chunks.entries()) {
    const start = (first + i) * CHUNK_BYTES;
    const from = Math.max(offset, start);
    const to = Math.min(end, start + CHUNK_BYTES);
    const dataEnd = Math.max(from, Math.min(to, start + (chunk?.length ?? 0)));
    const move = toOffset - offset;
    if (chunk !== undefined && dataEnd > from) {
      const part = chunk.subarray(from - start, dataEnd - start);
      const stored = writeContent(draft, after, from + move, part);
      after = { ...after, ...stored, size: Math.max(after.size, dataEnd + move) };
    }
    after = { ...after, ...clearContent(draft, after, dataEnd + move, to + move) };
  }
  return { content: after.content, bytes: after.bytes };
}

/** The first byte of data at or behind `offset`, as lseek(2) with SEEK_DATA; null when there is none. */
export function findData(view: View, inode: Inode, offset: number): number | null {
  let found: number | null = null;
  forEachChunk(view, inode, Math.floor(offset / CHUNK_BYTES), (chunk, length) => {
    const start = chunk * CHUNK_BYTES;
    if (start + length <= offset) return false;
    found = Math.max(offset, start);
    return true;
  });
  return found;
}

/** The first hole at or behind `offset`, which is within the file: its end counts as one. */
export function findHole(view: View, inode: Inode, offset: number): number {
  let at = offset;
  forEachChunk(view, inode, Math.floor(offset / CHUNK_BYTES), (chunk, length) => {
    const start = chunk * CHUNK_BYTES;
    if (start > at || start + length <= at) return true;
    at = start + length;
    return length < CHUNK_BYTES;
  });
  return Math.min(at, inode.size);
}

/** Calls `take` with the stored chunks from `first` on, ascending, until it returns true. */
function forEachChunk(
  view: View,
  inode: Inode,
  first: number,
  take: (chunk: number, length: number) => boolean,
): void {
  if (inode.bytes === 0) return;
  const end = Math.ceil(inode.size / CHUNK_BYTES);
  const headEnd = Math.min(end, GROUP_CHUNKS);
  for (const [i, chunk] of getAll(view, chunkKeys(inode.content, first, headEnd)).entries()) {
    if (chunk !== undefined && take(first + i, chunk.length)) return;
  }
  const firstGroup = Math.max(1, groupOf(first));
  forEachMap(view, inode.content, firstGroup, groupOf(end), (group, map) => {
    const groupFirst = group * GROUP_CHUNKS;
    for (let chunk = Math.max(first, groupFirst); chunk < groupFirst + GROUP_CHUNKS; chunk++) {
      const length = lengthIn(map, chunk);
      if (length > 0 && take(chunk, length)) return true;
    }
    return false;
  });
}
