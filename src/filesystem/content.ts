import { assert } from '../base/assert.js';
import { type Draft, getAll, type Records } from './draft.js';
import { chunkKey, chunkOf, type Key } from './keys.js';
import { CHUNK_BYTES, CLEARED_BYTES_MAX, type Inode } from './records.js';
import { refuse } from './refusal.js';
import type { View } from './view.js';

/**
 * The bytes of regular files. A content is a row of chunks, each of which may be shorter than
 * CHUNK_BYTES or not there at all: what is not stored is zeros. No chunk reaches beyond the end of
 * its file, so that a file that grows grows by zeros. Nobody else knows how content is stored.
 *
 * Chunks are counted in groups. For every group but the first a map says how long each of its
 * chunks is, so that a large file is cut, and whole chunks are overwritten, without loading what
 * goes away. A map lies among the chunks of its content, under an index that no chunk has, and is
 * discarded with them. Small files, which lie in the first group, do without.
 */

/** Chunks of a group (2 MiB): a map is then as small as a directory entry. */
export const GROUP_CHUNKS = 64;
/** The map of group g lies under this index + g: those of chunks are below 2^29, see FILE_BYTES_MAX. */
export const FIRST_MAP = 2 ** 31;
/** A length in a map: 16 bits, low end first. 0: no chunk. Trailing zeros are not stored. */
const LENGTH_BYTES = 2;
/** So few maps are asked for by name: what was loaded for one range then serves others. */
const FEW_GROUPS = 16;
/** Maps looked at in one step when a file is cut: they stand for 512 MiB. */
const SCAN_MAPS = 256;
/**
 * Up to this many kept chunks (1 MiB) are copied to a new content when a file is cut that has far
 * more: then the old content is discarded as a whole, without a change for each of its chunks.
 */
const COPIED_CHUNKS_MAX = 32;
/** "Far more": stored bytes behind which a change for each chunk costs more than copying a few. */
const COPY_INSTEAD_BYTES = 2 * COPIED_CHUNKS_MAX * CHUNK_BYTES;

/** Maps that stand for CLEARED_BYTES_MAX, wherever that begins. */
const CUT_MAPS_MAX = CLEARED_BYTES_MAX / (GROUP_CHUNKS * CHUNK_BYTES) + 1;

/** Where the content of an inode is after a change, and how many bytes of it are stored. */
export interface Stored {
  readonly content: number;
  readonly bytes: number;
}

/**
 * Writes `data` at `offset`. Data that fills most of the memory that it lies in is kept as it is,
 * in parts, and must not change any more. Other data is copied: a stored chunk must not keep a
 * larger buffer alive.
 */
export function writeContent(draft: Draft, inode: Inode, offset: number, data: Uint8Array): Stored {
  const first = Math.floor(offset / CHUNK_BYTES);
  const end = Math.ceil((offset + data.length) / CHUNK_BYTES);
  const { chunks, maps } = oldContent(draft, inode, offset, data.length);
  const keep = data.length >= CHUNK_BYTES && 2 * data.length >= data.buffer.byteLength;
  let bytes = inode.bytes;
  for (let chunk = first; chunk < end; chunk++) {
    const start = chunk * CHUNK_BYTES;
    const from = Math.max(offset - start, 0);
    const to = Math.min(offset + data.length - start, CHUNK_BYTES);
    const before = chunks.get(chunk);
    const map = maps.get(groupOf(chunk));
    const length = map === undefined ? (before?.length ?? 0) : lengthIn(map, chunk);
    const part = data.subarray(start + from - offset, start + to - offset);
    const whole = from === 0 && part.length >= (before?.length ?? 0);
    const after = whole && keep ? part : overwrite(before, from, part);
    draft.put(chunkKey(inode.content, chunk), after);
    bytes += after.length - length;
    if (map !== undefined && after.length !== length) {
      maps.set(groupOf(chunk), withLength(map, chunk, after.length));
    }
  }
  for (const [group, map] of maps) putMap(draft, inode.content, group, map);
  return { content: inode.content, bytes };
}

/**
 * What a write must know of what it overwrites: the chunks of which it leaves a part, all of the
 * first group, whose lengths are nowhere else, and the maps of the other groups.
 */
