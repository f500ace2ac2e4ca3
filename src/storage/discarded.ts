import { number56 } from '../base/binary-key.js';
import { seal, unseal } from '../codec/records.js';
import { chunkRange } from '../filesystem/keys.js';
import type { KeyValue, Operation } from './rocksdb.js';

/**
 * Discarded contents. Each has two records of this node's own, in the batch that discarded it: one
 * in a queue for the collector, and one right in front of its chunks, so that an export that comes
 * along knows what to leave out. Both go with the last chunk. Both are sealed and hold nothing: what
 * only looks like one because its key was damaged would take a living content along.
 */

/** In front of all tables' letters. */
export const QUEUE_PREFIX = '\u0001g';
const NOTHING = Buffer.alloc(0);
const MARKER_LENGTH = 8;

/** `index` is that of the write: it grows, so that the collector never goes back over what it deleted. */
export function discardOperations(index: number, content: number): Operation[] {
  const marker = markerKey(content);
  return [putSealed(QUEUE_PREFIX + number56(index) + marker), putSealed(marker)];
}

/** A chunk's key without the chunk's number: sorts right before all chunks of its content. */
function markerKey(content: number): string {
  return chunkRange(content).from.slice(0, MARKER_LENGTH);
}

/** It has a marker's key; `openMarker` tells whether it is one. */
export function isMarker(key: string): boolean {
  return key.startsWith('c') && key.length === MARKER_LENGTH;
}

export function openMarker(...[key, sealed]: KeyValue): string {
  unseal(key, sealed);
  return key;
}

/** The marker of the content that is queued here. */
export function openQueued(...[key, sealed]: KeyValue): string {
  unseal(key, sealed);
  return key.slice(-MARKER_LENGTH);
}

/** For what an older format has queued: the same records, sealed. */
export function sealQueued(key: string): Operation[] {
  return [putSealed(key), putSealed(key.slice(-MARKER_LENGTH))];
}

function putSealed(key: string): Operation {
  return { type: 'put', key, value: seal(key, NOTHING) };
}
