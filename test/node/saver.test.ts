import t from 'tap';
import { Saver } from '../../src/node/saver.js';
import type { HardState, Save } from '../../src/raft/types.js';
import type { LogStore } from '../../src/storage/log-store.js';
import { createMemoryLogStore, MemoryDisk } from '../../src/storage/memory.js';
import { until } from '../support/until.js';

const HARD_STATE: HardState = { term: 1, vote: null, recovering: false, incarnation: 0 };

function save(number: number): Save {
  return { number, hardState: { ...HARD_STATE, term: number }, truncateFrom: null, entries: [] };
}

function vote(to: string) {
  return { type: 'vote-reply', from: 'a', to, term: 1, granted: true } as const;
}

function acknowledgement(to: string, match: number) {
  return {
    ...({ type: 'append-reply', from: 'a', to, term: 1, success: true, match } as const),
    ...{ prevIndex: match - 1, hintIndex: 0, hintTerm: 0, recovering: false },
  };
}

/** A log whose appends wait for `release`. */
function world(fails = false) {
  const appends: number[][] = [];
  const waiting: (() => void)[] = [];
  const memory = createMemoryLogStore(new MemoryDisk());
  const log: LogStore = {
    open: () => memory.open(),
    append: async (saves) => {
      appends.push(saves.map(({ number }) => number));
      await new Promise<void>((resolve) => waiting.push(resolve));
      if (fails) throw new Error('no disk');
    },
    read: (first, last, bytesMax) => memory.read(first, last, bytesMax),
    compact: (mark) => memory.compact(mark),
    sweep: () => memory.sweep(),
    prepareReset: (mark) => memory.prepareReset(mark),
    reset: (mark) => memory.reset(mark),
    close: () => memory.close(),
  };
  const saved: [number, string[]][] = [];
  const errors: unknown[] = [];
  const saver = new Saver(
    log,
    {
      onSaved: (number, messages) => saved.push([number, messages.map(({ to }) => to)]),
      onFailed: (error) => errors.push(error),
    },
    HARD_STATE,
  );
  return { saver, appends, saved, errors, release: () => waiting.shift()?.() };
}

t.test('what is added during a write shares the next one', async (t) => {
  const { saver, appends, saved, release } = world();
  saver.add(save(1), [vote('one')]);
  saver.kick();
  saver.add(save(2), [vote('two')]);
  saver.add(save(3), []);
  saver.kick();
  t.strictSame(appends, [[1]]);
  release();
  await until('the first', () => saved.length === 1);
  t.strictSame(appends, [[1], [2, 3]]);
  release();
  await until('the second', () => saved.length === 2);
  t.strictSame(saved, [
    [1, ['one']],
    [3, ['two']],
  ]);
  t.equal(saver.hardState.term, 3);
});

t.test(
  'an exclusive action runs behind the saves before it and before those after it',
  async (t) => {
    const { saver, appends, release } = world();
    const order: string[] = [];
    saver.add(save(1), []);
    saver.kick();
    const exclusive = saver.exclusive(async () => {
      order.push(`exclusive after ${appends.length}`);
      saver.add(save(2), []);
      saver.kick();
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`still ${appends.length}`);
    });
    release();
    await exclusive;
    await until('the save behind it', () => appends.length === 2);
    t.strictSame(order, ['exclusive after 1', 'still 1']);
    release();
    await saver.stop();
    await t.rejects(
      saver.exclusive(async () => {}),
      { code: 'CLOSED' },
    );
  },
);

t.test('an exclusive action has its turn although there is always another save', async (t) => {
  const { saver, appends, release } = world();
  saver.add(save(1), []);
  saver.kick();
  saver.add(save(2), []);
  let appendsBefore = 0;
  const exclusive = saver.exclusive(async () => {
    appendsBefore = appends.length;
  });
  saver.add(save(3), []);
  for (let number = 4; number < 9; number++) {
    release();
    // The next write is under way, or waits for nothing but the action.
    await new Promise((resolve) => setImmediate(resolve));
    saver.add(save(number), []);
    saver.kick();
  }
  t.equal(appendsBefore, 2, 'behind the saves before it, and before any later write');
  release();
  await exclusive;
  await saver.stop();
});

t.test('when a write fails, nobody waits for ever and nothing more is written', async (t) => {
  const { saver, appends, saved, errors, release } = world(true);
  saver.add(save(1), [vote('one')]);
  saver.kick();
  const refused = t.rejects(
    saver.exclusive(async () => {}),
    { code: 'CLOSED' },
  );
  release();
  await refused;
  saver.add(save(2), []);
  saver.kick();
  await saver.stop();
  t.strictSame([appends.length, saved.length, errors.length], [1, 0, 1]);
});

t.test('what is replaced in the same write is not acknowledged', async (t) => {
  const { saver, saved, release } = world();
  saver.add(save(1), [acknowledgement('first write', 9)]);
  saver.kick();
  saver.add(save(2), [acknowledgement('kept', 4), acknowledgement('replaced', 5), vote('one')]);
  saver.add({ ...save(3), truncateFrom: 5 }, [acknowledgement('new', 5)]);
  release();
  await until('the first', () => saved.length === 1);
  release();
  await until('the second', () => saved.length === 2);
  t.strictSame(saved, [
    [1, ['first write']],
    [3, ['kept', 'one', 'new']],
  ]);
});
