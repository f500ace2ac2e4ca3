import { TreeCheck } from '../../src/filesystem/invariants.js';
import type { Key } from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';

/** Every record of a tree, in ascending order of keys: `MemoryView.all`. */
export interface WholeTree {
  all(): Iterable<readonly [Key, Tables[Table]]>;
}

/** Throws an Error that lists everything that is wrong with the tree. */
export function checkTree(tree: WholeTree): void {
  const check = new TreeCheck();
  for (const [key, value] of tree.all()) check.take(key, value);
  const problems = check.problems();
  if (problems.length > 0) throw new Error(`broken tree:\n  ${problems.join('\n  ')}`);
}
