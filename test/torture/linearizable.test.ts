import t from 'tap';
import type { Operation, Request } from '../../scripts/torture/history.js';
import { checkLinearizable } from '../../scripts/torture/linearizable.js';
import { BLOCK, NAMES } from '../../scripts/torture/models.js';
import { settle } from '../../scripts/torture/unheard.js';
import { randomBetween, seededRandom } from '../../src/base/random.js';

const PATIENCE_MS = 60_000;

function operation(
  request: Request,
  answer: string | null,
  from: number,
  to: number | null,
): Operation {
  const endedNs = to === null ? null : BigInt(to);
  return { worker: 'w', request, answer, invokedNs: BigInt(from), endedNs };
}

function write(value: string, from: number, to: number | null, answer: string | null = 'ok') {
  return operation({ type: 'write', object: 'x', value }, answer, from, to);
}

function read(value: string, from: number, to: number) {
  return operation({ type: 'read', object: 'x' }, value, from, to);
}

/** Judged twice: as it is, and with what nobody heard of settled. */
function block(...operations: readonly Operation[]): string {
  const { type } = checkLinearizable(operations, BLOCK, PATIENCE_MS);
  const settled = checkLinearizable(settle(operations), BLOCK, PATIENCE_MS);
  return type === settled.type ? type : `${type}, and settled ${settled.type}`;
}

t.test('blocks', async (t) => {
  t.equal(block(), 'linearizable');
  t.equal(block(read('', 1, 2), write('a', 3, 4), read('a', 5, 6)), 'linearizable');
  t.equal(block(write('a', 1, 2), read('', 3, 4)), 'violation', 'a lost write');
  t.equal(block(write('a', 1, 9), read('', 2, 3), read('a', 4, 5)), 'linearizable');
  t.equal(block(write('a', 1, 9), read('a', 2, 3), read('', 4, 5)), 'violation', 'new, then old');
  t.equal(
    block(write('a', 1, 9), write('b', 2, 8), read('a', 10, 11), read('b', 12, 13)),
    'violation',
    'only one was the last',
  );
  t.equal(block(read('z', 1, 2)), 'violation', 'nobody wrote it');
  t.equal(block(write('a', 1, null, null), read('', 5, 6), read('a', 7, 8)), 'linearizable');
  t.equal(block(write('a', 1, null, null), read('', 5, 6)), 'linearizable', 'it never happened');
  t.equal(
    block(write('a', 1, null, null), read('a', 5, 6), write('b', 7, 8), read('a', 9, 10)),
    'violation',
    'it happens once',
  );
});

function names(...steps: readonly (readonly [string, string | null])[]): string {
  const operations = steps.map(([text, answer], i) => {
    const [type = '', name = '', to = ''] = text.split(' ');
    const request = { type, object: 'd', name, to } as Request;
    return operation(request, answer, 2 * i, answer === null ? null : 2 * i + 1);
  });
  return checkLinearizable(operations, NAMES, PATIENCE_MS).type;
}

t.test('names', async (t) => {
  t.equal(
    names(
      ['create a', 'inode 5'],
      ['create a', 'EEXIST'],
      ['rename a b', 'ok'],
      ['stat a', 'ENOENT'],
      ['stat b', 'inode 5'],
      ['unlink b', 'ok'],
      ['unlink b', 'ENOENT'],
    ),
    'linearizable',
  );
  t.equal(
    names(['create a', 'EEXIST']),
    'violation',
    'its first reply was lost, and it came twice',
  );
  t.equal(names(['create a', 'inode 5'], ['unlink a', 'ENOENT']), 'violation');
  t.equal(names(['create a', 'inode 5'], ['stat a', 'inode 6']), 'violation');
  t.equal(names(['create a', 'inode 5'], ['rename a b', 'ok'], ['stat a', 'inode 5']), 'violation');
  t.equal(names(['create a', null], ['stat a', 'inode 7'], ['unlink a', 'ok']), 'linearizable');
  t.equal(names(['create a', null], ['stat a', 'inode 7'], ['stat a', 'inode 8']), 'violation');
  t.equal(names(['create a', 'ENOSPC'], ['stat a', 'ENOENT']), 'linearizable');
  t.equal(names(['create a', 'ENOSPC'], ['stat a', 'inode 7']), 'violation', 'it was refused');
});

t.test('many writes that nobody heard of are settled', async (t) => {
  const writes = Array.from({ length: 400 }, (_, i) => write(`v${i}`, i, null, null));
  t.equal(settle(writes).length, 0, 'nobody read any');
  const late = [read('v7', 500, 510), write('last', 520, 530), read('last', 540, 550)];
  const settled = settle([...writes, ...late]);
  t.equal(checkLinearizable(settled, BLOCK, PATIENCE_MS).type, 'linearizable');
  const again = settle([...writes, ...late, read('v7', 560, 570)]);
  t.equal(checkLinearizable(again, BLOCK, PATIENCE_MS).type, 'violation', 'it happens once');
});

t.test(
  'random histories of a register are accepted, and with one wrong answer refused',
  async (t) => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seededRandom(seed);
      const history: Operation[] = [];
      let value = '';
      // Each takes effect at its own moment; beginnings and ends reach over those of others.
      for (let i = 0; i < 400; i++) {
        const atNs = 100 * (i + 1);
        const from = atNs - randomBetween(random, 1, 250);
        const to = atNs + randomBetween(random, 1, 250);
        if (randomBetween(random, 0, 2) === 0) history.push(read(value, from, to));
        else {
          value = `v${i}`;
          history.push(write(value, from, randomBetween(random, 0, 40) === 0 ? null : to));
        }
      }
      t.equal(block(...history), 'linearizable', `seed ${seed}`);
      const stale = read('v0 of another file', 20_000, 20_010);
      t.equal(block(...history, stale), 'violation', `seed ${seed}`);
    }
  },
);