function oldContent(draft: Draft, inode: Inode, offset: number, length: number) {
  const first = Math.floor(offset / CHUNK_BYTES);
  const end = Math.ceil((offset + length) / CHUNK_BYTES);
  // Behind the end of the file nothing is stored: an append need not look there.
  const lookEnd = inode.bytes === 0 ? 0 : Math.ceil(inode.size / CHUNK_BYTES);
  const numbers: number[] = [];
  for (let chunk = first; chunk < Math.min(end, lookEnd); chunk++) {
    const start = chunk * CHUNK_BYTES;
    const whole = start >= offset && start + CHUNK_BYTES <= offset + length;
    if (!whole || groupOf(chunk) === 0) numbers.push(chunk);
  }
  const groups: number[] = [];
  for (let group = Math.max(groupOf(first), 1); group <= groupOf(end - 1); group++) {
    groups.push(group);
  }
  const mapNumbers = groups.filter((group) => group * GROUP_CHUNKS < lookEnd).map(mapOf);
  const keys = [...numbers, ...mapNumbers].map((number) => chunkKey(inode.content, number));
  const records = draft.getAll(keys);
  return {
    chunks: new Map(numbers.map((chunk, i) => [chunk, records[i]] as const)),
    // Groups ascend, so those with a stored map come first.
    maps: new Map(
      groups.map((group, i) => [group, records[numbers.length + i] ?? NO_MAP] as const),
    ),
  };
}

function overwrite(before: Uint8Array | undefined, at: number, part: Uint8Array): Uint8Array {
  const end = at + part.length;
  if (at === 0 && end >= (before?.length ?? 0)) return new Uint8Array(part);
  const after = new Uint8Array(Math.max(end, before?.length ?? 0));
  if (before !== undefined) after.set(before);
  after.set(part, at);
  return after;
}

/** Cuts the content at `size`, which is less than the inode's size. E2BIG: see refuseLongCut. */
export function cutContent(draft: Draft, inode: Inode, size: number): Stored {
  if (inode.bytes === 0) return { content: inode.content, bytes: 0 };
  const kept = Math.ceil(size / CHUNK_BYTES);
  if (size === 0 || (kept <= COPIED_CHUNKS_MAX && inode.bytes > COPY_INSTEAD_BYTES)) {
    return copyHead(draft, inode, size, kept);
  }
  refuseLongCut(draft.view, inode, size);
  return clearContent(draft, inode, size, inode.size);
}

/** E2BIG when more is stored behind `size` than one command may clear: who wants that cuts in steps. */
function refuseLongCut(view: View, inode: Inode, size: number): void {
  const first = Math.max(1, groupOf(Math.floor(size / CHUNK_BYTES)));
  const last = groupOf(Math.ceil(inode.size / CHUNK_BYTES) - 1);
  if (last - first < CUT_MAPS_MAX) return;
  const range = {
    from: chunkKey(inode.content, mapOf(first)),
    to: chunkKey(inode.content, mapOf(last + 1)),
  };
  if (view.scan(range, CUT_MAPS_MAX + 1).length > CUT_MAPS_MAX) refuse('E2BIG');
}

/**
 * Makes zeros of what lies from `from` up to `to`; only chunks of which a part stays are stored anew.
 * At the price of a change for each chunk.
 */
export function clearContent(draft: Draft, inode: Inode, from: number, to: number): Stored {
  const end = Math.min(to, inode.size);
  if (inode.bytes === 0 || from >= end) return { content: inode.content, bytes: inode.bytes };
  const range = { from, to: end };
  const cleared = clearFirstGroup(draft, inode, range) + clearOtherGroups(draft, inode, range);
  return { content: inode.content, bytes: inode.bytes - cleared };
}

/** Bytes of a file: from <= byte < to. */
interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** A new content with the first `size` bytes of the old one, which is discarded. */
function copyHead(draft: Draft, inode: Inode, size: number, kept: number): Stored {
  const chunks = draft.getAll(chunkKeys(inode.content, 0, kept));
  const content = draft.takeNumber();
  let bytes = 0;
  for (const [chunk, record] of chunks.entries()) {
    if (record === undefined) continue;
    const after = record.subarray(0, size - chunk * CHUNK_BYTES);
    draft.put(chunkKey(content, chunk), new Uint8Array(after));
    bytes += after.length;
  }
  draft.discard(inode.content);
  return { content, bytes };
}

/** Returns how many stored bytes went; so do the functions below. */
function clearFirstGroup(draft: Draft, inode: Inode, range: ByteRange): number {
  const first = Math.floor(range.from / CHUNK_BYTES);
  const end = Math.min(Math.ceil(range.to / CHUNK_BYTES), GROUP_CHUNKS);
  let cleared = 0;
  for (const [i, record] of draft.getAll(chunkKeys(inode.content, first, end)).entries()) {
    if (record !== undefined) cleared += clearChunk(draft, inode, first + i, record.length, range);
  }
  return cleared;
}

function clearOtherGroups(draft: Draft, inode: Inode, range: ByteRange): number {
  const firstGroup = Math.max(1, groupOf(Math.floor(range.from / CHUNK_BYTES)));
  const lastGroup = groupOf(Math.ceil(range.to / CHUNK_BYTES) - 1);
  let cleared = 0;
  if (lastGroup - firstGroup < FEW_GROUPS) {
    draft.getAll(mapKeys(inode.content, firstGroup, lastGroup));
    for (let group = firstGroup; group <= lastGroup; group++) {
      cleared += clearGroup(draft, inode, group, range);
    }
    return cleared;
  }
  forEachMap(draft.view, inode.content, firstGroup, lastGroup, (group) => {
    cleared += clearGroup(draft, inode, group, range);
    return false;
  });
  return cleared;
}

