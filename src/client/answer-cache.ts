import { type Fact, type FactKey, keyOfEffect, nameKey } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import { isDot, isDotDot } from '../filesystem/name.js';
import type { Query, QueryResult } from '../filesystem/queries.js';
import type { Ino } from '../filesystem/records.js';

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
   * directory: a name in a removed directory becomes ESTALE without any effect.
   */
  answer(query: Query): QueryResult | undefined {
    if (query.type === 'get-inode') return this.inode(query.ino);
    if (query.type !== 'lookup') return undefined;
    const { parent, name } = query;
    if (isDot(name) || isDotDot(name)) return undefined;
    const fact = this.records.get(nameKey(parent, name))?.fact;
    if (fact === undefined || 'inode' in fact) return undefined;
    if (fact.ino !== null) return this.inode(fact.ino);
    return this.records.has(parent) ? { ok: false, code: 'ENOENT' } : undefined;
  }

  /** An answer computed at `index` said this. */
  learn(index: number, facts: readonly Fact[]): void {
    for (const fact of facts) {
      const { key } = fact;
      if (index < Math.max(this.floor, this.changedAt.get(key) ?? 0)) continue;
      this.records.delete(key);
      // A copy: the bytes may be a view of a whole frame.
      const own = 'inode' in fact ? { key: fact.key, inode: withOwnBytes(fact.inode) } : fact;
      this.records.set(key, { fact: own, index });
    }
    for (const key of this.records.keys()) {
      if (this.records.size <= this.recordsMax) return;
      this.records.delete(key);
    }
  }

  /** What answers of indexes before this one said of these subjects is over; `reset`: of all. */
  change(index: number, reset: boolean, effects: readonly Effect[]): void {
    if (reset) {
      this.floor = Math.max(this.floor, index);
      for (const [key, kept] of this.records) if (kept.index < index) this.records.delete(key);
      return;
    }
    for (const effect of effects) {
      const key = keyOfEffect(effect);
      const kept = this.records.get(key);
      if (kept !== undefined && kept.index < index) this.records.delete(key);
      this.changedAt.set(key, Math.max(index, this.changedAt.get(key) ?? 0));
    }
    if (this.changedAt.size <= this.changesMax) return;
    for (const at of this.changedAt.values()) this.floor = Math.max(this.floor, at);
    this.changedAt.clear();
  }

  /** Forgets all answers; what is known of changes stays true. */
  clear(): void {
    this.records.clear();
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
