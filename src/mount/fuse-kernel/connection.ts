import { read, writeSync, writevSync } from 'node:fs';
import { assert } from '../../base/assert.js';
import { MootError } from '../../base/errors.js';
import { WRITE_BYTES_MAX } from '../../filesystem/records.js';
import type { MountOperations, RequestObserver } from '../mount.js';
import { errnoNameOf } from '../mount-point.js';
import { Session } from './session.js';

/** The kernel refuses a read into a buffer that could not hold the largest request. */
const BUFFER_BYTES = WRITE_BYTES_MAX + 4096;

/** How long to wait before reading again while mount(8) has not yet made the connection. */
const NOT_YET_MOUNTED_RETRY_MS = 3;

/**
 * Errno names with which the kernel refuses a reply whose request is gone: ENOENT after an abort
 * of the request, the others after an unmount.
 */
const GONE = new Set(['ENOENT', 'ENODEV', 'EPERM', 'ENOTCONN', 'ECONNABORTED']);

/**
 * The conversation with the kernel over one open /dev/fuse: reads requests for a Session, and writes
 * its replies.
 *
 * Every reader waits in a thread of libuv's pool (UV_THREADPOOL_SIZE at process start must leave
 * threads for other work), and nothing but the end of the mount makes it return: a process that
 * exits with readers waiting hangs. See mount-fuse-kernel.ts.
 */
export class Connection {
  /** Resolves when the kernel has closed the connection and all readers have stopped. */
  readonly ended: Promise<void>;
  /** Resolves when the kernel and we agree on the protocol. */
  readonly negotiated: Promise<void>;
  readonly #session: Session;
  #readers = 0;
  #over = false;
  #mounted = false;
  #closed = false;
  #kernelMinor = 0;
  #resolveEnded!: () => void;
  #settleNegotiated!: (error: MootError | null) => void;

  constructor(
    private readonly fd: number,
    operations: MountOperations,
    debug: ((line: string) => void) | null,
    observer: RequestObserver | null,
    clusterLocks: boolean,
  ) {
    this.#session = new Session({
      operations,
      write: (head, data) => this.#write(head, data),
      onNegotiated: (kernelMinor, error) => {
        this.#kernelMinor = kernelMinor;
        this.#settleNegotiated(error);
      },
      debug,
      observer,
      clusterLocks,
    });
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.negotiated = new Promise((resolve, reject) => {
      this.#settleNegotiated = (error) => (error === null ? resolve() : reject(error));
    });
    // Nobody waits for it when mounting has failed before.
    this.negotiated.catch(() => {});
  }

  /** Starts reading; more readers may be added later. */
  addReaders(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#readers++;
      this.#read(Buffer.allocUnsafeSlow(BUFFER_BYTES));
    }
  }

  /** The connection exists now: from here on EPERM means that it is gone. */
  setMounted(): void {
    this.#mounted = true;
  }

  /** Makes the readers stop that wait for a mount that will not come. */
  giveUp(): void {
    this.#over = true;
  }

  /** Of the protocol, as the kernel offered it; 0 before. */
  get kernelMinor(): number {
    return this.#kernelMinor;
  }

  /** Ends all waiting: every request under way is interrupted now. */
  interruptAll(): void {
    this.#session.interruptAll();
  }

  /** From now on nothing is written: the descriptor's number may soon mean another file. */
  close(): void {
    this.#closed = true;
  }

  /** Does not block: the kernel copies a reply to the request that waits for it. */
  #write(head: Uint8Array, data: Uint8Array | null): void {
    if (this.#closed) return;
    try {
      if (data === null || data.length === 0) writeSync(this.fd, head, 0, head.length, null);
      else writevSync(this.fd, [head, data]);
    } catch (error) {
      // EINVAL would be a reply of the wrong form.
      assert(GONE.has(errnoNameOf(error)), `the kernel takes every reply (${error})`);
    }
  }

  #read(buffer: Buffer): void {
    if (this.#over) {
      this.#onReaderStopped();
      return;
    }
    read(this.fd, buffer, 0, buffer.length, null, (error, bytes) => {
      if (error === null) {
        const taken = this.#session.dispatch(buffer, bytes);
        this.#read(taken ? Buffer.allocUnsafeSlow(BUFFER_BYTES) : buffer);
      } else {
        this.#onReadError(error, buffer);
      }
    });
  }

  #onReadError(error: NodeJS.ErrnoException, buffer: Buffer): void {
    switch (error.code) {
      case 'EINTR':
      case 'EAGAIN':
      case 'ENOENT': // the request was interrupted before it was read
        this.#read(buffer);
        break;
      case 'EPERM': // not mounted
        if (this.#mounted) this.#onReaderStopped();
        else setTimeout(() => this.#read(buffer), NOT_YET_MOUNTED_RETRY_MS);
        break;
      case 'ENODEV': // unmounted, or aborted
      case 'ECONNABORTED':
        this.#over = true;
        this.#onReaderStopped();
        break;
      default:
        assert(false, `/dev/fuse can be read (${error.message})`);
    }
  }

  #onReaderStopped(): void {
    this.#readers--;
    if (this.#readers > 0) return;
    this.#over = true;
    this.interruptAll();
    this.#settleNegotiated(new MootError('MOUNT_UNAVAILABLE', 'it was unmounted at once'));
    this.#resolveEnded();
  }
}
