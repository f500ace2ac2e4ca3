import t from 'tap';
import { changed } from '../../src/raft/membership.js';
import type { Configuration } from '../../src/raft/types.js';

const member = (id: string) => ({ id, address: id });

t.test('a learner whose voter has gone may say again what it was to be', async (t) => {
  const learner = { ...member('n4'), promote: true, replaces: 'n3' };
  const before: Configuration = {
    voters: ['n1', 'n2', 'n3'].map(member),
    outgoing: [],
    learners: [learner],
    removed: [],
    incarnation: 1,
  };
  const without = changed(before, [{ type: 'remove', id: 'n3' }]) as Configuration;
  t.match(without, { learners: [learner], removed: ['n3'] });
  t.equal(changed(without, [{ type: 'add', ...learner }]), without, 'nothing changes');
  t.match(changed(without, [{ type: 'add', ...learner, address: 'elsewhere' }]), {
    learners: [{ ...learner, address: 'elsewhere' }],
  });
  t.equal(
    changed(without, [{ type: 'add', ...learner, ...member('n5') }]),
    "there is no voter 'n3' to be replaced",
  );
});
