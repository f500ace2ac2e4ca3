import t from 'tap';
import { InFlight, Progress } from '../../src/raft/progress.js';
import { majorityOf, quorumIndex, tally } from '../../src/raft/quorum.js';

t.test('the window is full by messages or by bytes, and wraps around', async (t) => {
  const window = new InFlight(3, 100);
  for (let round = 0; round < 5; round++) {
    const base = round * 10;
    window.add(base + 1, 10);
    window.add(base + 2, 10);
    t.notOk(window.full);
    window.add(base + 3, 10);
    t.ok(window.full);
    window.acknowledge(base);
    t.equal(window.messages, 3);
    window.acknowledge(base + 2);
    t.same([window.messages, window.bytes], [1, 10]);
    window.add(base + 4, 95);
    t.ok(window.full, 'by bytes');
    window.acknowledge(base + 9);
    t.same([window.messages, window.bytes], [0, 0]);
  }
});

t.test('states of a follower', async (t) => {
  const follower = new Progress('n2', 8, new InFlight(4, 100));
  follower.match = 5;
  follower.awaiting = true;
  follower.becomeReplicate();
  t.match(follower, { state: 'replicate', next: 6, awaiting: false });
  follower.inFlight.add(7, 10);
  follower.becomeProbe(3);
  t.match(follower, { state: 'probe', next: 3, awaiting: false });
  t.equal(follower.inFlight.messages, 0);
  follower.becomeSnapshot();
  t.equal(follower.state, 'snapshot');
});

t.test('majorities', async (t) => {
  t.same([1, 2, 3, 4, 5, 6, 7].map(majorityOf), [1, 2, 2, 3, 3, 4, 4]);
  t.equal(quorumIndex([7]), 7);
  t.equal(quorumIndex([7, 3]), 3);
  t.equal(quorumIndex([1, 9, 5]), 5);
  t.equal(quorumIndex([4, 4, 8, 9]), 4);
  t.equal(quorumIndex([10, 2, 8, 4, 6]), 6);
});

t.test('elections', async (t) => {
  const answers = (text: string) =>
    new Map([...text].map((answer, i) => [`n${i}`, answer === 'y'] as const));
  const voters = (count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => `n${from + i}`);
  t.equal(tally(answers('y'), [voters(1)]), 'won');
  t.equal(tally(answers('y'), [voters(3)]), 'open');
  t.equal(tally(answers('yn'), [voters(3)]), 'open');
  t.equal(tally(answers('ynn'), [voters(3)]), 'lost');
  t.equal(tally(answers('nn'), [voters(3)]), 'lost');
  t.equal(tally(answers('yy'), [voters(3)]), 'won');
  t.equal(tally(answers('yyn'), [voters(4)]), 'open');
  t.equal(tally(answers('yynn'), [voters(4)]), 'lost');
  t.equal(tally(answers('yyy'), [voters(3, 5)]), 'open', 'others count for nothing');
});

t.test('while the members change both majorities are needed', async (t) => {
  const answers = (yes: string, no = '') =>
    new Map([
      ...[...yes].map((id) => [id, true] as const),
      ...[...no].map((id) => [id, false] as const),
    ]);
  const sets = [[...'abc'], [...'cde']];
  t.equal(tally(answers('ab'), sets), 'open');
  t.equal(tally(answers('abde'), sets), 'won');
  t.equal(tally(answers('ac'), sets), 'open');
  t.equal(tally(answers('acd'), sets), 'won');
  t.equal(tally(answers('ab', 'de'), sets), 'lost');
  t.equal(tally(answers('', 'cd'), sets), 'lost');
});
