import { write, writeSync } from 'node:fs';
import { assert } from '../../base/assert.js';
import { nameKey } from '../../filesystem/facts.js';
import type { Ino } from '../../filesystem/records.js';
import type { KernelNotifier } from '../mount.js';
import { errnoNameOf } from '../mount-point.js';
import { EPOCH_MINOR_VERSION, EXPIRE_ONLY, NOTIFY, SIZE } from './protocol.js';
import { writeUint64 } from './replies.js';

/**
 * Notifications of a kind that wait at most; the oldest is dropped beyond it. There is one for each inode
 * and each name, so this is an eighth of a million of either that changed elsewhere while the kernel took
 * none. What is dropped stays cached until its timeout, no longer.
 */
const WAITING_MAX = 131_072;

/**
 * Notifications being written at once: of names, and of inodes. One of a name may wait in the kernel for
 * a directory's lock, as long as an operation there waits for the cluster; it must not hold up all the others.
 */
const IN_FLIGHT_MAX = { entry: 2, inode: 2 };

/**
 * Of those that somebody waits for. They may wait for READs, which wait for the cluster, but for no
 * lock of a directory; more would take threads from the pool that the cluster may need to answer.
 */
const DROPS_IN_FLIGHT_MAX = 2;

/** All of a file's pages (fuse_reverse_inval_inode), and attributes only. */
const OFFSET_ALL_PAGES = 0;
const OFFSET_ATTRIBUTES_ONLY = -1;

interface EntryNotification {
  readonly type: 'entry';
  readonly parent: Ino;
  readonly name: Uint8Array;
  asksOnly: boolean;
  readonly written: Promise<void>;
  readonly done: () => void;
}

interface InodeNotification {
  readonly type: 'inode';
  readonly ino: Ino;
  readonly data: boolean;
  /** The kernel does not have it. */
  readonly onUnknown: () => void;
}

type Notification = InodeNotification | EntryNotification;

/**
 * Tells the kernel what to forget. Every notification is written by a thread of the pool, never
 * from the thread that answers requests: the kernel may hold a lock that waits for just that
 * thread's answer.
 */
export class Notifier implements KernelNotifier {
  readonly #inodes = new Map<Ino, InodeNotification>();
  readonly #entries = new Map<string, EntryNotification>();
  /** Pages to drop for somebody who waits for it. */
  readonly #drops: { readonly ino: Ino; readonly done: () => void }[] = [];
  #dropsInFlight = 0;
  readonly #told = { inode: 0, entry: 0 };
  /** Of any sort. */
  #inFlight = 0;
  #closed = false;
  #whenIdle: (() => void) | null = null;

  /** At once: it counts up a number, and waits for nothing (fuse_notify_inc_epoch). */
  readonly #expireNames = () => this.#writeNow(allocate(NOTIFY.INC_EPOCH, 0));

  constructor(
    private readonly fd: number,
    /** The minor version that the kernel speaks; 0 while it has not said so. */
    private readonly kernelMinor: () => number,
  ) {}

  get expireNames(): (() => void) | null {
    return this.kernelMinor() >= EPOCH_MINOR_VERSION ? this.#expireNames : null;
  }

