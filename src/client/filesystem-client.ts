import type { MootError } from '../base/errors.js';
import type { NodeStatus, ReadLevel } from '../codec/client-messages.js';
import type { Command, CommandType, CommandValues } from '../filesystem/commands.js';
import type { Effect } from '../filesystem/filesystem.js';
import type { Query, QueryType, QueryValues } from '../filesystem/queries.js';
import type { Inode } from '../filesystem/records.js';
import type { Configuration, MemberChange } from '../raft/types.js';

/**
 * The cluster as one filesystem: finds the leader, sends again, and gives each command its one
 * effect. Failures are MootErrors: a filesystem's own (ENOENT, …), NO_LEADER or OUTCOME_UNKNOWN
 * after the deadline, INTERRUPTED, SESSION_EXPIRED, CLOSED.
 */
export interface FilesystemClient {
  /**
   * Resolves when the command is committed and applied at the leader. Commands take effect in the
   * order of the calls, also when the earlier ones are still on their way.
   */
  execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
    options?: CallOptions,
  ): Promise<CommandValues[T]>;
  query<T extends QueryType>(
    query: Extract<Query, { type: T }>,
    options?: CallOptions & { readonly level?: ReadLevel },
  ): Promise<QueryValues[T]>;
  /** Called for every change from now on, in order, until the returned function is called. */
  watch(listener: WatchListener): () => void;
  /**
   * What is known in memory of this strong question, as good as asked now; null: it must be asked.
   * The caller may go on believing it for `forMs` from now, if its keeper forgets when it is told.
   */
  kept(query: KeptQuery): Kept | null;
  /** Who is told, before anybody else may see a change, that what `kept` said is over. */
  setKeeper(keeper: AnswerKeeper): void;
  /** What this client holds open of the inodes that were unlinked; asked before every keep-alive. */
  setHolds(holds: () => readonly number[]): void;
  /** The session of this client's commands; null while there is none. */
  readonly session: ClientSession | null;
  /** Called at once when a session turns out to be over; its locks are others' by then. */
  setSessionEnded(ended: (session: number) => void): void;
  /**
   * False: this client, whose level is `session`, was told of changes that have not been given to the
   * listeners yet, and will be; till then, and from `onBehind` on, they must keep nothing.
   */
  readonly seesChanges: boolean;
  /** All effects of indexes up to here were given to the listeners. */
  readonly seenIndex: number;
  /** The status of each node that answers within `timeoutMs`. */
  status(timeoutMs: number): Promise<readonly NodeReport[]>;
  /** Asks the node (or every node, one after the other) to take a snapshot now, and says what came of it. */
  snapshot(node?: string): Promise<readonly SnapshotReport[]>;
  /** Resolves, when the change is committed, to who is a member then. MEMBERS_REFUSED says why not. */
  changeMembers(change: MemberChange): Promise<Configuration>;
  /** Another node is to lead, the best one when none is named; resolves to its id. */
  transferLeadership(to: string | null): Promise<string>;
  /** Ends the session politely when the cluster answers soon, and frees everything. */
  close(): Promise<void>;
}

export type KeptQuery = Extract<Query, { type: 'lookup' | 'get-inode' }>;

export interface Kept {
  /** null: there is no such name. */
  readonly inode: Inode | null;
  readonly forMs: number;
}

/** Believes strong answers without asking again, as a kernel does. */
export interface AnswerKeeper {
  /**
   * What was kept of these subjects (`reset`: of all) is over. `own`: by this command, the very object
   * that `execute` was called with, whose caller gets its result next; null: by others, or by a
   * command whose caller has given up. Others wait until it is forgotten: a promise tells when.
   */
  forget(change: {
    readonly reset: boolean;
    readonly effects: readonly Effect[];
    readonly own: Command | null;
  }): Promise<void> | null;
}

export interface ClientSession {
  readonly id: number;
  /**
   * It cannot have expired yet: a command of it took effect that was sent so shortly ago. Reckoned by
   * both clocks, so that a process that was stopped, or a machine that slept, knows better.
   */
  readonly isSure: boolean;
}

export interface CallOptions {
  /**
   * Only in this session: SESSION_EXPIRED when it is over, and then the command has no effect, unless
   * it had it before. Other commands go on in the next session.
   */
  readonly inSession?: number;
  readonly signal?: AbortSignal;
  /** Called when a command is first sent: from then on it may take effect, also when the caller gives up. */
  readonly onSent?: () => void;
  /** Milliseconds without a decision after which the call fails; Infinity waits for ever. Default: the client's. */
  readonly deadlineMs?: number | undefined;
}

export interface WatchListener {
  /** See `seesChanges`: what is kept may be older than what the client was told. Nothing was missed. */
  onBehind?(): void;
  /** `reset`: changes were missed; everything cached may be stale. */
  onChange(event: {
    readonly index: number;
    readonly reset: boolean;
    readonly effects: readonly Effect[];
  }): void;
}

export interface NodeReport {
  readonly address: string;
  readonly status: NodeStatus | null;
  /** Why there is no status. */
  readonly error: string | null;
}

export interface SnapshotReport {
  readonly address: string;
  /** null: the node has not answered. */
  readonly id: string | null;
  /** Of the snapshot; null: there is none, and `error` says of whom and why. */
  readonly index: number | null;
  readonly error: MootError | null;
}

/** The wait without a leader after which operations fail. */
export const DEADLINE_MS_DEFAULT = 30_000;
