import t from 'tap';
import { ClusterLink } from '../../src/control/cluster-link.js';
import type { NodeEvent } from '../../src/control/events.js';
import { Operations } from '../../src/control/operations.js';
import { Stage } from '../../src/control/scenes/stage.js';
import { openSocket } from '../../src/control/socket.js';

function stage(): Stage {
  const cluster = new ClusterLink([], openSocket);
  const makeClient = () => {
    throw new Error('no client is needed');
  };
  const pace = { next: async () => undefined, signal: new AbortController().signal };
  return new Stage(cluster, new Operations(cluster, null), makeClient, pace, () => undefined);
}

const HEARTBEATS: NodeEvent = {
  ...{ type: 'messages', at: 0, to: 'n2', kind: 'heartbeat', count: 1, granted: 0 },
  ...{ entries: 0, bytes: 0, firstIndex: 0, lastIndex: 0 },
};

function role(term: number): NodeEvent {
  return { type: 'role', at: 0, role: 'leader', term, leader: 'n1' };
}

t.test('heartbeats do not bury what a scene looks for', async (t) => {
  const paused = stage();
  paused.onEvents('n1', [role(1)]);
  for (let i = 0; i < 100_000; i++) paused.onEvents('n1', [HEARTBEATS]);
  t.equal(paused.events.length, 1);
  t.match(paused.events[0], { id: 'n1', event: { type: 'role', term: 1 } });
});

t.test('of too much that could be looked for the newest is kept', async (t) => {
  const paused = stage();
  for (let i = 0; i < 50_000; i++) paused.onEvents('n1', [role(i)]);
  t.ok(paused.events.length <= 10_000, `${paused.events.length}`);
  t.match(paused.events.at(-1), { event: { term: 49_999 } });
});
