import type { Entry } from '../raft/types.js';
import type { LogStore } from '../storage/log-store.js';

/**
 * The last entries between `first` and `last`, the newest last, as many as `bytesMax` allows and at
 * least one. What is not saved yet, compacted or truncated meanwhile is missing.
 */
export async function readLast(
  log: Pick<LogStore, 'read'>,
  first: number,
  last: number,
  bytesMax: number,
): Promise<readonly Entry[]> {
  let found: readonly Entry[] = [];
  let leftBytes = bytesMax;
  // A log is read forwards: from the end in pieces, each twice as long as the one before while they fit.
  for (let [end, length] = [last, 1]; end >= first && leftBytes > 0; ) {
    const start = Math.max(first, end - length + 1);
    const piece = await log.read(start, end, leftBytes);
    if (piece.at(-1)?.index === end) {
      const bytes = piece.reduce((sum, { data }) => sum + data.length, 0);
      if (found.length > 0 && bytes > leftBytes) return found;
      found = [...piece, ...found];
      leftBytes -= bytes;
      end = start - 1;
      length *= 2;
    } else if (start < end) length = 1;
    else if (found.length > 0) return found;
    else end--;
  }
  return found;
}