/** Calls `take` for the stored maps of the groups from `first` to `last`; true from it ends the walk. */
export function forEachMap(
  view: View,
  content: number,
  first: number,
  last: number,
  take: (group: number, map: Uint8Array) => boolean,
): void {
  if (first > last) return;
  const to = chunkKey(content, mapOf(last + 1));
  let from = chunkKey(content, mapOf(first));
  for (;;) {
    const maps = view.scan({ from, to }, SCAN_MAPS);
    for (const [key, map] of maps) {
      if (take(chunkOf(key) - FIRST_MAP, map)) return;
      from = `${key}\0`;
    }
    if (maps.length < SCAN_MAPS) return;
  }
}

function clearGroup(draft: Draft, inode: Inode, group: number, range: ByteRange): number {
  // The same command may have written in this group before.
  const map = draft.get(chunkKey(inode.content, mapOf(group))) ?? NO_MAP;
  const groupFirst = group * GROUP_CHUNKS;
  const first = Math.max(groupFirst, Math.floor(range.from / CHUNK_BYTES));
  const end = Math.min(groupFirst + map.length / LENGTH_BYTES, Math.ceil(range.to / CHUNK_BYTES));
  let after = map;
  let cleared = 0;
  for (let chunk = first; chunk < end; chunk++) {
    const length = lengthIn(map, chunk);
    const less = clearChunk(draft, inode, chunk, length, range);
    if (less > 0) after = withLength(after, chunk, length - less);
    cleared += less;
  }
  if (cleared > 0) putMap(draft, inode.content, group, after);
  return cleared;
}

function clearChunk(
  draft: Draft,
  inode: Inode,
  chunk: number,
  length: number,
  range: ByteRange,
): number {
  const start = chunk * CHUNK_BYTES;
  const from = Math.max(0, range.from - start);
  const to = range.to - start;
  if (length <= from) return 0;
  const key = chunkKey(inode.content, chunk);
  if (from === 0 && to >= length) {
    draft.delete(key);
    return length;
  }
  const record = draft.get(key);
  assert(record !== undefined && record.length === length, 'a chunk is as its map says');
  if (to >= length) {
    // Zeros before it, of an earlier hole, need not be kept for what comes behind them any more.
    const kept = lengthOfContent(record, from);
    if (kept === 0) draft.delete(key);
    else draft.put(key, new Uint8Array(record.subarray(0, kept)));
    return length - kept;
  }
  draft.put(key, new Uint8Array(record).fill(0, from, to));
  return 0;
}

/** Up to the last byte before `end` that is no zero. */
function lengthOfContent(record: Uint8Array, end: number): number {
  let length = end;
  while (length > 0 && record[length - 1] === 0) length--;
  return length;
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

export function chunkKeys(content: number, first: number, end: number): Key<'chunk'>[] {
  const keys: Key<'chunk'>[] = [];
  for (let chunk = first; chunk < end; chunk++) keys.push(chunkKey(content, chunk));
  return keys;
}

/** Of the maps of the groups from `first` to `last`; the first group of a content has none. */
export function mapKeys(content: number, first: number, last: number): Key<'chunk'>[] {
  const keys: Key<'chunk'>[] = [];
  for (let group = Math.max(1, first); group <= last; group++) {
    keys.push(chunkKey(content, mapOf(group)));
  }
  return keys;
}

const NO_MAP = new Uint8Array(0);

export function groupOf(chunk: number): number {
  return Math.floor(chunk / GROUP_CHUNKS);
}

function mapOf(group: number): number {
  return FIRST_MAP + group;
}

/** The length of a chunk, as the map of its group says. */
export function lengthIn(map: Uint8Array, chunk: number): number {
  const at = (chunk % GROUP_CHUNKS) * LENGTH_BYTES;
  return (map[at] ?? 0) + (map[at + 1] ?? 0) * 256;
}

function withLength(map: Uint8Array, chunk: number, length: number): Uint8Array {
  const at = (chunk % GROUP_CHUNKS) * LENGTH_BYTES;
  const after = new Uint8Array(Math.max(map.length, at + LENGTH_BYTES));
  after.set(map);
  after[at] = length & 255;
  after[at + 1] = length >>> 8;
  return after;
}

function putMap(draft: Draft, content: number, group: number, map: Uint8Array): void {
  const key = chunkKey(content, mapOf(group));
  let end = map.length;
  while (end > 0 && map[end - 1] === 0 && map[end - 2] === 0) end -= LENGTH_BYTES;
  if (end === 0) draft.delete(key);
  else draft.put(key, new Uint8Array(map.subarray(0, end)));
}
