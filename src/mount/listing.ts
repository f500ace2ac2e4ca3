import { MootError } from '../base/errors.js';
import type { ListedEntry, QueryValues } from '../filesystem/queries.js';
import { type Ino, LISTED_ENTRIES_MAX } from '../filesystem/records.js';

/** S_IFDIR of stat(2). */
const DIRECTORY_TYPE = 0o040000;
/**
 * Entries asked for at once. A query to the leader costs the same for one entry as for this many,
 * and their names at their longest stay far below a frame's bound.
 */
const ENTRIES_PER_PAGE = 1_000;
/** '.' and '..' come before the tree's entries, whose cookies start at 1. */
const DOT_COOKIE = 1;
const DOT_DOT_COOKIE = 2;
const COOKIE_SHIFT = 2;
/** FUSE_NAME_OFFSET and FUSE_NAME_OFFSET_DIRENTPLUS of linux/fuse.h; records are aligned to 8. */
const DIRENT_BYTES = 24;
const DIRENTPLUS_BYTES = 152;

const DOT = Uint8Array.of(0x2e);
const DOT_DOT = Uint8Array.of(0x2e, 0x2e);

/** Asks for the entries behind a cookie of the tree. */
export type FetchEntries = (
  cookie: number,
  limit: number,
  plus: boolean,
) => Promise<QueryValues['read-directory']>;

interface Page {
  /** The page holds what comes right behind this cookie. */
  readonly after: number;
  readonly entries: readonly ListedEntry[];
  readonly end: boolean;
}

/**
 * One open directory as readdir(3) goes through it. The cookies that the kernel sees are the
 * tree's, moved by two for '.' and '..': they stay valid for ever, so that telldir, seekdir and
 * entries removed meanwhile need no state here. The page is kept only to ask seldom.
 */
export class Listing {
  private page: Page | null = null;

  constructor(private readonly ino: Ino) {}

  /** The entries behind `cookie` that fit into `bytesMax` as fuse_dirent or fuse_direntplus. */
  async read(
    cookie: number,
    bytesMax: number,
    plus: boolean,
    fetch: FetchEntries,
  ): Promise<readonly ListedEntry[]> {
    // Attributes must be as new as the question: they come with each call, never from the page.
    if (plus) {
      // Programs may have large buffers, a query has its bound: the rest comes with the next call.
      const limit = Math.min(Math.ceil(bytesMax / recordBytes(1, true)), LISTED_ENTRIES_MAX);
      const page = await this.fetch(cookie, limit, true, fetch);
      return fitting(page.entries, 0, bytesMax, true);
    }
    // From the start means anew: rewinddir(3) promises the directory as it is now.
    if (cookie === 0 || this.page === null || !reaches(this.page, cookie)) {
      this.page = await this.fetch(cookie, ENTRIES_PER_PAGE, false, fetch);
    }
    const { entries } = this.page;
    return fitting(entries, firstBehind(entries, cookie), bytesMax, false);
  }

  private async fetch(
    after: number,
    limit: number,
    plus: boolean,
    fetch: FetchEntries,
  ): Promise<Page> {
    const answer = await fetch(Math.max(0, after - COOKIE_SHIFT), limit, plus);
    const dots: ListedEntry[] = [];
    if (after < DOT_COOKIE) dots.push(dotEntry(DOT, this.ino, DOT_COOKIE));
    if (after < DOT_DOT_COOKIE) dots.push(dotEntry(DOT_DOT, answer.parent, DOT_DOT_COOKIE));
    const moved = answer.entries.map((e) => ({ ...e, cookie: e.cookie + COOKIE_SHIFT }));
    return { after, entries: [...dots, ...moved], end: answer.end };
  }
}

function dotEntry(name: Uint8Array, ino: Ino, cookie: number): ListedEntry {
  return { name, ino, type: DIRECTORY_TYPE, cookie, inode: null };
}

/** The page can say what comes right behind the cookie. */
function reaches(page: Page, cookie: number): boolean {
  if (cookie < page.after) return false;
  const last = page.entries.at(-1)?.cookie ?? page.after;
  return cookie < last || page.end;
}

/** The first index whose cookie is behind the given one: entries are in the order of cookies. */
function firstBehind(entries: readonly ListedEntry[], cookie: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && entry.cookie <= cookie) low = middle + 1;
    else high = middle;
  }
  return low;
}

function fitting(
  entries: readonly ListedEntry[],
  first: number,
  bytesMax: number,
  plus: boolean,
): readonly ListedEntry[] {
  let bytes = 0;
  let end = first;
  for (let entry = entries[end]; entry !== undefined; entry = entries[++end]) {
    bytes += recordBytes(entry.name.length, plus);
    if (bytes > bytesMax) break;
  }
  if (end === first && end < entries.length) {
    throw new MootError('EINVAL', `${bytesMax} bytes are too few for a directory entry`);
  }
  return entries.slice(first, end);
}

function recordBytes(nameBytes: number, plus: boolean): number {
  return (((plus ? DIRENTPLUS_BYTES : DIRENT_BYTES) + nameBytes + 7) >>> 3) << 3;
}
