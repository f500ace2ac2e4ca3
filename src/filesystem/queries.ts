import type { FilesystemErrorCode } from '../base/errors.js';
import type { HeldLock, Ino, Inode } from './records.js';

/** Questions that change nothing. */
export type Query =
  /** ENOENT when the name is not there; '.' and '..' are answered. */
  | { readonly type: 'lookup'; readonly parent: Ino; readonly name: Uint8Array }
  /** ESTALE when the inode is gone. */
  | { readonly type: 'get-inode'; readonly ino: Ino }
  | ReadDirectory
  /**
   * At most `size` bytes from `offset`; shorter only at the end of the file. EINVAL above
   * READ_BYTES_MAX. The answer may be a part of a stored record: it must not be changed.
   */
  | { readonly type: 'read'; readonly ino: Ino; readonly offset: number; readonly size: number }
  /** lseek(2) with SEEK_DATA or SEEK_HOLE. ENXIO at or behind the end, or when no data follows. */
  | {
      readonly type: 'seek';
      readonly ino: Ino;
      readonly offset: number;
      readonly what: 'data' | 'hole';
    }
  | { readonly type: 'get-xattr'; readonly ino: Ino; readonly name: Uint8Array }
  | { readonly type: 'list-xattrs'; readonly ino: Ino }
  | GetLock
  | { readonly type: 'statfs' };

/** fcntl(2) with F_GETLK: what would keep this POSIX lock from being granted. */
export interface GetLock {
  readonly type: 'get-lock';
  readonly ino: Ino;
  /** 0: none, and so nothing held is the asker's own. */
  readonly session: number;
  readonly owner: string;
  readonly exclusive: boolean;
  readonly first: number;
  readonly last: number;
}

export type QueryType = Query['type'];

/** Entries behind `cookie` (0: from the start), without '.' and '..', in the order of cookies. */
export interface ReadDirectory {
  readonly type: 'read-directory';
  readonly ino: Ino;
  readonly cookie: number;
  /**
   * How many entries at most: 1 to LISTED_ENTRIES_MAX, else EINVAL. There are fewer at the end of
   * the directory, or where more would come to more than LISTED_BYTES_MAX; one there always is.
   */
  readonly limit: number;
  /** Also the inode of each entry (readdirplus). */
  readonly plus: boolean;
}

export interface ListedEntry {
  readonly name: Uint8Array;
  readonly ino: Ino;
  readonly type: number;
  readonly cookie: number;
  readonly inode: Inode | null;
}

export interface QueryValues {
  /** `cookie`: where the entry stands in its directory; left out of '.', '..' and what memory answers. */
  lookup: { readonly inode: Inode; readonly cookie?: number };
  'get-inode': { readonly inode: Inode };
  'read-directory': {
    readonly entries: readonly ListedEntry[];
    readonly parent: Ino;
    /** There is nothing behind these entries. */
    readonly end: boolean;
    /** Names that come later stand here or behind. */
    readonly nextCookie: number;
  };
  read: { readonly data: Uint8Array; readonly size: number };
  seek: { readonly offset: number };
  'get-xattr': { readonly value: Uint8Array };
  'list-xattrs': { readonly names: readonly Uint8Array[] };
  'get-lock': {
    readonly lock: HeldLock | null;
    /** The session that decides about the inode's locks, and may have granted or ended others since. */
    readonly delegate: number | null;
  };
  /** The state machine knows what is stored; the node that answers adds its disk's figures (0 from the core). */
  statfs: {
    readonly inodes: number;
    readonly bytes: number;
    /** The quota; null: none. */
    readonly inodesMax: number | null;
    readonly bytesMax: number | null;
    readonly diskBytesTotal: number;
    readonly diskBytesFree: number;
  };
}

export type QueryResult<T extends QueryType = QueryType> =
  | { readonly ok: true; readonly value: QueryValues[T] }
  | { readonly ok: false; readonly code: FilesystemErrorCode };
