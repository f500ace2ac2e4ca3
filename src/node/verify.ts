import { describe, isMootError } from '../base/errors.js';
import { decodeLogCommand } from '../codec/commands.js';
import type { LogCommand } from '../filesystem/commands.js';
import { TreeCheck } from '../filesystem/invariants.js';
import type { Session } from '../filesystem/records.js';
import { ReplyList } from '../filesystem/replies.js';
import type { Entry, RestoredState, SnapshotMark } from '../raft/types.js';
import type { LogStore, RestoredLog } from '../storage/log-store.js';
import type { StateStore } from '../storage/state-store.js';
import { storedMembers } from './members.js';
import { fitTogether } from './recovery.js';

/** Entries read at one time: bounds memory. */
const READ_BYTES = 8_388_608;

export interface Verification {
  /** What is wrong, in words; empty for a sound directory. */
  readonly problems: readonly string[];
  /** null: it could not be opened. */
  readonly log: RestoredLog | null;
  readonly tree: {
    readonly mark: SnapshotMark;
    readonly inodes: number;
    readonly bytes: number;
    readonly hash: number;
  } | null;
}

/**
 * Reads everything that one node has stored, and changes nothing: every checksum, the tree's
 * invariants, and that log and tree tell the same story. The stores are not open yet, and are
 * closed at the end.
 */
export async function verifyStores(log: LogStore, state: StateStore): Promise<Verification> {
  const problems: string[] = [];
  /** null when what is stored cannot be used, which is then a problem. */
  const attempt = async <T>(where: string, action: () => Promise<T>): Promise<T | null> => {
    try {
      return await action();
    } catch (error) {
      if (!isMootError(error, 'DATA_CORRUPT')) throw error;
      problems.push(`${where}: ${describe(error)}`);
      return null;
    }
  };
  try {
    const tree = new TreeCheck();
    const mark = await attempt('tree', () => state.open());
    if (mark !== null) {
      let damaged = 0;
      await attempt('tree', () =>
        state.readAll({
          onRecord: (key, value) => tree.take(key, value),
          onDamaged: (error) => {
            damaged++;
            problems.push(`tree: ${describe(error)}`);
          },
        }),
      );
      // What is missing breaks invariants everywhere: that is no news then.
      if (damaged === 0) problems.push(...tree.problems().map((problem) => `tree: ${problem}`));
    }
    if (mark !== null) await attempt('tree', () => storedMembers(state));
    const restored = await attempt('log', () => log.open());
    if (restored !== null && mark !== null) {
      const fitting = await attempt('log and tree', async () => fitTogether(restored, mark));
      const story = new Story(mark, tree.sessions);
      // A log that goes at the next start, since a snapshot has come, tells of what may never have been.
      const isToGo = fitting !== null && fitting.resetTo !== null;
      const take = isToGo ? () => {} : (entry: Entry) => story.take(entry);
      await attempt('log', () => eachEntry(log, restored, take));
      problems.push(...story.problems.map((problem) => `log and tree: ${problem}`));
    }
    const { counters } = tree;
    return {
      problems,
      log: restored,
      tree:
        mark === null || counters === null
          ? null
          : { mark, inodes: counters.inodes, bytes: counters.bytes, hash: counters.hash },
    };
  } finally {
    await log.close();
    await state.close();
  }
}

async function eachEntry(
  log: LogStore,
  { snapshot, lastIndex }: Pick<RestoredState, 'snapshot' | 'lastIndex'>,
  take: (entry: Entry) => void,
): Promise<void> {
  for (let next = snapshot.index + 1; next <= lastIndex; ) {
    const entries = await log.read(next, lastIndex, READ_BYTES);
    if (entries.length === 0) return;
    for (const entry of entries) take(entry);
    next += entries.length;
  }
}

/**
 * What the log says was done, against what the tree says of its clients: each command in the log up
 * to the tree's mark that a session takes as its next one must be in the tree.
 */
class Story {
  readonly problems: string[] = [];

  constructor(
    private readonly mark: SnapshotMark,
    private readonly sessions: ReadonlyMap<number, Session>,
  ) {
    for (const { id, lastIndex } of sessions.values()) {
      if (lastIndex > mark.index) {
        this.problems.push(`session ${id} has a command of index ${lastIndex}, behind the tree's`);
      }
    }
  }

  take(entry: Entry): void {
    if (entry.kind !== 'command') return;
    let command: LogCommand;
    try {
      command = decodeLogCommand(entry.data);
    } catch (error) {
      this.problems.push(`entry ${entry.index} cannot be read: ${describe(error)}`);
      return;
    }
    if (entry.index <= this.mark.index) this.compare(entry.index, command);
  }

  private compare(index: number, { session: id, sequence, acknowledged }: LogCommand): void {
    const session = this.sessions.get(id);
    if (session === undefined) return;
    if (index === session.lastIndex) {
      if (sequence !== session.lastSequence) {
        this.problems.push(
          `entry ${index} is command ${sequence} of session ${id}, and the tree took it for ${session.lastSequence}`,
        );
      }
    } else if (
      index > session.lastIndex &&
      sequence === session.lastSequence + 1 &&
      !ReplyList.of(session.replies).isFullAfter(acknowledged)
    ) {
      this.problems.push(
        `entry ${index}, command ${sequence} of session ${id}, is not in the tree`,
      );
    }
  }
}
