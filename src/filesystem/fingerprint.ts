import type { Timespec } from '../base/clock.js';
import type { Digest } from './filesystem.js';
import { type Key, tableOf } from './keys.js';
import type { Counters, HeldLock, Inode, Reply, Session, Table, Tables } from './records.js';
import type { Change } from './view.js';

/**
 * The digest over all changes of one command, chained to that of the commands before. The bytes are
 * fixed by this file alone: no encoding of the wire or the store comes in, so that nodes of
 * different versions agree as long as this stays as it is.
 */
export class Fingerprint {
  readonly #digest: Digest;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #numbers = new DataView(this.#buffer.buffer);
  #used = 0;
  #hash = 0;

  constructor(digest: Digest) {
    this.#digest = digest;
  }

  /** `counters` as they will be, but with the hash before these changes; `reply` of a session's command. */
  after(changes: readonly Change[], counters: Counters, reply: Reply): number {
    this.#hash = counters.hash;
    for (const change of changes) this.#change(change);
    this.#counters(counters);
    this.#reply(reply);
    this.#flush();
    return this.#hash;
  }

  #change(change: Change): void {
    switch (change.type) {
      case 'put': {
        this.#number(PUT);
        this.#text(change.key);
        const table = tableOf(change.key);
        if (table !== undefined) this.#record(table, change.value);
        break;
      }
      case 'delete':
        this.#number(DELETE);
        this.#text(change.key);
        break;
      case 'discard':
        this.#number(DISCARD);
        this.#number(change.content);
        break;
    }
  }

  #record<T extends Table>(table: T, value: Tables[Table]): void {
    // A key's table says the type of its value.
    this.#writers[table](value as Tables[T]);
  }

  readonly #writers: { readonly [T in Table]: (value: Tables[T]) => void } = {
    counters: (counters) => this.#counters(counters),
    inode: (inode) => this.#inode(inode),
    entry: (entry) => {
      this.#number(entry.ino);
      this.#number(entry.type);
      this.#number(entry.cookie);
    },
    cookie: (entry) => {
      this.#number(entry.ino);
      this.#number(entry.type);
      this.#bytes(entry.name);
    },
    chunk: (chunk) => this.#bytes(chunk),
    xattrs: (xattrs) => {
      this.#number(xattrs.size);
      for (const [name, value] of xattrs) {
        this.#text(name);
        this.#bytes(value);
      }
    },
    orphan: (orphan) => {
      this.#number(orphan.ino);
      this.#number(orphan.index);
    },
    session: (session) => this.#session(session),
    members: (members) => this.#bytes(members),
    locks: (locks) => {
      for (const held of [locks.posix, locks.flock]) {
        this.#number(held.length);
        for (const lock of held) this.#lock(lock);
      }
      // Where nobody decides alone the digest is what it was before anybody could.
      if (locks.delegate !== null) this.#number(locks.delegate);
    },
    waiting: (waiting) => {
      this.#number(waiting.length);
      for (const one of waiting) {
        this.#lock(one);
        this.#number(one.ino);
        this.#text(one.kind);
        this.#number(one.request);
      }
    },
  };

  #lock(lock: HeldLock): void {
    this.#number(lock.session);
    this.#text(lock.owner);
    this.#number(lock.pid);
    this.#number(lock.exclusive ? 1 : 0);
    this.#number(lock.first);
    this.#number(lock.last);
  }

  /** Without the replies: each was in the digest of its own command. */
  #session(session: Session): void {
    this.#number(session.id);
    this.#text(session.name);
    this.#number(session.lastSequence);
    this.#number(session.replies.size);
    this.#number(session.seenIndex ?? -1);
    this.#number(session.lastIndex);
    this.#number(session.holds.length);
    for (const ino of session.holds) this.#number(ino);
    // Of sessions without locks the digest is what it was before there were any.
    if (session.locks.length === 0) return;
    this.#number(session.locks.length);
    for (const ino of session.locks) this.#number(ino);
  }

  /** Of the sessions only how many: each came and went as a record of its own. */
  #counters(counters: Counters): void {
    this.#number(counters.nextIno);
    this.#number(counters.nextSession);
    this.#number(counters.sessions.length);
    this.#time(counters.time);
    this.#number(counters.inodes);
    this.#number(counters.bytes);
    this.#number(counters.orphanHead);
    this.#number(counters.orphanTail);
    this.#number(counters.holdersSeenIndex);
    // Without a quota the digest is what it was before there were any.
    if (counters.bytesMax === null && counters.inodesMax === null) return;
    this.#number(counters.bytesMax ?? -1);
    this.#number(counters.inodesMax ?? -1);
  }

  /** Of an inode only which: its attributes are among the changes. */
  #reply(reply: Reply): void {
    if (!reply.ok) {
      this.#number(REPLY_ERROR);
      this.#text(reply.code);
    } else if (reply.value === null) {
      this.#number(REPLY_NULL);
    } else if ('granted' in reply.value) {
      this.#number(REPLY_LOCK);
      this.#number(reply.value.granted ? 1 : 0);
    } else if ('session' in reply.value) {
      this.#number(REPLY_SESSION);
      this.#number(reply.value.session);
    } else if ('dataVersionBefore' in reply.value) {
      this.#number(REPLY_CHANGED);
      this.#number(reply.value.inode.ino);
      this.#number(reply.value.dataVersionBefore);
      if ('copied' in reply.value) this.#number(reply.value.copied);
    } else if ('inode' in reply.value) {
      this.#number(REPLY_INODE);
      this.#number(reply.value.inode.ino);
    } else {
      this.#number(REPLY_REMOVED);
      this.#number(reply.value.removed?.ino ?? 0);
    }
  }

  #inode(inode: Inode): void {
    this.#number(inode.ino);
    this.#number(inode.mode);
    this.#number(inode.uid);
    this.#number(inode.gid);
    this.#number(inode.nlink);
    this.#number(inode.size);
    this.#number(inode.bytes);
    this.#number(inode.rdev);
    this.#time(inode.atime);
    this.#time(inode.mtime);
    this.#time(inode.ctime);
    this.#time(inode.btime);
    this.#number(inode.dataVersion);
    this.#number(inode.content);
    this.#number(inode.parent);
    this.#number(inode.entries);
    this.#number(inode.nextCookie);
    this.#bytes(inode.target);
    this.#number(inode.holds);
    this.#number(inode.xattrs);
    this.#number(inode.flags);
  }

  #time(time: Timespec): void {
    this.#number(time.sec);
    this.#number(time.nsec);
  }

  /** As an IEEE double, big end first: exact for every number of ours. Adding 0 makes -0 a 0. */
  #number(value: number): void {
    this.#room(NUMBER_BYTES);
    this.#numbers.setFloat64(this.#used, value + 0);
    this.#used += NUMBER_BYTES;
  }

  /** Length, then two bytes a character. */
  #text(text: string | Key): void {
    this.#number(text.length);
    for (let i = 0; i < text.length; i++) {
      this.#room(2);
      const code = text.charCodeAt(i);
      this.#buffer[this.#used++] = code >>> 8;
      this.#buffer[this.#used++] = code & 255;
    }
  }

  #bytes(bytes: Uint8Array): void {
    this.#number(bytes.length);
    if (bytes.length > BUFFERED_BYTES_MAX) {
      this.#flush();
      this.#hash = this.#digest(bytes, this.#hash);
    } else {
      this.#room(bytes.length);
      this.#buffer.set(bytes, this.#used);
      this.#used += bytes.length;
    }
  }

  #room(bytes: number): void {
    if (this.#used + bytes > BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#used > 0) this.#hash = this.#digest(this.#buffer.subarray(0, this.#used), this.#hash);
    this.#used = 0;
  }
}

/** Room for the small changes of an ordinary command; more goes to the digest in pieces. */
const BUFFER_BYTES = 16_384;
/** Larger data goes to the digest as it is. */
const BUFFERED_BYTES_MAX = 1024;
const NUMBER_BYTES = 8;

const PUT = 1;
const DELETE = 2;
const DISCARD = 3;

const REPLY_ERROR = 0;
const REPLY_NULL = 1;
const REPLY_SESSION = 2;
const REPLY_INODE = 3;
const REPLY_REMOVED = 4;
const REPLY_CHANGED = 5;
const REPLY_LOCK = 6;
