import { assert } from '../../base/assert.js';
import { ERRNO, errnoOf } from '../../base/errno.js';
import { isMootError, type MootError } from '../../base/errors.js';
import type { MountOperations, RequestObserver } from '../mount.js';
import { BODY_BYTES_MIN, handlerOf, type Served, UNANSWERED } from './handlers.js';
import { OPCODE, SIZE } from './protocol.js';
import { Replies, type WriteReply } from './replies.js';
import { type Body, type KernelRequest, readHeader, readLength } from './requests.js';
import { isBeingKilled } from './threads.js';

/**
 * How long an operation may go on after a signal that its caller survives. Filesystem calls are
 * not interruptible on a disk, and few programs expect EINTR from open(2) because a SIGALRM or a
 * SIGCHLD came by: so operations that are soon done are let end. A caller that is being killed
 * waits for nothing.
 */
const INTERRUPT_GRACE_MS = 1000;

export interface SessionParts {
  readonly operations: MountOperations;
  readonly write: WriteReply;
  /** The kernel and we agree, or why not. */
  readonly onNegotiated: (kernelMinor: number, error: MootError | null) => void;
  /** Gets a line for every request and reply. */
  readonly debug: ((line: string) => void) | null;
  readonly observer: RequestObserver | null;
  readonly clusterLocks: boolean;
}

/**
 * What is between the bytes of requests and those of replies: hands each request to its handler and
 * keeps the table of those under way, so that each is answered exactly once. Whatever the bytes are,
 * they end nothing but their own request.
 */
export class Session implements Served {
  readonly operations: MountOperations;
  readonly replies: Replies;
  readonly onNegotiated: (kernelMinor: number, error: MootError | null) => void;
  readonly clusterLocks: boolean;
  /** INIT flags that both sides have. */
  agreedFlags = 0n;
  readonly #requests = new Map<bigint, KernelRequest>();
  readonly #debug: ((line: string) => void) | null;
  readonly #observer: RequestObserver | null;

  constructor(parts: SessionParts) {
    this.operations = parts.operations;
    this.onNegotiated = parts.onNegotiated;
    this.clusterLocks = parts.clusterLocks;
    this.#debug = parts.debug;
    this.#observer = parts.observer;
    this.replies = new Replies(parts.write, (request, errno) => this.#onReply(request, errno));
  }

  /** How many requests are not answered yet. */
  get underWay(): number {
    return this.#requests.size;
  }

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

  /** One message of the kernel. True: a handler keeps the buffer. */
  dispatch(buffer: Buffer, bytes: number): boolean {
    // The kernel's messages are whole, and no request comes twice; what is otherwise is not its own.
    if (bytes < SIZE.IN_HEADER || readLength(buffer) !== bytes) return false;
    const request = readHeader(buffer);
    const { opcode, unique } = request;
    if (this.#requests.has(unique)) return false;
    const isUnanswered = UNANSWERED.has(opcode);
    if (!isUnanswered) this.#requests.set(unique, request);
    if (this.#debug !== null) {
      this.#debug(`> ${unique} ${nameOf(opcode)} inode ${request.ino}, ${bytes} bytes`);
    }
    if (this.#observer !== null) request.startedMs = performance.now();
    if (!isWellFormed(request, bytes)) {
      if (!isUnanswered) this.replies.error(request, ERRNO.EINVAL);
      return false;
    }
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
    if (this.#debug !== null) this.#debug(`! ${request.unique} ${error.code}: ${error.message}`);
    if (!UNANSWERED.has(request.opcode)) this.replies.error(request, errnoOf(error.code));
  }

  #onReply(request: KernelRequest, errno: number): void {
    assert(this.#requests.delete(request.unique), 'a request is answered once');
    this.#observer?.onAnswered(
      nameOf(request.opcode),
      performance.now() - request.startedMs,
      errno,
    );
    if (this.#debug !== null) {
      this.#debug(`< ${request.unique} ${nameOf(request.opcode)} ${errno === 0 ? 'ok' : -errno}`);
    }
  }

  async #interruptInTime(request: KernelRequest): Promise<void> {
    const isWaiting = () => this.#requests.get(request.unique) === request;
    // Who waits for a lock may have set an alarm: fcntl(2) and flock(2) are made to be interrupted.
    while (request.opcode !== OPCODE.SETLKW && !(await isBeingKilled(request.pid))) {
      await new Promise<void>((resolve) => setTimeout(resolve, INTERRUPT_GRACE_MS).unref());
      // A READ may be of a page fault, which no signal handler interrupts: EINTR would be SIGBUS.
      const isLasting = request.hasBegun || request.opcode === OPCODE.READ;
      if (!isLasting || !isWaiting()) break;
    }
    if (isWaiting()) request.interrupt();
  }
}

/** Its arguments are all there, and its inode's number is one that we may have given. */
function isWellFormed({ opcode, ino }: KernelRequest, bytes: number): boolean {
  return Number.isSafeInteger(ino) && bytes >= SIZE.IN_HEADER + (BODY_BYTES_MIN[opcode] ?? 0);
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(OPCODE).map(([name, opcode]) => [opcode, name]),
);

function nameOf(opcode: number): string {
  return NAMES.get(opcode) ?? `opcode ${opcode}`;
}
