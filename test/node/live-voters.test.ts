import t from 'tap';
import { LiveVoters, PATIENCE_MS } from '../../src/node/live-voters.js';
import type { FollowerStatus } from '../../src/raft/types.js';

const LEASE_MS = 500;
const VOTERS = ['n2', 'n3'];

function follower(id: string, match: number, fields: Partial<FollowerStatus> = {}): FollowerStatus {
  return {
    id,
    match,
    next: match + 1,
    state: 'replicate',
    inFlightMessages: 0,
    inFlightBytes: 0,
    recentlyActive: true,
    counts: true,
    ...fields,
  };
}

/** A leader at index 10, committed. */
function leading(...followers: readonly FollowerStatus[]) {
  return { followers, lastIndex: 10, commitIndex: 10 };
}

t.test('a voter that is silent counts until it may hold no lease any more', async (t) => {
  const live = new LiveVoters(LEASE_MS);
  live.begin(0);
  const both = leading(follower('n2', 10), follower('n3', 10));
  const silent = leading(follower('n2', 10), follower('n3', 10, { recentlyActive: false }));
  t.same(live.update(0, VOTERS, both), VOTERS);
  t.same(live.update(PATIENCE_MS, VOTERS, silent), VOTERS);
  t.equal(live.grant(PATIENCE_MS, 'n3', silent), LEASE_MS);
  t.same(live.update(PATIENCE_MS + 1, VOTERS, silent), VOTERS, 'its lease lasts');
  t.equal(live.grant(PATIENCE_MS + 1, 'n3', silent), 0, 'and is the last');
  t.equal(live.grant(PATIENCE_MS + 1, 'n2', silent), LEASE_MS);
  t.same(live.update(PATIENCE_MS + LEASE_MS - 1, VOTERS, silent), VOTERS);
  t.same(live.update(PATIENCE_MS + LEASE_MS, VOTERS, silent), ['n2']);
  t.equal(live.grant(PATIENCE_MS + LEASE_MS, 'n3', silent), 0);
  t.same(live.update(5 * PATIENCE_MS, VOTERS, both), VOTERS, 'it is back, and has everything');
});

t.test('a voter that answers and takes nothing in', async (t) => {
  const live = new LiveVoters(LEASE_MS);
  live.begin(0);
  const stuck = leading(follower('n2', 10), follower('n3', 9));
  t.same(live.update(0, VOTERS, stuck), VOTERS);
  t.equal(live.grant(0, 'n3', stuck), 0, 'who lacks something committed gets no lease');
  t.same(live.update(PATIENCE_MS, VOTERS, stuck), VOTERS);
  t.same(live.update(PATIENCE_MS + 1, VOTERS, stuck), ['n2']);
  t.same(live.update(2 * PATIENCE_MS, VOTERS, stuck), ['n2'], 'answering is not enough');
  const recovering = leading(follower('n2', 10), follower('n3', 10, { counts: false }));
  t.same(live.update(2 * PATIENCE_MS, VOTERS, recovering), ['n2'], 'its copies do not count yet');
  const probed = leading(follower('n2', 10), follower('n3', 10, { state: 'probe' }));
  t.same(live.update(2 * PATIENCE_MS, VOTERS, probed), ['n2'], 'where it is must be known');
});

t.test('a voter that is slow and makes progress counts', async (t) => {
  const live = new LiveVoters(LEASE_MS);
  live.begin(0);
  for (let i = 0; i < 10; i++) {
    const slow = leading(follower('n2', 10), follower('n3', i));
    t.same(live.update(i * PATIENCE_MS, VOTERS, slow), VOTERS);
  }
});

t.test('a new leader waits for all until leases of the one before are over', async (t) => {
  const live = new LiveVoters(3 * PATIENCE_MS);
  t.same(live.update(0, VOTERS, leading(follower('n2', 10))), [], 'who does not lead');
  live.begin(0);
  const away = leading(follower('n2', 10), follower('n3', 0, { recentlyActive: false }));
  t.same(live.update(0, VOTERS, away), VOTERS);
  t.same(live.update(3 * PATIENCE_MS - 1, VOTERS, away), VOTERS);
  t.same(live.update(3 * PATIENCE_MS, VOTERS, away), ['n2']);
  live.begin(4 * PATIENCE_MS);
  t.same(live.update(4 * PATIENCE_MS, VOTERS, away), VOTERS, 'an office anew');
  t.same(live.update(4 * PATIENCE_MS, ['n2'], away), ['n2'], 'who is no voter does not count');
});
