import { assert } from '../base/assert.js';
import { setAttributes, write } from './attributes.js';
import type { Command, CommandType, CommandValues, LogCommand } from './commands.js';
import { Draft } from './draft.js';
import type { Applied, Digest, Filesystem, HandlerOf } from './filesystem.js';
import { Fingerprint } from './fingerprint.js';
import { footprintOf } from './footprint.js';
import { formatChanges } from './format.js';
import { COUNTERS, sessionKey } from './keys.js';
import { cancelLock, lock, recallLocks, returnLocks } from './locks.js';
import { link, makeNode, makeSymlink, makeUnnamed, removeDirectory, unlink } from './names.js';
import { answer } from './query.js';
import { refuseBeyondQuota, setQuota } from './quota.js';
import { allocate, copyRange } from './ranges.js';
import type { Reply, Session } from './records.js';
import { Refusal, refuse } from './refusal.js';
import { rename } from './rename.js';
import { ReplyList } from './replies.js';
import { closeSession, expireSession, keepAlive, openSession } from './sessions.js';
import type { View } from './view.js';
import { removeXattr, setXattr } from './xattrs.js';

/** The state machine; see `Filesystem`. */
export function createFilesystem(digest: Digest): Filesystem {
  const fingerprint = new Fingerprint(digest);
  return {
    format: formatChanges,
    apply: (view, index, command) => apply(fingerprint, view, index, command),
    query: answer,
    footprint: footprintOf,
  };
}

/**
 * What a command does to the draft, and its value; throws `Refusal` when it cannot be done. What it
 * has changed until then is undone by the caller.
 */
type Handler<T extends CommandType> = (
  draft: Draft,
  command: HandlerOf<T>,
  session: Session | null,
) => CommandValues[T];

const HANDLERS: { readonly [T in CommandType]: Handler<T> } = {
  'open-session': openSession,
  'keep-alive': keepAlive,
  'close-session': closeSession,
  'expire-session': expireSession,
  nothing: () => null,
  'make-node': makeNode,
  'make-unnamed': makeUnnamed,
  'make-symlink': makeSymlink,
  link,
  unlink,
  'remove-directory': removeDirectory,
  rename,
  'set-attributes': setAttributes,
  write,
  allocate,
  'copy-range': copyRange,
  'set-xattr': setXattr,
  'remove-xattr': removeXattr,
  lock,
  'cancel-lock': cancelLock,
  'recall-locks': recallLocks,
  'return-locks': returnLocks,
  'set-quota': setQuota,
};

/** Commands that come from outside any session, and from nowhere else. */
const OUTSIDE: ReadonlySet<CommandType> = new Set(['open-session', 'expire-session']);

const NOTHING_DONE = { changes: [], effects: [] } as const;

/**
 * Sessions are first-in-first-out: a command takes effect only as the next of its session. An
 * earlier one gets its first reply again. `gap` is also the answer to a client with too many
 * unacknowledged replies, and for a reply that it had already acknowledged: nobody waits for that.
 */
function apply(fingerprint: Fingerprint, view: View, index: number, entry: LogCommand): Applied {
  const { sequence, acknowledged, command } = entry;
  if (entry.session === 0) {
    if (!OUTSIDE.has(command.type)) return { outcome: { type: 'no-session' }, ...NOTHING_DONE };
    const draft = new Draft(view, index, entry.time);
    return applied(fingerprint, draft, execute(draft, command, null));
  }
  const session = view.get(sessionKey(entry.session));
  if (session === undefined) return { outcome: { type: 'no-session' }, ...NOTHING_DONE };
  const { lastSequence } = session;
  const replies = ReplyList.of(session.replies);
  const first = replies.get(sequence);
  if (first !== undefined) {
    return { outcome: { type: 'repeated', reply: first }, ...NOTHING_DONE };
  }
  if (sequence !== lastSequence + 1 || replies.isFullAfter(acknowledged)) {
    return { outcome: { type: 'gap', lastSequence }, ...NOTHING_DONE };
  }
  const draft = new Draft(view, index, entry.time);
  const reply = execute(draft, command, session);
  const after = draft.get(sessionKey(session.id));
  if (after !== undefined) {
    draft.put(sessionKey(session.id), {
      ...after,
      lastSequence: sequence,
      lastIndex: index,
      replies: replies.next(sequence, reply, acknowledged),
    });
  }
  return applied(fingerprint, draft, reply);
}

function execute(draft: Draft, command: Command, session: Session | null): Reply {
  try {
    if (session !== null && OUTSIDE.has(command.type)) return refuse('EINVAL');
    const value = handle(draft, command, session);
    refuseBeyondQuota(draft);
    return { ok: true, value };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    draft.undo();
    return { ok: false, code: thrown.code };
  }
}

function handle<T extends CommandType>(
  draft: Draft,
  command: Extract<Command, { type: T }>,
  session: Session | null,
): CommandValues[T] {
  const handler: Handler<T> = HANDLERS[command.type as T];
  return handler(draft, command, session);
}

function applied(fingerprint: Fingerprint, draft: Draft, reply: Reply): Applied {
  const changes = draft.changes();
  const hash = fingerprint.after(changes, draft.counters, reply);
  assert(hash === hash >>> 0, 'a digest has 32 bits');
  draft.counters.hash = hash;
  changes.push({ type: 'put', key: COUNTERS, value: draft.counters });
  return { outcome: { type: 'reply', reply }, changes, effects: draft.effects() };
}
