import { assert } from '../base/assert.js';
import { compareTimespec, type Timespec } from '../base/clock.js';
import type { Effect } from './filesystem.js';
import { COUNTERS, inodeKey, type Key } from './keys.js';
import type { Counters, Ino, Inode, Table, Tables } from './records.js';
import { type Change, Missing, type View } from './view.js';

/**
 * The tree as one command leaves it so far: an overlay over a view that collects the changes and
 * effects of the command, and does nothing else.
 */
export class Draft {
  /** The replicated clock: never behind the command's time, never going back. */
  readonly time: Timespec;
  /** As they will be: this command's own copy, to be changed freely, and written at the end. */
  counters: OwnCounters;
  /** As they were. */
  readonly before: Counters;
  readonly #records = new Map<Key, Tables[Table] | undefined>();
  readonly #discarded: number[] = [];
  readonly #inodeEffects = new Map<Ino, { data: boolean; gone: boolean }>();
  readonly #entryEffects: Effect[] = [];
  readonly #lockEffects: Effect[] = [];

  constructor(
    readonly view: View,
    readonly index: number,
    commandTime: Timespec,
  ) {
    const counters = view.get(COUNTERS);
    assert(counters !== undefined, 'the store was formatted');
    this.time = compareTimespec(counters.time, commandTime) < 0 ? commandTime : counters.time;
    this.before = counters;
    this.counters = { ...counters, time: this.time };
  }

  get<T extends Table>(key: Key<T>): Tables[T] | undefined {
    // What is under a key is of the key's table: `put` takes no other.
    if (this.#records.has(key)) return this.#records.get(key) as Tables[T] | undefined;
    return this.view.get(key);
  }

  /** The records of all keys; when the view lacks some, one `Missing` names them all. */
  getAll<T extends Table>(keys: readonly Key<T>[]): (Tables[T] | undefined)[] {
    return getAll(this, keys);
  }

  put<T extends Table>(key: Key<T>, value: Tables[T]): void {
    this.#records.set(key, value);
  }

  delete(key: Key): void {
    this.#records.set(key, undefined);
  }

  discard(content: number): void {
    this.#discarded.push(content);
  }

  inode(ino: Ino): Inode | undefined {
    return this.get(inodeKey(ino));
  }

  /** An inode whose attributes changed; with `data` also its content (a directory's: its entries). */
  putInode(inode: Inode, data: boolean): void {
    this.put(inodeKey(inode.ino), inode);
    const gone = inode.nlink === 0;
    const effect = this.#inodeEffects.get(inode.ino);
    if (effect === undefined) {
      this.#inodeEffects.set(inode.ino, { data, gone });
    } else {
      effect.data ||= data;
      effect.gone = gone;
    }
  }

  entryChanged(parent: Ino, name: Uint8Array): void {
    this.#entryEffects.push({ type: 'entry', parent, name });
  }

  /** A request that waited has its lock now. */
  lockGranted(ino: Ino, session: number, request: number): void {
    this.#lockEffects.push({ type: 'lock', ino, session, request });
  }

  /** The session that decides about the inode's locks is to return that, or (`ended`) does so no longer. */
  delegation(ino: Ino, session: number, ended: boolean): void {
    this.#lockEffects.push({ type: 'delegation', ino, session, ended });
  }

  /** A number for an inode or a content: never given twice. */
  takeNumber(): number {
    return this.counters.nextIno++;
  }

  /** Back to what it was at the start, but for the clock: the command was refused. */
  undo(): void {
    this.counters = { ...this.before, time: this.time };
    this.#records.clear();
    this.#discarded.length = 0;
    this.#inodeEffects.clear();
    this.#entryEffects.length = 0;
    this.#lockEffects.length = 0;
  }

  /** In the order of the first change of each record, which is the same on all nodes. */
  changes(): Change[] {
    const changes: Change[] = [];
    for (const [key, value] of this.#records) {
      changes.push(value === undefined ? { type: 'delete', key } : { type: 'put', key, value });
    }
    for (const content of this.#discarded) changes.push({ type: 'discard', content });
    return changes;
  }

  effects(): Effect[] {
    const effects = [...this.#entryEffects, ...this.#lockEffects];
    for (const [ino, { data, gone }] of this.#inodeEffects) {
      effects.push({ type: 'inode', ino, data, gone });
    }
    return effects;
  }
}

export type OwnCounters = { -readonly [Name in keyof Counters]: Counters[Name] };

/** What can be asked for a record: a view or a draft. */
export interface Records {
  get<T extends Table>(key: Key<T>): Tables[T] | undefined;
}

/** The records of all keys; when some are not at hand, one `Missing` names them all. */
export function getAll<T extends Table>(
  records: Records,
  keys: readonly Key<T>[],
): (Tables[T] | undefined)[] {
  const values: (Tables[T] | undefined)[] = [];
  let lacking: Key[] | null = null;
  for (const key of keys) {
    try {
      values.push(records.get(key));
    } catch (thrown) {
      if (!(thrown instanceof Missing)) throw thrown;
      lacking ??= [];
      lacking.push(...thrown.keys);
    }
  }
  if (lacking !== null) throw new Missing(lacking);
  return values;
}
