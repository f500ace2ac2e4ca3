import { MootError } from '../base/errors.js';
import { S_IFDIR } from '../filesystem/mode.js';
import type { ListedEntry, QueryValues } from '../filesystem/queries.js';
import { type Ino, LISTED_ENTRIES_MAX } from '../filesystem/records.js';

/**
 * Entries asked for at once. A query to the leader costs about the same for one entry as for this
 * many, and their names at their longest stay far below a frame's bound.
 */
const ENTRIES_PER_PAGE = 1_000;
/**
 * Many programs read all names first and look each up then. Of so many entries what came with them is
 * still known then (the client keeps 50,000 inodes and names); of a larger directory inodes come only
 * while names are looked up on the way.
 */
const INODES_AHEAD_MAX = 16_384;
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

/** Entries as they are at the time of the call; `isNew`: asked for now, so that all of it is. */
export interface ListedPage {
  readonly entries: readonly ListedEntry[];
  readonly isNew: boolean;
}

/**
 * One open directory as readdir(3) goes through it. The cookies that the kernel sees are the
 * tree's, moved by two for '.' and '..': they stay valid for ever, so that telldir, seekdir and
 * entries removed meanwhile need no state here. The page is kept only to ask seldom. What comes
 * later than the start is not listed: who renames each file that it meets would never come to an end.
 */
export class Listing {
  private page: Page | null = null;
  /** Names of the page were looked up: those of the next will be, too. */
  private isLookedThrough = false;
  private entriesAsked = 0;
  /** The cookie of the tree behind all that was there at the start. */
  private endCookie = Number.POSITIVE_INFINITY;

  /** `keepsInodes`: what an answer says of inodes can be known to be right later on. */
  constructor(
    private readonly ino: Ino,
    private keepsInodes: boolean,
  ) {}

  /** A program has looked a name of this directory up. */
  lookedUp(): void {
    this.isLookedThrough = true;
  }

  /**
   * The entries behind `cookie` that fit into `bytesMax` as fuse_dirent or fuse_direntplus. With
   * attributes (`plus`) they must be as new as the question: those of a kept page are given only
   * when all of them are `current` still.
   */
  async read(
    cookie: number,
    bytesMax: number,
    plus: boolean,
    fetch: FetchEntries,
    current: (entry: ListedEntry) => boolean,
  ): Promise<ListedPage> {
    // From the start means anew: rewinddir(3) promises the directory as it is now.
    if (cookie !== 0 && this.page !== null && reaches(this.page, cookie)) {
      const { entries } = this.page;
      const kept = fitting(entries, firstBehind(entries, cookie), bytesMax, plus);
      const isCurrent = (entry: ListedEntry) => entry.cookie <= DOT_DOT_COOKIE || current(entry);
      if (!plus || kept.every(isCurrent)) return { entries: kept, isNew: false };
      this.keepsInodes = false;
    }
    const isPage = !plus || (cookie !== 0 && this.keepsInodes);
    const limit = isPage
      ? ENTRIES_PER_PAGE
      : // Programs may have large buffers, a query has its bound: the rest comes with the next call.
        Math.min(Math.ceil(bytesMax / recordBytes(1, true)), LISTED_ENTRIES_MAX);
    const isAhead = this.isLookedThrough || this.entriesAsked < INODES_AHEAD_MAX;
    const withInodes = plus || (isAhead && this.keepsInodes);
    this.isLookedThrough = false;
    this.entriesAsked += limit;
    const page = await this.fetch(cookie, limit, withInodes, fetch);
    this.page = page;
    const { entries } = page;
    return { entries: fitting(entries, firstBehind(entries, cookie), bytesMax, plus), isNew: true };
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
    if (after === 0 || this.endCookie === Number.POSITIVE_INFINITY) {
      this.endCookie = answer.nextCookie;
    }
    const listed = answer.entries.filter(({ cookie }) => cookie < this.endCookie);
    const moved = listed.map((e) => ({ ...e, cookie: e.cookie + COOKIE_SHIFT }));
    const end = answer.end || listed.length < answer.entries.length;
    return { after, entries: [...dots, ...moved], end };
  }
}

function dotEntry(name: Uint8Array, ino: Ino, cookie: number): ListedEntry {
  return { name, ino, type: S_IFDIR, cookie, inode: null };
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
