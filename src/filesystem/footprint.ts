import type { Command, CommandType, LogCommand } from './commands.js';
import type { HandlerOf } from './filesystem.js';
import {
  COUNTERS,
  entryKey,
  inodeKey,
  type Key,
  locksKey,
  sessionKey,
  WAITING,
  xattrsKey,
} from './keys.js';
import { latin1 } from './name.js';
import { type Ino, NAME_BYTES_MAX } from './records.js';

/**
 * The records that a command reads for certain, as far as its words say. What lies behind them (the
 * inode that a name means, the chunks of a content, the way to the root) shows only when they are
 * there: apply names it by `Missing`.
 */
export function footprintOf(command: LogCommand): readonly Key[] {
  const keys: Key[] = [COUNTERS];
  if (command.session !== 0) keys.push(sessionKey(command.session));
  keys.push(...keysOf(command.command));
  return keys;
}

function keysOf<T extends CommandType>(command: Extract<Command, { type: T }>): readonly Key[] {
  const handler: (command: HandlerOf<T>) => readonly Key[] = KEYS[command.type as T];
  return handler(command);
}

const KEYS: { readonly [T in CommandType]: (command: HandlerOf<T>) => readonly Key[] } = {
  'open-session': () => [],
  'keep-alive': ({ holds }) => holds.map(inodeKey),
  'close-session': () => [],
  'expire-session': ({ session }) => [sessionKey(session)],
  nothing: () => [],
  'make-node': ({ parent, name }) => place(parent, name),
  'make-unnamed': ({ parent }) => [inodeKey(parent)],
  'make-symlink': ({ parent, name }) => place(parent, name),
  link: ({ ino, parent, name }) => [inodeKey(ino), ...place(parent, name)],
  unlink: ({ parent, name }) => place(parent, name),
  'remove-directory': ({ parent, name }) => place(parent, name),
  rename: ({ parent, name, newParent, newName }) => [
    ...place(parent, name),
    ...place(newParent, newName),
  ],
  'set-attributes': ({ ino }) => [inodeKey(ino)],
  write: ({ ino }) => [inodeKey(ino)],
  allocate: ({ ino }) => [inodeKey(ino)],
  'copy-range': ({ ino, toIno }) => [inodeKey(ino), inodeKey(toIno)],
  'set-xattr': ({ ino }) => [inodeKey(ino), xattrsKey(ino)],
  'remove-xattr': ({ ino }) => [inodeKey(ino), xattrsKey(ino)],
  lock: ({ ino }) => [inodeKey(ino), locksKey(ino), WAITING],
  'cancel-lock': () => [WAITING],
  'recall-locks': ({ ino }) => [locksKey(ino)],
  'return-locks': ({ ino }) => [locksKey(ino)],
  'set-quota': () => [],
};

function place(parent: Ino, name: Uint8Array): Key[] {
  if (name.length > NAME_BYTES_MAX) return [inodeKey(parent)];
  return [inodeKey(parent), entryKey(parent, latin1(name))];
}
