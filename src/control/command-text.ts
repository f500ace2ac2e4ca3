import type { Command, CommandType } from '../filesystem/commands.js';
import { LOCK_LAST_MAX } from '../filesystem/lock-table.js';

const TEXTS: { readonly [T in CommandType]: (command: Extract<Command, { type: T }>) => string } = {
  'open-session': ({ name }) => `open session for ${name}`,
  'keep-alive': ({ seenIndex }) => `keep alive, seen ${seenIndex}`,
  'close-session': () => 'close session',
  'expire-session': ({ session }) => `expire session ${session}`,
  nothing: () => 'nothing',
  'make-node': ({ parent, name }) => `make ${nameText(name)} in ${parent}`,
  'make-unnamed': ({ parent }) => `make a file without a name in ${parent}`,
  'make-symlink': ({ parent, name, target }) =>
    `link ${nameText(name)} in ${parent} to ${nameText(target)}`,
  link: ({ ino, parent, name }) => `link ${nameText(name)} in ${parent} to inode ${ino}`,
  unlink: ({ parent, name }) => `unlink ${nameText(name)} in ${parent}`,
  'remove-directory': ({ parent, name }) => `remove directory ${nameText(name)} in ${parent}`,
  rename: ({ parent, name, newParent, newName }) =>
    `rename ${nameText(name)} in ${parent} to ${nameText(newName)} in ${newParent}`,
  'set-attributes': ({ ino }) => `set attributes of ${ino}`,
  write: ({ ino, offset, data, append }) =>
    append === true
      ? `append ${data.length} bytes to ${ino}: ${dataText(data)}`
      : `write ${data.length} bytes to ${ino} at ${offset}: ${dataText(data)}`,
  allocate: ({ ino, offset, length, mode }) => `${mode} ${length} bytes of ${ino} at ${offset}`,
  'copy-range': ({ ino, offset, toIno, toOffset, length }) =>
    `copy ${length} bytes of ${ino} at ${offset} to ${toIno} at ${toOffset}`,
  'set-xattr': ({ ino, name }) => `set ${nameText(name)} of ${ino}`,
  lock: ({ ino, kind, mode, first, last }) => {
    const range = kind === 'flock' ? '' : `, bytes ${first}–${last === LOCK_LAST_MAX ? '' : last}`;
    return `lock inode ${ino}, ${kind}: ${mode}${range}`;
  },
  'cancel-lock': ({ ino }) => `wait no longer for a lock on inode ${ino}`,
  'recall-locks': ({ ino }) => `who decides about locks on inode ${ino} is to return that`,
  'return-locks': ({ ino }) => `decide no longer about locks on inode ${ino}`,
  'set-quota': ({ bytes, inodes }) =>
    `set the quota: ${bytes ?? 'any'} bytes, ${inodes ?? 'any'} inodes`,
  'remove-xattr': ({ ino, name }) => `remove ${nameText(name)} of ${ino}`,
};

/** Characters of a name or of content that a person is shown. */
const TEXT_CHARS_MAX = 40;

/** One line for people. */
export function commandText(command: Command): string {
  // The record is complete by its type; the compiler cannot relate the key to the command.
  return (TEXTS[command.type] as (command: Command) => string)(command);
}

function nameText(bytes: Uint8Array): string {
  return `'${clean(bytes)}'`;
}

function dataText(bytes: Uint8Array): string {
  return clean(bytes);
}

function clean(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.subarray(0, TEXT_CHARS_MAX)).toString();
  // Whatever a terminal or a page could take for something else: controls and what is no UTF-8.
  const shown = head.replace(/[\p{C}\uFFFD]/gu, '·');
  return bytes.length > TEXT_CHARS_MAX ? `${shown}…` : shown;
}
