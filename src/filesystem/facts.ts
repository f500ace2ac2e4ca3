import type { Command } from './commands.js';
import type { Effect } from './filesystem.js';
import { entryKey } from './keys.js';
import { isDot, isDotDot, latin1 } from './name.js';
import type { Query, QueryResult } from './queries.js';
import type { Ino, Inode, Reply } from './records.js';

/**
 * What an answer says about the tree, in pieces that a cache may keep: "this inode looks so", "this
 * name means that inode, or nothing". Whoever keeps answers and whoever tells of changes both take
 * the pieces from here, so that they cannot disagree about what is kept.
 */
export type Fact =
  | { readonly key: number; readonly inode: Inode }
  | { readonly key: string; readonly ino: Ino | null };

/** An inode's number, or a name in its directory. */
export type FactKey = Fact['key'];

const NOTHING: readonly Fact[] = [];

/** The key of all facts that this effect ends. */
export function keyOfEffect(effect: Effect): FactKey {
  return effect.type === 'inode' ? effect.ino : nameKey(effect.parent, effect.name);
}

export function nameKey(parent: Ino, name: Uint8Array): string {
  return entryKey(parent, latin1(name));
}

export function factsOfAnswer(query: Query, result: QueryResult): readonly Fact[] {
  switch (query.type) {
    case 'get-inode':
      return result.ok && 'inode' in result.value ? ofInode(result.value.inode) : NOTHING;
    case 'lookup': {
      const { parent, name } = query;
      if (result.ok && 'inode' in result.value) {
        const { inode } = result.value;
        if (isDot(name) || isDotDot(name)) return ofInode(inode);
        return [{ key: nameKey(parent, name), ino: inode.ino }, ...ofInode(inode)];
      }
      if (result.ok || result.code !== 'ENOENT') return NOTHING;
      return [{ key: nameKey(parent, name), ino: null }];
    }
    default:
      return NOTHING;
  }
}

/**
 * What a command's first reply says of the tree at the command's index. Not the inode after a
 * `write`: files are written by many commands in a row, and each would end what the one before
 * said, for a message each.
 */
export function factsOfReply(command: Command, reply: Reply): readonly Fact[] {
  if (!reply.ok) return NOTHING;
  const { value } = reply;
  switch (command.type) {
    case 'make-node':
    case 'make-symlink':
    case 'link': {
      if (value === null || !('inode' in value)) return NOTHING;
      const key = nameKey(command.parent, command.name);
      return [{ key, ino: value.inode.ino }, ...ofInode(value.inode)];
    }
    case 'set-attributes':
      return value !== null && 'inode' in value ? ofInode(value.inode) : NOTHING;
    case 'unlink':
    case 'remove-directory':
      return [{ key: nameKey(command.parent, command.name), ino: null }];
    default:
      return NOTHING;
  }
}

/** Of an inode without a name nothing is kept: it is reclaimed without an effect. */
function ofInode(inode: Inode): readonly Fact[] {
  return inode.nlink > 0 ? [{ key: inode.ino, inode }] : NOTHING;
}
