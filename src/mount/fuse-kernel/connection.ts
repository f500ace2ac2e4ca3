import { read, readFile } from 'node:fs';
import { assert } from '../../base/assert.js';
import { errnoOf } from '../../base/errno.js';
import { isMootError, MootError } from '../../base/errors.js';
import { WRITE_BYTES_MAX } from '../../filesystem/records.js';
import type { MountOperations, RequestObserver } from '../mount.js';
import { errnoNameOf } from '../mount-point.js';
import { handlerOf, type Served, UNANSWERED } from './handlers.js';
import { OPCODE, SIZE } from './protocol.js';
import { Replies } from './replies.js';
import { type Body, type KernelRequest, readHeader, readLength } from './requests.js';

/** The kernel refuses a read into a buffer that could not hold the largest request. */
const BUFFER_BYTES = WRITE_BYTES_MAX + 4096;

/** How long to wait before reading again while mount(8) has not yet made the connection. */
const NOT_YET_MOUNTED_RETRY_MS = 3;

/**
 * How long an operation may go on after a signal that its caller survives. Filesystem calls are
 * not interruptible on a disk, and few programs expect EINTR from open(2) because a SIGALRM or a
 * SIGCHLD came by: so operations that are soon done are let end. A caller that is being killed
 * waits for nothing.
 */
const INTERRUPT_GRACE_MS = 1000;

const SIGKILL_BIT = 1n << 8n;

/**
 * The conversation with the kernel over one open /dev/fuse: reads requests, hands them to their
 * handlers, and keeps the table of those under way.
 *
 * Every reader waits in a thread of libuv's pool (UV_THREADPOOL_SIZE at process start must leave
 * threads for other work), and nothing but the end of the mount makes it return: a process that
 * exits with readers waiting hangs. See mount-fuse-kernel.ts.
 */
export class Connection implements Served {
  readonly replies: Replies;
  /** Resolves when the kernel has closed the connection and all readers have stopped. */
  readonly ended: Promise<void>;
  /** Resolves when the kernel and we agree on the protocol. */
  readonly negotiated: Promise<void>;
  readonly #requests = new Map<bigint, KernelRequest>();
  #readers = 0;
  #over = false;
  #mounted = false;
  #kernelMinor = 0;
  #resolveEnded!: () => void;
  #settleNegotiated!: (error: MootError | null) => void;

  constructor(
    private readonly fd: number,
    readonly operations: MountOperations,
    private readonly debug: ((line: string) => void) | null,
    private readonly observer: RequestObserver | null,
  ) {
    this.replies = new Replies(fd, (request, errno) => this.#onReply(request, errno));
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

  onNegotiated = (kernelMinor: number, error: MootError | null): void => {
    this.#kernelMinor = kernelMinor;
    this.#settleNegotiated(error);
  };

  interrupt = (unique: bigint): boolean => {
    const request = this.#requests.get(unique);
    if (request === undefined) return false;
    void this.#interruptInTime(request);
    return true;
  };

  /** Ends all waiting: every request under way is interrupted now. */
  interruptAll(): void {
    for (const request of this.#requests.values()) request.interrupt();
  }

  #read(buffer: Buffer): void {
    if (this.#over) {
      this.#onReaderStopped();
      return;
    }
    read(this.fd, buffer, 0, buffer.length, null, (error, bytes) => {
      if (error === null) {
        const taken = this.#dispatch(buffer, bytes);
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

  /** True: a handler keeps the buffer. */
  #dispatch(buffer: Buffer, bytes: number): boolean {
    assert(bytes >= SIZE.IN_HEADER && readLength(buffer) === bytes, 'requests come whole');
    const request = readHeader(buffer);
    const { opcode, unique } = request;
    if (!UNANSWERED.has(opcode)) {
      assert(!this.#requests.has(unique), 'a request comes once');
      this.#requests.set(unique, request);
    }
    if (this.debug !== null) {
      this.debug(`> ${unique} ${nameOf(opcode)} inode ${request.ino}, ${bytes} bytes`);
    }
    if (this.observer !== null) request.startedMs = performance.now();
    const body: Body = { buffer, start: SIZE.IN_HEADER, end: bytes, taken: false };
    try {
      const done = handlerOf(opcode)(this, request, body);
      if (done !== undefined) void done.then(undefined, (error) => this.#onFailed(request, error));
    } catch (error) {
      this.#onFailed(request, error);
    }
    return body.taken;
  }

  /** What is not a MootError is a bug and ends the process, see assert.ts. */
  #onFailed(request: KernelRequest, error: unknown): void {
    if (!isMootError(error)) throw error;
    if (this.debug !== null) this.debug(`! ${request.unique} ${error.code}: ${error.message}`);
    this.replies.error(request, errnoOf(error.code));
  }

  #onReply(request: KernelRequest, errno: number): void {
    assert(this.#requests.delete(request.unique), 'a request is answered once');
    this.observer?.onAnswered(nameOf(request.opcode), performance.now() - request.startedMs, errno);
    if (this.debug !== null) {
      this.debug(`< ${request.unique} ${nameOf(request.opcode)} ${errno === 0 ? 'ok' : -errno}`);
    }
  }

  async #interruptInTime(request: KernelRequest): Promise<void> {
    if (!(await isBeingKilled(request.pid))) {
      await new Promise<void>((resolve) => setTimeout(resolve, INTERRUPT_GRACE_MS).unref());
    }
    if (this.#requests.get(request.unique) === request) request.interrupt();
  }
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(OPCODE).map(([name, opcode]) => [opcode, name]),
);

function nameOf(opcode: number): string {
  return NAMES.get(opcode) ?? `opcode ${opcode}`;
}

/**
 * A thread with SIGKILL pending ends as soon as its call returns. The kernel pends it, too, for
 * every thread of a process that another signal kills (proc_pid_status(5), SigPnd).
 */
function isBeingKilled(pid: number): Promise<boolean> {
  return new Promise((resolve) => {
    readFile(`/proc/${pid}/status`, 'latin1', (error, status) => {
      const gone = error !== null && ['ENOENT', 'ESRCH'].includes(errnoNameOf(error));
      resolve(error === null ? hasSigkillPending(status) : gone);
    });
  });
}

function hasSigkillPending(status: string): boolean {
  const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
}
