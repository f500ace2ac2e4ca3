import type { Clock, Timer } from '../base/clock.js';
import { describe, type ErrorCode, isMootError, MootError } from '../base/errors.js';
import { CallLimits, seconds } from '../client/call.js';
import {
  type CallOptions,
  DEADLINE_MS_DEFAULT,
  type FilesystemClient,
} from '../client/filesystem-client.js';
import type { ChangedInode } from '../filesystem/commands.js';
import { FILE_BYTES_MAX, type Ino, WRITE_BYTES_MAX } from '../filesystem/records.js';
import { interrupted, settledOrAborted } from './abort.js';
import type { ErrorsTold, OpenFile } from './handles.js';
import type { WriteFlags } from './mount.js';

/**
 * Written bytes that are not committed yet, of one mount. Enough commands of 1 MiB on their way
 * to fill a fast network for the time of a commit, and little beside a process's memory. Beyond
 * it write(2) waits.
 */
export const UNCOMMITTED_BYTES_MAX = 16 * 1_048_576;

/** What a command costs beside its bytes: it bounds the number of tiny ones. */
const COMMAND_OVERHEAD_BYTES = 1_024;

/**
 * Files that are closed and of whose failed write nobody was told. Each waits for the next open(2) or
 * for the end of the mount; beyond it the oldest is forgotten.
 */
const UNREPORTED_MAX = 1_024;

/** How many of the files whose writes were lost are named in a message. */
const NAMED_MAX = 5;

/**
 * Written bytes start on their way to the cluster after this time at the latest, so that other
 * mounts see what a program wrote and did not close. Long enough for a loop of small writes to
 * share a command.
 */
export const WRITE_DELAY_MS = 50;

export interface WriteBehindParts {
  readonly client: FilesystemClient;
  readonly clock: Clock;
  readonly callOptions: CallOptions;
  /** A write was committed. `misplaced`: the kernel's pages do not have it, or elsewhere than it is. */
  readonly committed: (ino: Ino, value: ChangedInode, misplaced: boolean) => void;
  /** What is written now counts in this session only; null: in any. */
  readonly boundTo?: () => number | null;
  /** A delayed write failed, or nobody knows whether it counts. */
  readonly failed: (ino: Ino) => void;
  readonly uncommittedBytesMax?: number;
}

/** Bytes that one write command will carry. `data` may be longer than what is filled. */
interface Extent {
  readonly append: boolean;
  /** Where it goes; for an append, where the kernel thinks that it goes. */
  offset: number;
  data: Uint8Array;
  length: number;
  killPrivileges: boolean;
  /** It did not go through the kernel's pages, or its appends do not lie one behind the other in them. */
  misplaced: boolean;
  readonly boundTo: number | null;
}

interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
}

interface InodeWrites {
  readonly ino: Ino;
  extent: Extent | null;
  timer: Timer | null;
  commandsInFlight: number;
  /** Settles when all commands sent so far are decided; never rejects. */
  tail: Promise<void>;
  openFiles: number;
  /** How many writes have failed, the last one's error, and whether any open file was told. */
  errors: number;
  lastError: MootError | null;
  reported: boolean;
}

/**
 * Write-behind: write(2) leaves its bytes here; they go to the cluster as few and large commands,
 * many of them on their way at once. The client keeps commands in order, so whatever is sent after
 * `send(ino)` takes effect after the inode's writes.
 *
 * Errors of delayed writes are told as Linux does it for its page cache (errseq_t): fsync(2) tells every
 * open file once of the failures since it last asked; one that was told to nobody is also told to the
 * next who opens the file. write(2) tells of them as soon as they are known, once, and close(2) each
 * time until fsync(2) has: neither says that nothing was lost before. A child that ends closes what it
 * has inherited, and looks at no result; and who repeats a write that failed has not asked for others.
 */
export class WriteBehind {
  private readonly inodes = new Map<Ino, InodeWrites>();
  /** Nobody has them open, and nobody was told of their errors. */
  private readonly unreported = new Set<InodeWrites>();
  private readonly bytesMax: number;
  /** Of extents, of commands on their way, and of writers that were admitted. */
  private bytes = 0;
  private decidedAtMs = Number.NEGATIVE_INFINITY;
  /** Writers that wait for room, in order. */
  private readonly waiting: Waiter[] = [];