  invalidateInode(ino: Ino, data: boolean, onUnknown?: () => void): void {
    const earlier = this.#inodes.get(ino);
    this.#add(this.#inodes, ino, {
      ...{ type: 'inode', ino },
      data: data || earlier?.data === true,
      onUnknown: onUnknown ?? earlier?.onUnknown ?? (() => {}),
    });
  }

  invalidateEntry(parent: Ino, name: Uint8Array, asksOnly = false): Promise<void> {
    const key = nameKey(parent, name);
    const earlier = this.#entries.get(key);
    if (earlier !== undefined) {
      earlier.asksOnly &&= asksOnly;
      return earlier.written;
    }
    let done = () => {};
    const written = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.#add(this.#entries, key, { type: 'entry', parent, name, asksOnly, written, done });
    return written;
  }

  dropPages(ino: Ino): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((done) => {
      this.#drops.push({ ino, done });
      this.#pump();
    });
  }

  /**
   * By a thread of the pool: an inode that is just being dropped is waited for, and that may wait
   * for pages whose READ we have not answered (fuse_ilookup, truncate_inode_pages_final).
   */
  expireInode(ino: Ino): Promise<boolean> {
    if (this.#closed) return Promise.resolve(true);
    this.#inFlight++;
    const message = encodeInvalidateInode(ino, false);
    return new Promise((resolve) => {
      write(this.fd, message, 0, message.length, null, (error) => {
        this.#onWritten(error);
        resolve(error?.code !== 'ENOENT');
      });
    });
  }

  #writeNow(message: Buffer): void {
    if (this.#closed) return;
    try {
      writeSync(this.fd, message, 0, message.length, null);
    } catch (error) {
      assert(errnoNameOf(error) !== 'EINVAL', 'the kernel understands every notification');
    }
  }

  /** Writes nothing more; resolves when nothing is being written. */
  close(): Promise<void> {
    this.#closed = true;
    for (const { done } of this.#entries.values()) done();
    this.#entries.clear();
    this.#inodes.clear();
    for (const { done } of this.#drops.splice(0)) done();
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle = resolve;
    });
  }

  #add<K, N extends Notification>(waiting: Map<K, N>, key: K, notification: N): void {
    if (this.#closed) {
      doneOf(notification)?.();
      return;
    }
    waiting.set(key, notification);
    if (waiting.size > WAITING_MAX) {
      const [oldest] = waiting;
      assert(oldest !== undefined, 'a full queue has an oldest member');
      waiting.delete(oldest[0]);
      doneOf(oldest[1])?.();
    }
    this.#pump();
  }

  #pump(): void {
    while (this.#dropsInFlight < DROPS_IN_FLIGHT_MAX) {
      const drop = this.#drops.shift();
      if (drop === undefined) break;
      this.#inFlight++;
      this.#dropsInFlight++;
      const message = encodeInvalidateInode(drop.ino, true);
      write(this.fd, message, 0, message.length, null, (error) => {
        this.#dropsInFlight--;
        drop.done();
        this.#onWritten(error);
      });
    }
    while (this.#told.inode < IN_FLIGHT_MAX.inode && this.#writeNext(this.#inodes));
    while (this.#told.entry < IN_FLIGHT_MAX.entry && this.#writeNext(this.#entries));
  }

  /** False: none waits. */
  #writeNext<K>(waiting: Map<K, InodeNotification> | Map<K, EntryNotification>): boolean {
    const [next] = waiting;
    if (next === undefined) return false;
    const [key, notification] = next;
    waiting.delete(key);
    this.#inFlight++;
    this.#told[notification.type]++;
    const message = encode(notification);
    write(this.fd, message, 0, message.length, null, (error) => {
      this.#told[notification.type]--;
      if (notification.type === 'entry') notification.done();
      else if (errnoNameOf(error) === 'ENOENT') notification.onUnknown();
      this.#onWritten(error);
    });
    return true;
  }

  #onWritten(error: Error | null): void {
    this.#inFlight--;
    // ENOENT: the kernel does not know it. The others mean the end of the mount, or of a name
    // that is no directory's any more. A message of the wrong form would be EINVAL.
    assert(errnoNameOf(error) !== 'EINVAL', 'the kernel understands every notification');
    this.#pump();
    if (this.#inFlight === 0) this.#whenIdle?.();
  }
}

function doneOf(notification: Notification | undefined): (() => void) | undefined {
  return notification?.type === 'entry' ? notification.done : undefined;
}

function encode(notification: Notification): Buffer {
  return notification.type === 'inode'
    ? encodeInvalidateInode(notification.ino, notification.data)
    : encodeInvalidateEntry(notification);
}

/** fuse_out_header with unique 0 and the code in the place of the error. */
function allocate(code: number, bodyBytes: number): Buffer {
  const message = Buffer.alloc(SIZE.OUT_HEADER + bodyBytes);
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(code, 4);
  return message;
}

function encodeInvalidateInode(ino: Ino, data: boolean): Buffer {
  const message = allocate(NOTIFY.INVAL_INODE, SIZE.NOTIFY_INVAL_INODE_OUT);
  writeUint64(message, SIZE.OUT_HEADER, ino);
  writeUint64(message, SIZE.OUT_HEADER + 8, data ? OFFSET_ALL_PAGES : OFFSET_ATTRIBUTES_ONLY);
  return message;
}

function encodeInvalidateEntry({ parent, name, asksOnly }: EntryNotification): Buffer {
  const fixed = SIZE.OUT_HEADER + SIZE.NOTIFY_INVAL_ENTRY_OUT;
  const message = allocate(NOTIFY.INVAL_ENTRY, SIZE.NOTIFY_INVAL_ENTRY_OUT + name.length + 1);
  writeUint64(message, SIZE.OUT_HEADER, parent);
  message.writeUInt32LE(name.length, SIZE.OUT_HEADER + 8);
  message.writeUInt32LE(asksOnly ? EXPIRE_ONLY : 0, SIZE.OUT_HEADER + 12);
  message.set(name, fixed);
  return message;
}
