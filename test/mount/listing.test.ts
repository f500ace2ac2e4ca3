import t from 'tap';
import { S_IFREG } from '../../src/filesystem/mode.js';
import type { ListedEntry } from '../../src/filesystem/queries.js';
import { type FetchEntries, Listing } from '../../src/mount/listing.js';

const ENTRIES = 30_000;
const INO = 7;
/** About 25 entries with attributes. */
const BYTES = 4_096;

/** A directory of many files, and what was asked of it. */
function directory() {
  const asked: { cookie: number; limit: number; plus: boolean }[] = [];
  const all = Array.from({ length: ENTRIES }, (_, i) => entryOf(i + 1));
  const fetch: FetchEntries = async (cookie, limit, plus) => {
    asked.push({ cookie, limit, plus });
    const behind = all.slice(cookie, cookie + limit);
    const entries = plus ? behind : behind.map((entry) => ({ ...entry, inode: null }));
    return { entries, parent: 1, end: cookie + limit >= ENTRIES, nextCookie: ENTRIES + 1 };
  };
  return { asked, fetch };
}

function entryOf(cookie: number): ListedEntry {
  // Only whether there is one counts here.
  const inode = { ino: 100 + cookie } as ListedEntry['inode'];
  return { name: Buffer.from(`f${cookie}`), ino: 100 + cookie, type: S_IFREG, cookie, inode };
}

/** Reads all as the kernel does, `plusAt` saying when with attributes. */
async function readAll(
  listing: Listing,
  fetch: FetchEntries,
  options: { plusAt: (call: number) => boolean; current: boolean; lookUp: boolean },
) {
  const names: string[] = [];
  let cookie = 0;
  for (let call = 0; ; call++) {
    const { entries } = await listing.read(
      cookie,
      BYTES,
      options.plusAt(call),
      fetch,
      () => options.current,
    );
    if (entries.length === 0) return names;
    for (const entry of entries) names.push(Buffer.from(entry.name).toString());
    if (options.lookUp) listing.lookedUp();
    cookie = entries.at(-1)?.cookie ?? cookie;
  }
}

const EXPECTED = ['.', '..', ...Array.from({ length: ENTRIES }, (_, i) => `f${i + 1}`)];

t.test('names alone: a thousand at a time, the first of them with inodes', async (t) => {
  const { asked, fetch } = directory();
  const options = { plusAt: (call: number) => call === 0, current: true, lookUp: false };
  t.same(await readAll(new Listing(INO, true), fetch, options), EXPECTED);
  t.ok(asked.length < 35, `${asked.length} questions`);
  t.ok(asked.slice(0, 10).every(({ plus }) => plus));
  t.ok(asked.slice(20).every(({ plus }) => !plus));
});

t.test('names alone, where inodes are not kept', async (t) => {
  const { asked, fetch } = directory();
  const options = { plusAt: (call: number) => call === 0, current: true, lookUp: false };
  t.same(await readAll(new Listing(INO, false), fetch, options), EXPECTED);
  t.ok(asked.slice(1).every(({ plus }) => !plus));
});

t.test('names that are looked up: their inodes come with them, a thousand at a time', async (t) => {
  const { asked, fetch } = directory();
  // The kernel asks with attributes again only after it had to look names up.
  const options = { plusAt: (call: number) => call % 2 === 0, current: true, lookUp: true };
  t.same(await readAll(new Listing(INO, true), fetch, options), EXPECTED);
  t.ok(asked.length < 35, `${asked.length} questions`);
  t.ok(asked.every(({ plus }) => plus));
});

t.test(
  'attributes that are not known to be right are asked for each time, no more than fit',
  async (t) => {
    const { asked, fetch } = directory();
    const options = { plusAt: () => true, current: false, lookUp: true };
    t.same(await readAll(new Listing(INO, true), fetch, options), EXPECTED);
    const large = asked.filter(({ limit }) => limit >= 1_000);
    t.ok(large.length <= 1, `${large.length} large questions`);
  },
);

t.test('from the start means anew', async (t) => {
  const { asked, fetch } = directory();
  const listing = new Listing(INO, true);
  const first = await listing.read(0, BYTES, false, fetch, () => true);
  t.ok(first.isNew);
  t.notOk((await listing.read(10, BYTES, false, fetch, () => true)).isNew);
  t.ok((await listing.read(0, BYTES, false, fetch, () => true)).isNew);
  t.equal(asked.length, 2);
});

t.test('what comes after the start is not listed, until it is listed anew', async (t) => {
  let made = 10;
  // Whoever reads makes as many names again.
  const fetch: FetchEntries = async (cookie, limit) => {
    const entries = Array.from({ length: Math.min(limit, made - cookie) }, (_, i) =>
      entryOf(cookie + i + 1),
    );
    const nextCookie = made + 1;
    made += 10;
    return { entries, parent: 1, end: false, nextCookie };
  };
  const listing = new Listing(INO, false);
  const options = { plusAt: () => false, current: true, lookUp: false };
  t.equal((await readAll(listing, fetch, options)).length, 2 + 10);
  t.ok((await readAll(listing, fetch, options)).length > 2 + 10, 'rewinddir(3)');
});
