import t, { type Test } from 'tap';
import { configurationCodec } from '../../src/codec/configuration.js';
import type { Entry } from '../../src/raft/types.js';
import type { LogStore } from '../../src/storage/log-store.js';
import { makeEntries, makeSave } from '../support/records.js';

/** A place where logs are kept; `open` makes a store over what the last one left there. */
export interface LogWorld {
  make(): LogStore;
}

const ALL = Number.POSITIVE_INFINITY;
/** Three of them are a large append. */
const LARGE_BYTES = 100_000;

function plain(entries: readonly Entry[]): unknown[] {
  return entries.map(({ data, ...rest }) => ({ ...rest, data: Buffer.from(data).toString('hex') }));
}

const MEMBERS = {
  voters: [{ id: 'n1', address: '10.0.0.1:7101' }],
  outgoing: [],
  learners: [{ id: 'n2', address: '10.0.0.2:7101', promote: true, replaces: null }],
  removed: ['n3'],
  incarnation: 7,
};

export function testLogStore(name: string, makeWorld: (t: Test) => Promise<LogWorld>): void {
  t.test(`${name}: an empty log`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    t.same(await log.open(), {
      hardState: { term: 0, vote: null, recovering: true, incarnation: 0 },
      snapshot: { index: 0, term: 0 },
      lastIndex: 0,
      preparedReset: null,
      termRuns: [],
      configurationEntries: [],
    });
    t.same(await log.read(1, 10, ALL), []);
    await log.append([]);
    await log.close();
  });

  t.test(`${name}: what was appended is there after a restart`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    const hardState = { term: 3, vote: 'n2', recovering: false, incarnation: 0 };
    const entries: Entry[] = [
      ...makeEntries(1, 5, 1),
      { index: 6, term: 3, kind: 'empty', data: new Uint8Array(0) },
      ...makeEntries(7, 9, 3),
      { index: 10, term: 3, kind: 'configuration', data: configurationCodec.encode(MEMBERS) },
    ];
    await log.append([
      makeSave({ hardState: { ...hardState, term: 2 }, entries: entries.slice(0, 4) }),
      makeSave({ hardState, entries: entries.slice(4) }),
    ]);
    t.same(plain(await log.read(1, 10, ALL)), plain(entries));
    await log.close();

    const again = world.make();
    const { configurationEntries, ...restored } = await again.open();
    t.same(plain(configurationEntries), plain(entries.slice(9)));
    t.same(restored, {
      hardState,
      snapshot: { index: 0, term: 0 },
      preparedReset: null,
      lastIndex: 10,
      termRuns: [
        { term: 1, first: 1 },
        { term: 3, first: 6 },
      ],
    });
    t.same(plain(await again.read(4, 7, ALL)), plain(entries.slice(3, 7)));
    t.same(plain(await again.read(8, 100, ALL)), plain(entries.slice(7)));
    await again.append([makeSave({ entries: makeEntries(11, 11, 3) })]);
    t.equal((await again.read(11, 11, ALL)).length, 1);
    await again.close();
  });

  t.test(`${name}: the data of an entry is kept as it was`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    const data = Uint8Array.of(1, 2, 3);
    await log.append([makeSave({ entries: [{ index: 1, term: 1, kind: 'command', data }] })]);
    data.fill(9);
    const [entry] = await log.read(1, 1, ALL);
    t.same([...(entry?.data ?? [])], [1, 2, 3]);
    await log.close();
  });

  t.test(`${name}: conflicting entries are replaced`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    await log.append([makeSave({ entries: makeEntries(1, 50, 1) })]);
    await log.append([
      makeSave({ truncateFrom: 11, entries: makeEntries(11, 12, 2) }),
      makeSave({ truncateFrom: 12, entries: makeEntries(12, 13, 4) }),
    ]);
    const expected = [
      ...makeEntries(1, 10, 1),
      ...makeEntries(11, 11, 2),
      ...makeEntries(12, 13, 4),
    ];
    t.same(plain(await log.read(1, 100, ALL)), plain(expected));
    await log.append([makeSave({ truncateFrom: 13 })]);
    await log.close();
    const again = world.make();
    const restored = await again.open();
    t.equal(restored.lastIndex, 12);
    t.same(restored.termRuns, [
      { term: 1, first: 1 },
      { term: 2, first: 11 },
      { term: 4, first: 12 },
    ]);
    await again.close();
  });

  t.test(`${name}: read stops at the bytes that were asked for`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    await log.append([makeSave({ entries: makeEntries(1, 10, 1, 1000) })]);
    const count = async (bytes: number) => (await log.read(2, 9, bytes)).length;
    t.equal(await count(0), 1, 'at least one');
    t.equal(await count(999), 1);
    t.equal(await count(2000), 2);
    t.equal(await count(2999), 2);
    t.equal(await count(ALL), 8);
    await log.close();
  });

  t.test(`${name}: compaction`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    await log.append([
      makeSave({ entries: [...makeEntries(1, 3000, 1), ...makeEntries(3001, 3010, 2)] }),
    ]);
    await log.compact({ index: 3004, term: 2 });
    t.same(await log.read(3004, 3010, ALL), [], 'what is compacted is empty');
    t.same(plain(await log.read(3005, 3010, ALL)), plain(makeEntries(3005, 3010, 2)));
    await log.compact({ index: 3000, term: 1 });
    const swept = log.sweep();
    await log.append([makeSave({ truncateFrom: 3010, entries: makeEntries(3010, 3011, 5) })]);
    await swept;
    t.same(plain(await log.read(3005, 3009, ALL)), plain(makeEntries(3005, 3009, 2)));
    await log.close();
    const again = world.make();
    t.match(await again.open(), {
      snapshot: { index: 3004, term: 2 },
      lastIndex: 3011,
      termRuns: [
        { term: 2, first: 3005 },
        { term: 5, first: 3010 },
      ],
    });
    await again.compact({ index: 3011, term: 5 });
    await again.close();
    const third = world.make();
    t.match(await third.open(), {
      snapshot: { index: 3011, term: 5 },
      lastIndex: 3011,
      termRuns: [],
      configurationEntries: [],
    });
    await third.append([makeSave({ entries: makeEntries(3012, 3012, 5) })]);
    t.equal((await third.read(3012, 3012, ALL)).length, 1);
    await third.close();
  });

  t.test(`${name}: reset, before, within and behind the log`, async (t) => {
    for (const index of [5, 50, 5000]) {
      const world = await makeWorld(t);
      const log = world.make();
      await log.open();
      const hardState = { term: 4, vote: null, recovering: false, incarnation: 0 };
      await log.append([makeSave({ hardState, entries: makeEntries(1, 2500, 1) })]);
      await log.compact({ index: 3, term: 1 });
      await log.reset({ index, term: 4 });
      t.same(await log.read(index + 1, index + 1, ALL), []);
      await log.append([makeSave({ entries: makeEntries(index + 1, index + 2, 4) })]);
      await log.close();
      const again = world.make();
      t.same(await again.open(), {
        hardState,
        snapshot: { index, term: 4 },
        lastIndex: index + 2,
        termRuns: [{ term: 4, first: index + 1 }],
        preparedReset: null,
        configurationEntries: [],
      });
      await again.close();
    }
  });

  t.test(
    `${name}: a reset that was prepared is known after a restart, until it is made`,
    async (t) => {
      const world = await makeWorld(t);
      const mark = { index: 50, term: 4 };
      const reopened = async (log: LogStore) => {
        await log.close();
        const again = world.make();
        const { preparedReset, snapshot, lastIndex } = await again.open();
        return { log: again, found: { preparedReset, snapshot, lastIndex } };
      };
      const first = world.make();
      t.equal((await first.open()).preparedReset, null);
      await first.append([makeSave({ entries: makeEntries(1, 10, 1) })]);
      await first.compact({ index: 3, term: 1 });
      await first.prepareReset(mark);
      const before = { snapshot: { index: 3, term: 1 }, lastIndex: 10 };
      const second = await reopened(first);
      t.same(second.found, { ...before, preparedReset: mark });
      await second.log.prepareReset(null);
      const third = await reopened(second.log);
      t.same(third.found, { ...before, preparedReset: null });
      await third.log.prepareReset(mark);
      await third.log.reset(mark);
      const fourth = await reopened(third.log);
      t.same(fourth.found, { snapshot: mark, lastIndex: 50, preparedReset: null });
      await fourth.log.close();
    },
  );

  t.test(`${name}: large entries`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    const large = (first: number, last: number, term: number) =>
      makeEntries(first, last, term, LARGE_BYTES);
    await log.append([makeSave({ entries: [...large(1, 60, 1), ...makeEntries(61, 62, 1)] })]);
    await log.append([makeSave({ truncateFrom: 58, entries: large(58, 300, 2) })]);
    const expected = [...large(1, 57, 1), ...large(58, 300, 2)];
    t.same(plain(await log.read(55, 60, ALL)), plain(expected.slice(54, 60)));
    t.equal((await log.read(1, 300, 3 * LARGE_BYTES)).length, 3);
    await log.close();

    const again = world.make();
    t.match(await again.open(), {
      lastIndex: 300,
      termRuns: [
        { term: 1, first: 1 },
        { term: 2, first: 58 },
      ],
    });
    const reads = [again.read(2, 20, ALL), again.read(250, 300, ALL)];
    await again.compact({ index: 250, term: 2 });
    await again.sweep();
    t.same(plain((await reads[0]) ?? []), plain(expected.slice(1, 20)), 'begun before');
    t.same(plain((await reads[1]) ?? []), plain(expected.slice(249)));
    await again.append([makeSave({ entries: large(301, 303, 2) })]);
    await again.close();

    const third = world.make();
    t.match(await third.open(), { snapshot: { index: 250, term: 2 }, lastIndex: 303 });
    t.same(plain(await third.read(251, 303, ALL)), plain(large(251, 303, 2)));
    await third.reset({ index: 400, term: 3 });
    await third.append([makeSave({ entries: large(401, 403, 3) })]);
    t.same(plain(await third.read(401, 403, ALL)), plain(large(401, 403, 3)));
    await third.close();
  });

  t.test(`${name}: reads run beside appends`, async (t) => {
    const world = await makeWorld(t);
    const log = world.make();
    await log.open();
    await log.append([makeSave({ entries: makeEntries(1, 100, 1) })]);
    const reads: Promise<readonly Entry[]>[] = [];
    for (let round = 0; round < 20; round++) {
      const write = log.append([
        makeSave({ truncateFrom: 51, entries: makeEntries(51, 100, round + 2) }),
      ]);
      reads.push(log.read(1, 100, ALL), log.read(40, 60, ALL));
      await write;
    }
    for (const entries of await Promise.all(reads)) {
      const terms = new Set(entries.filter(({ index }) => index > 50).map(({ term }) => term));
      t.ok(terms.size <= 1, 'an append is seen whole or not at all');
    }
    await log.close();
  });
}
