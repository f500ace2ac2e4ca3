import t from 'tap';
import { Acknowledgements } from '../../src/client/acknowledgements.js';
import type { Link } from '../../src/client/link.js';
import { HandClock, idle } from '../support/mount-world.js';

function world() {
  const clock = new HandClock();
  const told: number[] = [];
  const line = {
    connection: 1,
    tell: (connection: number, { id }: { id: number }) => {
      if (connection === line.connection) told.push(id);
    },
  };
  const link = line as unknown as Link;
  const acknowledgements = new Acknowledgements(clock);
  const pass = async (ms: number) => {
    for (let i = 0; i < ms; i++) {
      clock.advance(1);
      await idle();
    }
  };
  const add = (id: number, forgotten: Promise<void> | null, own = false) =>
    acknowledgements.add(link, id, forgotten, own);
  return { told, add, pass, line };
}

t.test('what is forgotten at once is acknowledged at once', async (t) => {
  const { told, add } = world();
  add(1, null);
  t.strictSame(told, [1]);
});

t.test('in the order of the pushes', async (t) => {
  const { told, add, pass } = world();
  let forget = () => {};
  add(
    1,
    new Promise((resolve) => {
      forget = resolve;
    }),
  );
  add(2, null);
  await pass(1);
  t.strictSame(told, []);
  forget();
  await pass(1);
  t.strictSame(told, [1, 2]);
  add(3, null);
  t.strictSame(told, [1, 2, 3]);
});

t.test('own changes wait until the kernel has the result, and share a message', async (t) => {
  const { told, add, pass } = world();
  add(1, null, true);
  add(2, Promise.resolve(), true);
  t.strictSame(told, []);
  await pass(1);
  t.strictSame(told, [], 'the last came just now');
  add(3, null, true);
  await pass(1);
  t.strictSame(told, [2]);
  add(4, null);
  await pass(2);
  t.strictSame(told, [2, 3, 4]);
});

t.test('what came over a connection is acknowledged over no other', async (t) => {
  const { told, add, pass, line } = world();
  let forget = () => {};
  add(
    7,
    new Promise((resolve) => {
      forget = resolve;
    }),
  );
  add(8, null, true);
  line.connection++;
  add(1, null, true);
  forget();
  await pass(2);
  t.strictSame(told, [1]);
});
