import type { Command, CommandType, LogCommand } from './commands.js';
import type { Key } from './keys.js';
import type { Query, QueryResult, QueryType } from './queries.js';
import type { Ino, Reply } from './records.js';
import type { Change, View } from './view.js';

/**
 * A digest of bytes, handed in because the fast one is native: 32 bits, unsigned, `seed` continues
 * an earlier digest.
 */
export type Digest = (bytes: Uint8Array, seed: number) => number;

/** What a command touched, for kernels and watchers that may have cached it. */
export type Effect =
  /** Attributes changed; with `data` also the content; `gone`: it has no name any more. */
  | { readonly type: 'inode'; readonly ino: Ino; readonly data: boolean; readonly gone: boolean }
  /** This name now means something else, or nothing. */
  | { readonly type: 'entry'; readonly parent: Ino; readonly name: Uint8Array }
  /** A request that waited for a lock was granted. Nothing that is kept changes by that. */
  | {
      readonly type: 'lock';
      readonly ino: Ino;
      readonly session: number;
      readonly request: number;
    }
  /** The session, which decides about this inode's locks, is asked to return that, or (`ended`) it has. */
  | {
      readonly type: 'delegation';
      readonly ino: Ino;
      readonly session: number;
      readonly ended: boolean;
    };

export interface Applied {
  /**
   * What the client is told. `repeated`: the command had taken effect before and this is its first
   * reply. `gap`: commands before it are missing, or the client has not acknowledged
   * SESSION_REPLIES_MAX replies, or it had acknowledged this one; nothing was done, the client sends
   * again from lastSequence + 1.
   * `no-session`: the session is unknown or expired; nothing was done.
   */
  readonly outcome:
    | { readonly type: 'reply' | 'repeated'; readonly reply: Reply }
    | { readonly type: 'gap'; readonly lastSequence: number }
    | { readonly type: 'no-session' };
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
}

/** The state machine. Implemented by `createFilesystem` in state-machine.ts; pure and deterministic. */
export interface Filesystem {
  /** The changes that make an empty store a filesystem with a root directory. */
  format(): readonly Change[];
  /**
   * What `command`, at log index `index`, does to the tree that `view` shows. Throws `Missing` when
   * the view lacks a record. The caller takes the changes before it applies the next command.
   */
  apply(view: View, index: number, command: LogCommand): Applied;
  query<T extends QueryType>(view: View, query: Extract<Query, { type: T }>): QueryResult<T>;
  /** The records that the command reads for certain, for loading ahead. */
  footprint(command: LogCommand): readonly Key[];
}

/** Checks a command that came from outside before it enters the log: sizes, ranges, names. */
export type CommandCheck = (command: Command) => string | null;

export type HandlerOf<C extends CommandType> = Extract<Command, { type: C }>;
