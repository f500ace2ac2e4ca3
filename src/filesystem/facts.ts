import type { Command } from './commands.js';
import type { Effect } from './filesystem.js';
import { entryKey, inodeKey, type Key } from './keys.js';
import { isDot, isDotDot, latin1 } from './name.js';
import type { Query, QueryResult } from './queries.js';
import type { Ino, Inode, Reply, Table, Tables } from './records.js';

/**
 * What an answer says about the tree, in pieces that a cache may keep: "this inode looks so", "this
 * name means that inode, or nothing". Whoever keeps answers and whoever tells of changes both take
 * the pieces from here, so that they cannot disagree about what is kept.
 */
export type Fact =
  | { readonly key: number; readonly inode: Inode }
  | { readonly key: string; readonly parent: Ino; readonly ino: Ino | null };

/** An inode's number, or a name in its directory. */
export type FactKey = Fact['key'];

/** How a command left what it changed, as far as its reply does not say so. */
export type Trace =
  | { readonly type: 'inode'; readonly inode: Inode }
  | {
      readonly type: 'entry';
      readonly parent: Ino;
      readonly name: Uint8Array;
      readonly ino: Ino | null;
    };

/** A command that changed more than this leaves no traces: who keeps answers asks again. */
const TRACES_MAX = 16;

const NOTHING: readonly Fact[] = [];

/** The key of all facts that this effect ends; null: it ends none. */
export function keyOfEffect(effect: Effect): FactKey | null {
  switch (effect.type) {
    case 'inode':
      return effect.ino;
    case 'entry':
      return nameKey(effect.parent, effect.name);
    case 'lock':
    case 'delegation':
      return null;
  }
}

export function nameKey(parent: Ino, name: Uint8Array): string {
  return entryKey(parent, latin1(name));
}

/** Looks a record up in the tree as the command left it; undefined: it is not in memory. */
export type Look = <T extends Table>(key: Key<T>) => Tables[T] | null | undefined;

/**
 * Of a `write` there is one only when it `isLast`, no other request of the client being on its way: as
 * in factsOfReply. An inode without a name is left out: it is reclaimed without an effect.
 */
export function tracesOf(
  command: Command,
  reply: Reply,
  effects: readonly Effect[],
  look: Look,
  isLast: boolean,
): readonly Trace[] {
  if (!reply.ok || effects.length > TRACES_MAX) return [];
  if (command.type === 'write' && !isLast) return [];
  const told = new Set(factsOfReply(command, reply).map(({ key }) => key));
  const traces: Trace[] = [];
  for (const effect of effects) {
    const key = keyOfEffect(effect);
    if (key === null || told.has(key)) continue;
    if (effect.type === 'entry') {
      const { parent, name } = effect;
      const entry = look(entryKey(parent, latin1(name)));
      if (entry !== undefined) {
        traces.push({ type: 'entry', parent, name, ino: entry === null ? null : entry.ino });
      }
    } else if (effect.type === 'inode') {
      const inode = look(inodeKey(effect.ino));
      if (inode && inode.nlink > 0) traces.push({ type: 'inode', inode });
    }
  }
  return traces;
}

export function factOfTrace(trace: Trace): Fact {
  return trace.type === 'inode'
    ? { key: trace.inode.ino, inode: trace.inode }
    : { key: nameKey(trace.parent, trace.name), parent: trace.parent, ino: trace.ino };
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
        return [{ key: nameKey(parent, name), parent, ino: inode.ino }, ...ofInode(inode)];
      }
      if (result.ok || result.code !== 'ENOENT') return NOTHING;
      return [{ key: nameKey(parent, name), parent, ino: null }];
    }
    case 'read-directory': {
      if (!result.ok || !('entries' in result.value)) return NOTHING;
      return result.value.entries.flatMap(({ name, ino, inode }) => [
        { key: nameKey(query.ino, name), parent: query.ino, ino },
        ...(inode === null ? NOTHING : ofInode(inode)),
      ]);
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
      const { parent, name } = command;
      return [
        { key: nameKey(parent, name), parent, ino: value.inode.ino },
        ...ofInode(value.inode),
      ];
    }
    case 'set-attributes':
      return value !== null && 'inode' in value ? ofInode(value.inode) : NOTHING;
    case 'unlink':
    case 'remove-directory':
      return [{ key: nameKey(command.parent, command.name), parent: command.parent, ino: null }];
    default:
      return NOTHING;
  }
}

/** Of an inode without a name nothing is kept: it is reclaimed without an effect. */
function ofInode(inode: Inode): readonly Fact[] {
  return inode.nlink > 0 ? [{ key: inode.ino, inode }] : NOTHING;
}
