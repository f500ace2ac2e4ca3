import { type Fact, type FactKey, keyOfEffect, nameKey } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import { isDirectory } from '../filesystem/mode.js';
import { isDot, isDotDot, mayBeEntry } from '../filesystem/name.js';
import type { Query, QueryResult } from '../filesystem/queries.js';
import type { Ino, Inode } from '../filesystem/records.js';
import type { KeptQuery } from './filesystem-client.js';

/** Inodes and names together, some 500 bytes each. Fewer than a node notes for one client. */
const RECORDS_MAX = 50_000;
/** Keys of which is known when they last changed; beyond it one index stands for all. */
const CHANGES_MAX = 65_536;

interface Kept {
  readonly fact: Fact;
  /** The applied index of the answer that said so. */
  readonly index: number;
}

/**
 * What strong answers said of inodes and names, as long as nothing said that it changed. Pure:
 * whether it may be used now is the lease's business.
 *
 * Answers and changes may come in any order. An answer of an index before the last known change of
 * its subject says how it was before, and is not kept.
 */
export class AnswerCache {
  /** In the order in which they were learned: the first goes first. */
  private readonly records = new Map<FactKey, Kept>();
  /** Of each directory: how many of the records are names that mean something. */
  private readonly names = new Map<Ino, number>();
  private readonly changedAt = new Map<FactKey, number>();
  /** Of everything else it is unknown whether it changed at indexes up to here. */
  private floor = 0;

  constructor(
    private readonly recordsMax = RECORDS_MAX,
    private readonly changesMax = CHANGES_MAX,
  ) {}

  get size(): number {
    return this.records.size;
  }

  /**
   * The answer when all of it is known. A name that is not there is answered only beside its
   * directory: a name in a removed directory becomes ESTALE without any effect. When as many names
   * of a directory are known as it has entries, all others are not there.
   */
  answer(query: Query): QueryResult | undefined {
    if (query.type === 'get-inode') return this.inode(query.ino);
    if (query.type !== 'lookup') return undefined;
    const { parent, name } = query;
    if (isDot(name) || isDotDot(name)) return undefined;
    const fact = this.records.get(nameKey(parent, name))?.fact;
    if (fact !== undefined && 'ino' in fact && fact.ino !== null) return this.inode(fact.ino);
    const directory = this.records.get(parent)?.fact;
    if (directory === undefined || !('inode' in directory)) return undefined;
    const absent = fact !== undefined || (mayBeEntry(name) && this.knowsAllNames(directory.inode));
    return absent ? { ok: false, code: 'ENOENT' } : undefined;
  }

  /**
   * What is answered is known of the subject itself, so that its changes will be told of. That a
   * name is not there because all others are known ends with any change of the directory, and
   * nobody is told of the name then.
   */
  isKnownItself(query: KeptQuery): boolean {
    return this.records.has(
      query.type === 'lookup' ? nameKey(query.parent, query.name) : query.ino,
    );
  }

  /** As many names of it are known as it has entries. */
  knowsAllNames(directory: Inode): boolean {
    return isDirectory(directory) && (this.names.get(directory.ino) ?? 0) === directory.entries;
  }

  /** An answer computed at `index` said this. */
  learn(index: number, facts: readonly Fact[]): void {
    for (const fact of facts) {
      const { key } = fact;
      if (index < Math.max(this.floor, this.changedAt.get(key) ?? 0)) continue;
      this.drop(key);
      // A copy: the bytes may be a view of a whole frame.
      const own = 'inode' in fact ? { key: fact.key, inode: withOwnBytes(fact.inode) } : fact;
      this.records.set(key, { fact: own, index });
      this.count(own, 1);
    }
    for (const key of this.records.keys()) {
      if (this.records.size <= this.recordsMax) return;
      this.drop(key);
    }
  }

  /** What answers of indexes before this one said of these subjects is over; `reset`: of all. */
  change(index: number, reset: boolean, effects: readonly Effect[]): void {
    if (reset) {
      this.floor = Math.max(this.floor, index);
      for (const [key, kept] of this.records) if (kept.index < index) this.drop(key);
      return;
    }
    for (const effect of effects) {
      const key = keyOfEffect(effect);
      if (key === null) continue;
      const kept = this.records.get(key);
      if (kept !== undefined && kept.index < index) this.drop(key);
      this.changedAt.set(key, Math.max(index, this.changedAt.get(key) ?? 0));
    }
    if (this.changedAt.size <= this.changesMax) return;
    for (const at of this.changedAt.values()) this.floor = Math.max(this.floor, at);
    this.changedAt.clear();
  }

  /** Forgets all answers; what is known of changes stays true. */
  clear(): void {
    this.records.clear();
    this.names.clear();
  }

  private drop(key: FactKey): void {
    const kept = this.records.get(key);
    if (kept === undefined) return;
    this.records.delete(key);
    this.count(kept.fact, -1);
  }

  private count(fact: Fact, change: 1 | -1): void {
    if (!('ino' in fact) || fact.ino === null) return;
    const names = (this.names.get(fact.parent) ?? 0) + change;
    if (names === 0) this.names.delete(fact.parent);
    else this.names.set(fact.parent, names);
  }

  private inode(ino: Ino): QueryResult | undefined {
    const fact = this.records.get(ino)?.fact;
    return fact !== undefined && 'inode' in fact
      ? { ok: true, value: { inode: fact.inode } }
      : undefined;
  }
}

function withOwnBytes<T extends { readonly target: Uint8Array }>(inode: T): T {
  return { ...inode, target: new Uint8Array(inode.target) };
}
