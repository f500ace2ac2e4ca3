import type { Append, ConfigurationCodec, RaftMessage } from './types.js';

/**
 * False for fields that no core ever sends, so that a broken or hostile peer cannot bring this one
 * into an impossible state. Such a message is dropped like one that the network lost.
 */
export function isWellFormed(message: RaftMessage, configurations: ConfigurationCodec): boolean {
  if (!isCount(message.term)) return false;
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      return isCount(message.lastIndex) && isCount(message.lastTerm);
    case 'append':
      return (
        isCount(message.prevIndex) &&
        isCount(message.commit) &&
        isRun(message) &&
        message.entries.every(
          ({ kind, data }) => kind !== 'configuration' || configurations.decode(data) !== null,
        )
      );
    case 'append-reply':
      return (
        isCount(message.prevIndex) &&
        isCount(message.match) &&
        isCount(message.hintIndex) &&
        isCount(message.hintTerm)
      );
    case 'heartbeat':
      return isCount(message.commit) && isCount(message.context);
    case 'heartbeat-reply':
    case 'read-index':
      return isCount(message.context);
    case 'read-index-reply':
      return isCount(message.context) && isCount(message.index);
    case 'pre-vote-reply':
    case 'vote-reply':
    case 'timeout-now':
    case 'removed':
      return true;
  }
}

/** The entries follow on each other, and their terms do not fall and do not pass the leader's. */
function isRun({ prevIndex, prevTerm, term, entries }: Append): boolean {
  let lastTerm = prevTerm;
  if (!isCount(prevTerm) || prevTerm > term || (prevIndex === 0 && prevTerm !== 0)) return false;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i];
    if (entry?.index !== prevIndex + 1 + i) return false;
    if (entry.term < lastTerm || entry.term > term) return false;
    lastTerm = entry.term;
  }
  return Number.isSafeInteger(lastTerm);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