  constructor(private readonly parts: WriteBehindParts) {
    this.bytesMax = parts.uncommittedBytesMax ?? UNCOMMITTED_BYTES_MAX;
  }

  /** A file was opened; returns what the open file must keep. */
  opened(ino: Ino): ErrorsTold {
    const writes = this.writesOf(ino);
    writes.openFiles++;
    this.unreported.delete(writes);
    const told = writes.reported ? writes.errors : writes.errors - 1;
    return { fsync: told, write: told, close: told };
  }

  released({ ino, errorsTold }: OpenFile): void {
    const writes = this.writesOf(ino);
    writes.openFiles--;
    if (errorsTold.close === writes.errors) writes.reported = true;
    // Normally nothing: close(2) has flushed. After an interrupted close the rest goes out here.
    this.sendExtent(writes);
    this.dropIfIdle(writes);
  }

  /** Resolves when the bytes are here; takes `data` over. */
  async write(
    file: OpenFile,
    offset: number,
    data: Uint8Array,
    { append, killPrivileges }: WriteFlags,
    signal: AbortSignal,
  ): Promise<void> {
    this.throwUntold(file, 'write');
    if (!append && offset + data.length > FILE_BYTES_MAX) {
      throw new MootError('EFBIG', `a file ends at ${FILE_BYTES_MAX} bytes`);
    }
    // Of now: while it waits for room, the session may end, and with it the locks under which it writes.
    const boundTo = this.parts.boundTo?.() ?? null;
    for (let from = 0; from < data.length; from += WRITE_BYTES_MAX) {
      const piece =
        data.length <= WRITE_BYTES_MAX ? data : data.subarray(from, from + WRITE_BYTES_MAX);
      if (this.waiting.length === 0 && this.hasRoomFor(piece.length)) this.bytes += piece.length;
      else await this.room(piece.length, signal);
      this.put(file, append, offset + from, piece, killPrivileges, boundTo);
    }
  }

  /** The inode has written bytes that are not committed. */
  isPending(ino: Ino): boolean {
    const writes = this.inodes.get(ino);
    return writes !== undefined && (writes.extent !== null || writes.commandsInFlight > 0);
  }

  /** Write commands of the inode were sent, and are not decided. */
  isOnItsWay(ino: Ino): boolean {
    return (this.inodes.get(ino)?.commandsInFlight ?? 0) > 0;
  }

  /** Waits for what was sent, without sending what is buffered. */
  async decided(ino: Ino): Promise<void> {
    await this.inodes.get(ino)?.tail;
  }

  /** Sends what is buffered of the inode. Commands executed from now on come after it. */
  send(ino: Ino): void {
    const writes = this.inodes.get(ino);
    if (writes !== undefined) this.sendExtent(writes);
  }

  sendAll(): void {
    for (const writes of this.inodes.values()) this.sendExtent(writes);
  }

  /** Sends, and waits until all that was written of the inode so far is decided, well or not. */
  async settle(ino: Ino, signal?: AbortSignal): Promise<void> {
    const writes = this.inodes.get(ino);
    if (writes === undefined) return;
    this.sendExtent(writes);
    if (writes.commandsInFlight > 0) await settledOrAborted(writes.tail, signal);
  }

  /** `settle`, and the failures that this open file was not told of by such a call. */
  async fsync(file: OpenFile, signal: AbortSignal): Promise<void> {
    await this.settle(file.ino, signal);
    this.throwUntold(file, 'fsync');
  }

  /** As `fsync`, for one of the file's descriptors that is closed. */
  async close(file: OpenFile, signal: AbortSignal): Promise<void> {
    await this.settle(file.ino, signal);
    this.throwUntold(file, 'close');
  }

  async settleAll(signal?: AbortSignal): Promise<void> {
    await Promise.all([...this.inodes.keys()].map((ino) => this.settle(ino, signal)));
  }

