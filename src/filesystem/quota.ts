import type { Command, SetQuota } from './commands.js';
import type { Draft } from './draft.js';
import type { Look } from './facts.js';
import { entryKey, inodeKey } from './keys.js';
import { latin1 } from './name.js';
import { CHUNK_BYTES, type Counters } from './records.js';
import { refuse } from './refusal.js';

export function setQuota(draft: Draft, { bytes, inodes }: SetQuota): null {
  draft.counters.bytesMax = bytes;
  draft.counters.inodesMax = inodes;
  return null;
}

/**
 * EDQUOT for a command that makes more of what there is too much of. Whatever makes less, or changes
 * what is there already, goes on beyond a quota, too: so one may be set below what is stored.
 */
export function refuseBeyondQuota({ before, counters }: Draft): void {
  const { bytes, bytesMax, inodes, inodesMax } = counters;
  if (bytesMax !== null && bytes > bytesMax && bytes > before.bytes) refuse('EDQUOT');
  if (inodesMax !== null && inodes > inodesMax && inodes > before.inodes) refuse('EDQUOT');
}

/**
 * The command would go beyond the quota for certain, as the tree is now: it need not enter the log.
 * What only applying it shows, as how much of a write lies over old bytes, is refused there.
 */
export function isBeyondQuota(command: Command, counters: Counters, look: Look): boolean {
  const { bytes, bytesMax, inodes, inodesMax } = counters;
  const isFull = inodesMax !== null && inodes >= inodesMax;
  switch (command.type) {
    case 'make-node':
    case 'make-symlink':
      // A name that is there is EEXIST.
      return isFull && look(entryKey(command.parent, latin1(command.name))) === null;
    case 'make-unnamed':
      return isFull;
    case 'write': {
      if (bytesMax === null || bytes + command.data.length <= bytesMax) return false;
      const inode = look(inodeKey(command.ino));
      return inode ? command.append === true || command.offset >= inode.size : false;
    }
    default:
      return false;
  }
}

/** Commands that take space: none of them is needed to get some back. */
const GROWING: ReadonlySet<Command['type']> = new Set([
  'make-node',
  'make-unnamed',
  'make-symlink',
  'link',
  'write',
  'copy-range',
  'set-xattr',
]);

export function takesSpace(command: Command): boolean {
  return GROWING.has(command.type);
}

/** What a command takes beside its data, about. */
const COMMAND_BYTES = 256;

/** How much less room a disk may have, about, when the command is in the log and in the tree. */
export function spaceOf(command: Command): number {
  switch (command.type) {
    case 'write':
      // What its first chunk has before it is stored, too, and be it zeros.
      return COMMAND_BYTES + command.data.length + (command.offset % CHUNK_BYTES);
    case 'copy-range':
      return COMMAND_BYTES + command.length + (command.toOffset % CHUNK_BYTES);
    case 'set-xattr':
      return COMMAND_BYTES + command.value.length;
    default:
      return COMMAND_BYTES;
  }
}
