import { anyInode, changedContent, refuseContentless } from './attributes.js';
import type { Allocate, ChangedInode, CopiedRange, CopyRange } from './commands.js';
import { clearContent, type Stored } from './content.js';
import { copyContent } from './content-ranges.js';
import type { Draft } from './draft.js';
import { refuseFrozen, refuseImmutable } from './inode-flags.js';
import { CLEARED_BYTES_MAX, COPIED_BYTES_MAX, FILE_BYTES_MAX } from './records.js';
import { refuse } from './refusal.js';

/** fallocate(2). EFBIG when the range ends beyond FILE_BYTES_MAX. */
export function allocate(draft: Draft, command: Allocate): ChangedInode {
  const inode = anyInode(draft, command.ino);
  refuseContentless(inode);
  const { offset, length, mode } = command;
  if (length === 0) return refuse('EINVAL');
  if (offset + length > FILE_BYTES_MAX) return refuse('EFBIG');
  const clears = mode === 'punch' || mode === 'zero';
  if (clears && length > CLEARED_BYTES_MAX) return refuse('EINVAL');
  refuseImmutable(inode);
  if (clears) refuseFrozen(inode);
  const grows = mode === 'reserve' || mode === 'zero';
  const size = grows ? Math.max(inode.size, offset + length) : inode.size;
  const stored: Stored = clears
    ? clearContent(draft, inode, offset, offset + length)
    : { content: inode.content, bytes: inode.bytes };
  return changedContent(draft, inode, { ...stored, size }, command.killPrivileges === true);
}

/** copy_file_range(2). Nothing copied is nothing changed. */
export function copyRange(draft: Draft, command: CopyRange): CopiedRange {
  const source = anyInode(draft, command.ino);
  const target = anyInode(draft, command.toIno);
  refuseContentless(source);
  refuseContentless(target);
  refuseFrozen(target);
  const { offset, toOffset } = command;
  if (command.length > COPIED_BYTES_MAX) return refuse('EINVAL');
  const length = Math.max(0, Math.min(command.length, source.size - offset));
  const overlap = Math.abs(offset - toOffset) < command.length;
  if (source.ino === target.ino && overlap) return refuse('EINVAL');
  if (length === 0) return { inode: target, dataVersionBefore: target.dataVersion, copied: 0 };
  if (toOffset + length > FILE_BYTES_MAX) return refuse('EFBIG');
  const stored = copyContent(draft, source, offset, target, toOffset, length);
  const size = Math.max(target.size, toOffset + length);
  const changed = changedContent(
    draft,
    target,
    { ...stored, size },
    command.killPrivileges === true,
  );
  return { ...changed, copied: length };
}