  /**
   * Settles all for good. What was not committed, and nobody was told of, is the error: after a mount
   * has ended there is nobody else to tell. Waits at most that long for what is not decided.
   */
  async end(waitMs: number, signal?: AbortSignal): Promise<void> {
    const over = new AbortController();
    const stop = () => over.abort();
    const timer = this.parts.clock.setTimer(waitMs, stop);
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    try {
      await this.settleAll(over.signal);
    } catch (error) {
      if (!isMootError(error, 'INTERRUPTED')) throw error;
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', stop);
    }
    this.throwLost();
  }

  private throwLost(): void {
    const lost: string[] = [];
    let code: ErrorCode | null = null;
    for (const writes of this.inodes.values()) {
      const isUnknown = this.isPending(writes.ino);
      if (!isUnknown && writes.reported) continue;
      code ??= isUnknown ? 'OUTCOME_UNKNOWN' : (writes.lastError?.code ?? null);
      const why = isUnknown ? 'not decided' : describe(writes.lastError);
      lost.push(`inode ${writes.ino} (${why})`);
    }
    if (code === null) return;
    const more = lost.length > NAMED_MAX ? ` and ${lost.length - NAMED_MAX} more` : '';
    const named = lost.slice(0, NAMED_MAX).join(', ');
    throw new MootError(code, `bytes were written that are not committed: ${named}${more}`);
  }

  private throwUntold({ ino, errorsTold }: OpenFile, by: keyof ErrorsTold): void {
    const writes = this.inodes.get(ino);
    if (writes === undefined) return;
    const { fsync, write } = errorsTold;
    if (writes.errors === (by === 'write' ? Math.max(fsync, write) : fsync)) return;
    errorsTold[by] = writes.errors;
    if (by === 'fsync') {
      writes.reported = true;
      this.unreported.delete(writes);
    }
    const { lastError } = writes;
    if (lastError === null) return;
    throw new MootError(lastError.code, `an earlier write to inode ${ino} failed`, {
      cause: lastError,
    });
  }

  /** Adds reserved bytes to the inode's extent, or begins a new one. */
  private put(
    { ino, direct }: OpenFile,
    append: boolean,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
    boundTo: number | null,
  ): void {
    const writes = this.writesOf(ino);
    const before = writes.extent?.length ?? 0;
    if (
      writes.extent !== null &&
      (writes.extent.boundTo !== boundTo ||
        !merge(writes.extent, append, offset, data, killPrivileges))
    ) {
      this.sendExtent(writes);
    } else if (writes.extent !== null) {
      // What lies over earlier bytes takes no room of its own.
      this.bytes -= data.length - (writes.extent.length - before);
      this.admitWaiting();
    }
    if (writes.extent === null) {
      this.bytes += COMMAND_OVERHEAD_BYTES;
      const { length } = data;
      writes.extent = { append, offset, data, length, killPrivileges, misplaced: false, boundTo };
      writes.timer = this.parts.clock.setTimer(WRITE_DELAY_MS, () => this.sendExtent(writes));
    }
    writes.extent.misplaced ||= direct;
    if (writes.extent.length >= WRITE_BYTES_MAX || this.waiting.length > 0) {
      this.sendExtent(writes);
    }
  }

  private sendExtent(writes: InodeWrites): void {
    const { extent, ino } = writes;
    if (extent === null) return;
    writes.timer?.cancel();
    writes.timer = null;
    writes.extent = null;
    writes.commandsInFlight++;
    const data =
      extent.length === extent.data.length ? extent.data : extent.data.subarray(0, extent.length);
    const { offset, append, killPrivileges, boundTo } = extent;
    const decided = this.parts.client
      .execute(
        {
          type: 'write',
          ino,
          offset: append ? 0 : offset,
          data,
          ...(append ? { append } : {}),
          ...(killPrivileges ? { killPrivileges } : {}),
        },
        boundTo === null
          ? this.parts.callOptions
          : { ...this.parts.callOptions, inSession: boundTo },
      )
      .then(
        (value) => {
          const landedElsewhere = append && value.inode.size !== offset + extent.length;
          this.parts.committed(ino, value, extent.misplaced || landedElsewhere);
        },
        (error: unknown) => this.fail(writes, error),
      )
      .then(() => this.finish(writes, extent.length));
    writes.tail = Promise.all([writes.tail, decided]).then(() => undefined);
  }

