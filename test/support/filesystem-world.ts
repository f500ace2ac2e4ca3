import { crc32 } from 'node:zlib';
import type { Command, CommandType, CommandValues } from '../../src/filesystem/commands.js';
import type { Applied, Effect } from '../../src/filesystem/filesystem.js';
import { COUNTERS } from '../../src/filesystem/keys.js';
import { S_IFREG } from '../../src/filesystem/mode.js';
import type { Query, QueryResult, QueryType } from '../../src/filesystem/queries.js';
import { type Counters, type Reply, ROOT_INO } from '../../src/filesystem/records.js';
import { createFilesystem } from '../../src/filesystem/state-machine.js';
import type { View } from '../../src/filesystem/view.js';
import { MemoryView } from './memory-view.js';

/**
 * A state machine with a tree in memory, for tests: commands go in one after the other, each with
 * the next log index and a clock that ticks by one second a command.
 */
export class FilesystemWorld {
  readonly view = new MemoryView();
  readonly filesystem = createFilesystem((bytes, seed) => crc32(bytes, seed));
  index = 0;
  /** Applies through this view instead of `view`; its `Missing` is the caller's to answer. */
  through: (view: MemoryView) => View = (view) => view;
  effects: readonly Effect[] = [];
  readonly #sequences = new Map<number, number>();

  constructor() {
    this.view.take(this.filesystem.format());
  }

  /** One log entry as it stands. */
  apply(session: number, sequence: number, command: Command, acknowledged = 0): Applied {
    this.index++;
    const time = { sec: this.index, nsec: 0 };
    const entry = { session, sequence, acknowledged, time, command };
    const applied = this.filesystem.apply(this.through(this.view), this.index, entry);
    this.view.take(applied.changes);
    this.effects = applied.effects;
    return applied;
  }

  open(holdsOpen = false): number {
    const { outcome } = this.apply(0, 0, { type: 'open-session', name: 'test', holdsOpen });
    if (outcome.type !== 'reply' || !outcome.reply.ok) throw new Error('open-session failed');
    const value = outcome.reply.value;
    if (value === null || !('session' in value)) throw new Error('open-session answered otherwise');
    this.#sequences.set(value.session, 0);
    return value.session;
  }

  /** The next command of the session, with everything before it acknowledged. */
  run(session: number, command: Command): Reply {
    const sequence = (this.#sequences.get(session) ?? 0) + 1;
    const { outcome } = this.apply(session, sequence, command, sequence - 1);
    if (outcome.type !== 'reply') throw new Error(`${command.type} was answered ${outcome.type}`);
    this.#sequences.set(session, sequence);
    return outcome.reply;
  }

  /** The value of a command that must succeed. */
  do<T extends CommandType>(
    session: number,
    command: Extract<Command, { type: T }>,
  ): CommandValues[T] {
    const reply = this.run(session, command);
    if (!reply.ok) throw new Error(`${command.type}: ${reply.code}`);
    // Which value belongs to which command is the state machine's promise, tested by its use.
    return reply.value as CommandValues[T];
  }

  /** The error code of a command that must fail, or 'ok'. */
  code(session: number, command: Command): string {
    const reply = this.run(session, command);
    return reply.ok ? 'ok' : reply.code;
  }

  query<T extends QueryType>(query: Extract<Query, { type: T }>): QueryResult<T> {
    return this.filesystem.query<T>(this.view, query);
  }

  get counters(): Counters {
    const counters = this.view.get(COUNTERS);
    if (counters === undefined) throw new Error('not formatted');
    return counters;
  }
}

export const ROOT = ROOT_INO;

/** A regular file in the root; its name is to be added. */
export const NEW_FILE = {
  type: 'make-node',
  parent: ROOT,
  mode: S_IFREG | 0o644,
  rdev: 0,
  uid: 1,
  gid: 2,
} as const;

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

export function text(of: Uint8Array): string {
  return Buffer.from(of).toString('latin1');
}
