import { crc32 } from 'node:zlib';
import { decodeLogCommand } from '../../src/codec/commands.js';
import { decodeConfiguration } from '../../src/codec/configuration.js';
import type { Command, LogCommand } from '../../src/filesystem/commands.js';
import type { Applied, Effect } from '../../src/filesystem/filesystem.js';
import {
  COUNTERS,
  chunkRange,
  type Key,
  type KeyRange,
  sessionKey,
} from '../../src/filesystem/keys.js';
import type { Query, QueryResult } from '../../src/filesystem/queries.js';
import { isBeyondQuota } from '../../src/filesystem/quota.js';
import type { Reply, Table, Tables } from '../../src/filesystem/records.js';
import { createFilesystem } from '../../src/filesystem/state-machine.js';
import type { Change, View } from '../../src/filesystem/view.js';
import { hashText } from '../../src/node/state-hash.js';
import type { Configuration, Entry } from '../../src/raft/types.js';
import type { WholeTree } from '../support/tree-invariants.js';

/** One committed entry and what it did. */
export interface Committed {
  readonly entry: Entry;
  /** null: an entry without a command. */
  readonly command: LogCommand | null;
  readonly effects: readonly Effect[];
  /** The digest of all changes up to here, as a status has it. */
  readonly hash: string;
}

/** Where a command of a session took its one effect. */
export interface Effective {
  readonly index: number;
  readonly reply: Reply;
}

interface Version {
  readonly index: number;
  readonly value: Tables[Table] | undefined;
}

/**
 * The one history that all nodes must agree on: every committed entry, applied one after another by
 * nobody but this object, with the tree as it was at every index.
 */
export class Reference {
  /** By index; 0 is the empty tree. */
  readonly committed: (Committed | null)[] = [];
  private readonly filesystem = createFilesystem(crc32);
  private readonly records = new Map<Key, Version[]>();
  /** Every key that ever was, ascending. */
  private readonly keys: Key[] = [];
  private readonly effective = new Map<string, Effective>();

  /** `configuration`: the first one; then the newest that is committed. */
  constructor(public configuration: Configuration) {
    this.take(0, this.filesystem.format());
    this.committed.push(null);
  }

  get index(): number {
    return this.committed.length - 1;
  }

  at(index: number): Committed | null {
    return this.committed[index] ?? null;
  }

  hashAt(index: number): string {
    const counters = this.view(index).get(COUNTERS);
    return hashText(counters?.hash ?? 0);
  }

  /** The next entry. */
  apply(entry: Entry): void {
    const { index } = entry;
    if (index !== this.index + 1) throw new Error(`${index} does not follow ${this.index}`);
    const command = entry.kind === 'command' ? decodeLogCommand(entry.data) : null;
    if (entry.kind === 'configuration') this.configuration = decodeConfiguration(entry.data);
    let effects: readonly Effect[] = [];
    if (command !== null) {
      const applied = this.filesystem.apply(this.view(index - 1), index, command);
      this.take(index, applied.changes);
      effects = applied.effects;
      this.note(index, command, applied);
    }
    this.committed.push({ entry, command, effects, hash: this.hashAt(index) });
  }

  /** Where this command took effect; undefined: it did not, so far. */
  effectOf(session: number, sequence: number): Effective | undefined {
    return this.effective.get(`${session}:${sequence}`);
  }

  hasSession(id: number): boolean {
    return this.view(this.index).get(sessionKey(id)) !== undefined;
  }

  /** What the query answers on the tree at that index. */
  query(index: number, query: Query): QueryResult {
    return this.filesystem.query(this.view(index), query);
  }

  isBeyondQuota(index: number, command: Command): boolean {
    const view = this.view(index);
    const counters = view.get(COUNTERS);
    return (
      counters !== undefined && isBeyondQuota(command, counters, (key) => view.get(key) ?? null)
    );
  }

  tree(index: number): WholeTree {
    const view = this.view(index);
    return { all: () => view.all() };
  }

  private view(index: number): PastView {
    return new PastView(this.records, this.keys, index);
  }

  private note(index: number, { session, sequence }: LogCommand, { outcome }: Applied): void {
    if (session === 0 || outcome.type !== 'reply') return;
    const name = `${session}:${sequence}`;
    const first = this.effective.get(name);
    if (first !== undefined) {
      throw new Error(`command ${name} took effect at ${first.index} and again at ${index}`);
    }
    this.effective.set(name, { index, reply: outcome.reply });
  }

  private take(index: number, changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.type === 'discard') {
        const range = chunkRange(change.content);
        for (const [key] of this.view(index).scan(range, Number.POSITIVE_INFINITY)) {
          this.put(index, key, undefined);
        }
      } else {
        this.put(index, change.key, change.type === 'put' ? change.value : undefined);
      }
    }
  }

  private put(index: number, key: Key, value: Version['value']): void {
    const versions = this.records.get(key);
    if (versions !== undefined) versions.push({ index, value });
    else {
      this.records.set(key, [{ index, value }]);
      this.keys.splice(position(this.keys, key), 0, key);
    }
  }
}

/** The tree as it was at an index. */
class PastView implements View {
  constructor(
    private readonly records: ReadonlyMap<Key, readonly Version[]>,
    private readonly keys: readonly Key[],
    private readonly index: number,
  ) {}

  get<T extends Table>(key: Key<T>): Tables[T] | undefined {
    // A key's table says the type of its value.
    return this.records.get(key)?.findLast((version) => version.index <= this.index)?.value as
      | Tables[T]
      | undefined;
  }

  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): readonly (readonly [Key<T>, Tables[T]])[] {
    const found: (readonly [Key<T>, Tables[T]])[] = [];
    for (let i = position(this.keys, range.from); found.length < limit; i++) {
      const key = this.keys[i];
      if (key === undefined || key >= range.to) break;
      const value = this.get(key as Key<T>);
      if (value !== undefined) found.push([key as Key<T>, value]);
    }
    return found;
  }

  all(): readonly (readonly [Key, Tables[Table]])[] {
    return this.scan({ from: '', to: '\uffff' }, Number.POSITIVE_INFINITY);
  }
}

/** The first place in `sorted` that is not before `key`. */
function position(sorted: readonly Key[], key: Key): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as Key) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether `canonical` of both is the same text, without the texts. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return false;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (Array.isArray(a)) return Array.isArray(b) && sameItems(a, b);
  // Replies of a session are a map that is no Map.
  if (isIterable(a)) return isIterable(b) && sameItems([...a], [...b]);
  const names = Object.keys(a);
  const [fieldsA, fieldsB] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return (
    Object.keys(b).length === names.length &&
    names.every((name) => name in b && same(fieldsA[name], fieldsB[name]))
  );
}

function isIterable(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value;
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => same(item, b[i]));
}

/** The same text for the same value, however its bytes are held. */
export function canonical(value: unknown): string {
  if (value instanceof Uint8Array) return `<${Buffer.from(value).toString('latin1')}>`;
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value === 'object' && value !== null) {
    if (isIterable(value)) return canonical([...value]);
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${fields.map(([name, one]) => `${name}:${canonical(one)}`).join()}}`;
  }
  return String(value);
}