  private fail(writes: InodeWrites, error: unknown): void {
    if (!isMootError(error)) throw error;
    writes.errors++;
    writes.lastError = error;
    writes.reported = false;
    this.parts.failed(writes.ino);
  }

  private finish(writes: InodeWrites, length: number): void {
    writes.commandsInFlight--;
    this.bytes -= length + COMMAND_OVERHEAD_BYTES;
    this.decidedAtMs = this.parts.clock.monotonicMs();
    this.admitWaiting();
    this.dropIfIdle(writes);
  }

  private hasRoomFor(bytes: number): boolean {
    return this.bytes === 0 || this.bytes + bytes + COMMAND_OVERHEAD_BYTES <= this.bytesMax;
  }

  /**
   * Waits for its turn and reserves the bytes. NO_LEADER when no write was decided for the time of the
   * deadline.
   */
  private room(bytes: number, signal: AbortSignal): Promise<void> {
    this.sendAll();
    if (signal.aborted) return Promise.reject(interrupted());
    return new Promise((resolve, reject) => {
      const { clock, callOptions } = this.parts;
      const deadlineMs = callOptions.deadlineMs ?? DEADLINE_MS_DEFAULT;
      const startedMs = clock.monotonicMs();
      const giveUp = (error: MootError) => {
        limits.release();
        this.waiting.splice(this.waiting.indexOf(waiter), 1);
        reject(error);
        this.admitWaiting();
      };
      const limits = new CallLimits(
        clock,
        deadlineMs,
        signal,
        () => {
          const sinceMs = clock.monotonicMs() - Math.max(startedMs, this.decidedAtMs);
          if (sinceMs < deadlineMs) return deadlineMs - sinceMs;
          const waited = `no room for written bytes for ${seconds(sinceMs)}`;
          giveUp(new MootError('NO_LEADER', waited));
          return 0;
        },
        () => giveUp(interrupted()),
      );
      const waiter: Waiter = {
        bytes,
        admit: () => {
          limits.release();
          resolve();
        },
      };
      this.waiting.push(waiter);
    });
  }

  private admitWaiting(): void {
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      if (!this.hasRoomFor(first.bytes)) return;
      this.waiting.shift();
      this.bytes += first.bytes;
      first.admit();
    }
  }

  private writesOf(ino: Ino): InodeWrites {
    let writes = this.inodes.get(ino);
    if (writes === undefined) {
      writes = {
        ino,
        extent: null,
        timer: null,
        commandsInFlight: 0,
        tail: Promise.resolve(),
        openFiles: 0,
        errors: 0,
        lastError: null,
        reported: true,
      };
      this.inodes.set(ino, writes);
    }
    return writes;
  }

  private dropIfIdle(writes: InodeWrites): void {
    if (writes.openFiles > 0 || writes.extent !== null || writes.commandsInFlight > 0) return;
    if (writes.reported) {
      this.inodes.delete(writes.ino);
      return;
    }
    this.unreported.add(writes);
    const [oldest] = this.unreported;
    if (this.unreported.size <= UNREPORTED_MAX || oldest === undefined) return;
    this.unreported.delete(oldest);
    this.inodes.delete(oldest.ino);
  }
}

/** Adds the bytes to the extent when one command can carry both; false when not. */
function merge(
  extent: Extent,
  append: boolean,
  offset: number,
  data: Uint8Array,
  killPrivileges: boolean,
): boolean {
  if (append !== extent.append) return false;
  const end = extent.offset + extent.length;
  const at = append ? extent.length : offset - extent.offset;
  const length = Math.max(extent.length, at + data.length);
  if (at < 0 || at > extent.length || length > WRITE_BYTES_MAX) return false;
  if (length > extent.data.length) extent.data = grown(extent.data, extent.length, length);
  extent.data.set(data, at);
  extent.length = length;
  extent.killPrivileges ||= killPrivileges;
  if (append && offset !== end) extent.misplaced = true;
  return true;
}

/** A copy with room for at least `length`, and for more of the same to come. */
function grown(data: Uint8Array, used: number, length: number): Uint8Array {
  const room = Math.min(WRITE_BYTES_MAX, Math.max(length, 4 * used));
  const copy = Buffer.allocUnsafeSlow(room);
  copy.set(data.subarray(0, used));
  return copy;
}
