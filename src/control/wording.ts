import type { SnapshotNotice } from '../node/observer.js';
import type { NodeEvent } from './events.js';

type Texts = {
  readonly [T in NodeEvent['type']]: (event: Extract<NodeEvent, { type: T }>) => string;
};

const TEXTS: Texts = {
  role: ({ role, term, leader }) => {
    if (role === 'leader') return `leads in term ${term}`;
    if (role === 'candidate') return `stands for election in term ${term}`;
    if (role === 'pre-candidate') return `asks whether it could win an election after term ${term}`;
    return leader === null ? `follows nobody in term ${term}` : `follows ${leader} in term ${term}`;
  },
  vote: ({ candidate, term }) => `votes for ${candidate} in term ${term}`,
  messages: ({ to, kind, count, entries, granted }) => {
    const what = `${count} ${kind}${count === 1 ? '' : ' messages'} to ${to}`;
    if (entries > 0) return `${what} with ${entries} entries`;
    return granted > 0 ? `${what}: yes` : what;
  },
  commit: ({ first, last, term }) =>
    first === last
      ? `knows that entry ${last} is committed, in term ${term}`
      : `knows that entries ${first} to ${last} are committed, in term ${term}`,
  command: ({ index, command, skipped }) =>
    `applied ${index}: ${command}${skipped > 0 ? ` (and ${skipped} before it)` : ''}`,
  truncated: ({ fromIndex, lastIndex }) =>
    `gives up its uncommitted entries ${fromIndex} to ${Math.max(fromIndex, lastIndex)}`,
  snapshot: ({ notice }) => noticeText(notice),
  session: ({ action, session }) => `session ${session} ${action}`,
  fault: ({ slowMs, cutFrom }) => {
    const slow = slowMs > 0 ? `is slowed by ${slowMs} ms` : 'is as fast as it can be';
    return cutFrom.length > 0 ? `${slow}, and cut from ${cutFrom.join(', ')}` : slow;
  },
};

function noticeText(notice: SnapshotNotice): string {
  switch (notice.type) {
    case 'taken':
      return `compacted its log up to ${notice.index}`;
    case 'sending':
      return `streams a snapshot to ${notice.to}`;
    case 'sent':
      return notice.ok
        ? `${notice.to} has the snapshot up to ${notice.index}`
        : `the snapshot for ${notice.to} did not arrive`;
    case 'installed':
      return `took in a snapshot from ${notice.from} up to ${notice.index}`;
  }
}

/** What the node did, without its name: "leads in term 3". */
export function eventText(event: NodeEvent): string {
  // The record is complete by its type; the compiler cannot relate the key to the event.
  return (TEXTS[event.type] as (event: NodeEvent) => string)(event);
}
