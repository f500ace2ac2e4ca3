import { isMootError } from '../base/errors.js';
import type {
  AllocateMode,
  ChangedInode,
  CopyRange,
  SetAttributes,
} from '../filesystem/commands.js';
import { CLEARED_BYTES_MAX, COPIED_BYTES_MAX, type Ino } from '../filesystem/records.js';
import type { ClusterCalls } from './cluster-calls.js';
import type { KernelCaches } from './kernel-caches.js';
import type { Caller, FileRange, Handle } from './mount.js';
import type { WriteBehind } from './write-behind.js';

/** One copy_file_range(2) is answered when this much is copied: the program sees that it goes on. */
const COPY_REQUEST_BYTES_MAX = 8 * COPIED_BYTES_MAX;

interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly mode: AllocateMode;
}

/**
 * Changes of long ranges of files. What is too much for one command is done in several. In order with
 * what was written before: bytes that wait are sent first, and must neither survive nor come later.
 */
export class Ranges {
  constructor(
    private readonly cluster: ClusterCalls,
    private readonly writes: WriteBehind,
    private readonly caches: KernelCaches,
    /** Throws when nothing may go through this handle any more. */
    private readonly check: (handle: Handle) => void,
  ) {}

  /** Also of a size, which may cut much off. */
  async setAttributes(command: SetAttributes, caller: Caller): Promise<ChangedInode> {
    this.writes.send(command.ino);
    for (;;) {
      try {
        const value = await this.cluster.execute(command, caller);
        this.caches.changed(command.ino, value, false);
        return value;
      } catch (error) {
        if (command.size === undefined || !isMootError(error, 'E2BIG')) throw error;
        await this.cutOnTheWayTo(command.ino, command.size, caller);
      }
    }
  }

  /** Cuts off what one command may at least. Where nothing is stored, and that is not known here, more. */
  private async cutOnTheWayTo(ino: Ino, size: number, caller: Caller): Promise<void> {
    const { inode } = await this.cluster.query({ type: 'get-inode', ino }, caller);
    let at = inode.size;
    for (let step = CLEARED_BYTES_MAX; at - step > size; step *= 2) {
      try {
        const cut = { type: 'set-attributes', ino, size: at - step } as const;
        this.caches.unanswered(cut);
        this.caches.changed(ino, await this.cluster.execute(cut, caller), false);
      } catch (error) {
        if (!isMootError(error, 'E2BIG')) throw error;
        return;
      }
      at -= step;
    }
  }

  async allocate(
    { ino, handle, offset }: FileRange,
    length: number,
    mode: AllocateMode,
    caller: Caller,
  ): Promise<void> {
    this.writes.send(ino);
    const clears = mode === 'punch' || mode === 'zero';
    const pieces =
      clears && length > CLEARED_BYTES_MAX
        ? await this.piecesToClear(ino, offset, length, mode, caller)
        : [{ offset, length, mode }];
    for (const piece of pieces) {
      // Locks may have been lost since it began.
      this.check(handle);
      const killPrivileges = caller.uid !== 0;
      const command = { type: 'allocate', ino, ...piece, killPrivileges } as const;
      this.caches.changed(ino, await this.cluster.execute(command, caller), false);
    }
  }

  /** As far as the file reaches; of what lies behind it, only that it is there. */
  private async piecesToClear(
    ino: Ino,
    offset: number,
    length: number,
    mode: AllocateMode,
    caller: Caller,
  ): Promise<Piece[]> {
    await this.writes.settle(ino, caller.signal);
    const { inode } = await this.cluster.query({ type: 'get-inode', ino }, caller);
    const end = offset + length;
    const clearEnd = Math.min(end, Math.max(inode.size, offset + 1));
    const pieces: Piece[] = [];
    for (let at = offset; at < clearEnd; at += CLEARED_BYTES_MAX) {
      const pieceLength = Math.min(CLEARED_BYTES_MAX, clearEnd - at);
      pieces.push({ offset: at, length: pieceLength, mode: 'punch' });
    }
    if (mode === 'zero') pieces.push({ offset, length, mode: 'reserve' });
    return pieces;
  }

  async seek({ ino, offset }: FileRange, what: 'data' | 'hole', caller: Caller): Promise<number> {
    await this.writes.settle(ino, caller.signal);
    return (await this.cluster.query({ type: 'seek', ino, offset, what }, caller)).offset;
  }

  async copy(from: FileRange, to: FileRange, length: number, caller: Caller): Promise<number> {
    this.writes.send(from.ino);
    this.writes.send(to.ino);
    const wanted = Math.min(length, COPY_REQUEST_BYTES_MAX);
    let copied = 0;
    while (copied < wanted) {
      this.check(to.handle);
      const command: CopyRange = {
        type: 'copy-range',
        ino: from.ino,
        offset: from.offset + copied,
        toIno: to.ino,
        toOffset: to.offset + copied,
        length: Math.min(wanted - copied, COPIED_BYTES_MAX),
        killPrivileges: caller.uid !== 0,
      };
      try {
        const value = await this.cluster.execute(command, caller);
        this.caches.changed(to.ino, value, false);
        copied += value.copied;
        this.caches.filled(to.ino, to.offset + copied);
        if (value.copied < command.length) break;
      } catch (error) {
        // What was copied before is told; the next call meets the error again.
        if (!isMootError(error) || copied === 0) throw error;
        break;
      }
    }
    return copied;
  }
}
