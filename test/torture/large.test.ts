import t from 'tap';
import { checkHistories } from '../../scripts/torture/checks.js';
import type { Operation } from '../../scripts/torture/history.js';
import { runsOf } from '../../scripts/torture/large.js';

const FILE = 'large0';
let clock = 0;

function write(value: string, first: number, count: number, answer: string | null = 'ok') {
  return operation({ type: 'write-blocks', object: FILE, value, first, count }, answer);
}

function read(first: number, ...values: readonly string[]) {
  const request = { type: 'read-blocks', object: FILE, first, count: values.length } as const;
  return operation(request, runsOf(values));
}

/** One after another. */
function operation(request: Operation['request'], answer: string | null): Operation {
  const invokedNs = BigInt(clock++);
  return {
    worker: 'w',
    request,
    answer,
    invokedNs,
    endedNs: answer && BigInt(clock++),
  } as Operation;
}

function violations(...operations: readonly Operation[]): number {
  return checkHistories(operations, new Map()).violations.length;
}

t.test('runs', async (t) => {
  t.equal(runsOf([]), '');
  t.equal(runsOf(['a', 'a', 'b', 'a']), '2 a,1 b,1 a');
});

t.test('large files', async (t) => {
  t.equal(violations(write('a', 0, 9), read(0, 'a', 'a', 'a'), read(6, 'a', 'a', 'a')), 0);
  t.equal(violations(write('a', 0, 9), write('b', 3, 3), read(2, 'a', 'b', 'b', 'b', 'a')), 0);
  t.equal(
    violations(write('a', 0, 9), write('b', 3, 3), read(2, 'a', 'b', 'a', 'b', 'a')),
    1,
    'lost',
  );
  t.equal(violations(write('a', 0, 3), read(2, 'a', '')), 0, 'nobody wrote the second');
  t.equal(violations(write('a', 0, 9), read(4, 'at_large0:4:_torn')), 1);
  t.equal(
    violations(write('a', 0, 9), write('b', 0, 9, null), read(0, 'a', 'b'), read(0, 'b', 'b')),
    0,
    'a write that nobody heard of comes to each block by itself',
  );
  t.equal(
    violations(write('a', 0, 9), write('b', 0, 9, null), read(0, 'a', 'b'), read(1, 'a')),
    1,
    'and does not go again',
  );
});
