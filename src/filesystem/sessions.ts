import { assert } from '../base/assert.js';
import type { Command, KeepAlive, OpenSession } from './commands.js';
import type { Draft } from './draft.js';
import { sessionKey } from './keys.js';
import { dropLocks } from './locks.js';
import { addHolds, dropHolds, SWEEP_ORPHANS_MAX, sweepOrphans } from './orphans.js';
import { HOLDERS_NONE, SESSIONS_MAX, type Session } from './records.js';
import { refuse } from './refusal.js';
import { NO_REPLIES } from './replies.js';

/**
 * A new session. A duplicate of the command opens a second session, of which nobody hears: it
 * expires like that of a client that died. EBUSY when there are too many.
 */
export function openSession(draft: Draft, command: OpenSession): { readonly session: number } {
  const { sessions, nextSession: id, holdersSeenIndex } = draft.counters;
  if (sessions.length >= SESSIONS_MAX) return refuse('EBUSY');
  draft.put(sessionKey(id), {
    id,
    name: command.name,
    lastSequence: 0,
    replies: NO_REPLIES,
    // Whoever comes now can hold nothing open of what was unlinked before.
    seenIndex: command.holdsOpen ? draft.index : null,
    lastIndex: draft.index,
    holds: [],
    locks: [],
  });
  draft.counters.nextSession++;
  draft.counters.sessions = [...sessions, id];
  if (command.holdsOpen) {
    draft.counters.holdersSeenIndex = Math.min(holdersSeenIndex, draft.index);
  }
  return { session: id };
}

export function keepAlive(draft: Draft, command: KeepAlive, session: Session | null): null {
  assert(session !== null, 'a keep-alive is of a session');
  if (session.seenIndex !== null) {
    // Nobody has seen what comes after this command, whatever it says.
    const seen = Math.min(Math.max(session.seenIndex, command.seenIndex), draft.index);
    const wanted = new Set(command.holds);
    const before = new Set(session.holds);
    const added = addHolds(
      draft,
      [...wanted].filter((ino) => !before.has(ino)),
    );
    dropHolds(
      draft,
      session.holds.filter((ino) => !wanted.has(ino)),
    );
    const holds = [...session.holds.filter((ino) => wanted.has(ino)), ...added];
    draft.put(sessionKey(session.id), { ...session, seenIndex: seen, holds });
    if (seen > session.seenIndex) holderMoved(draft, session.seenIndex);
  }
  sweepOrphans(draft, SWEEP_ORPHANS_MAX);
  return null;
}

export function closeSession(draft: Draft, _command: Command, session: Session | null): null {
  assert(session !== null, 'the end of a session is of a session');
  endSession(draft, session);
  return null;
}

/** Takes effect only if the session has been silent ever since the leader looked. */
export function expireSession(
  draft: Draft,
  command: { readonly session: number; readonly lastIndex: number },
): null {
  const session = draft.get(sessionKey(command.session));
  if (session !== undefined && session.lastIndex === command.lastIndex) endSession(draft, session);
  return null;
}

function endSession(draft: Draft, session: Session): void {
  dropLocks(draft, session);
  draft.delete(sessionKey(session.id));
  draft.counters.sessions = draft.counters.sessions.filter((id) => id !== session.id);
  dropHolds(draft, session.holds);
  if (session.seenIndex !== null) holderMoved(draft, session.seenIndex);
  sweepOrphans(draft, SWEEP_ORPHANS_MAX);
}

/** A holder that had seen `from` has seen more, or is gone: looks for the least when that was it. */
function holderMoved(draft: Draft, from: number): void {
  if (from > draft.counters.holdersSeenIndex) return;
  let least = HOLDERS_NONE;
  for (const session of draft.getAll(draft.counters.sessions.map(sessionKey))) {
    assert(session !== undefined, 'a counted session is there');
    if (session.seenIndex !== null) least = Math.min(least, session.seenIndex);
  }
  draft.counters.holdersSeenIndex = least;
}
