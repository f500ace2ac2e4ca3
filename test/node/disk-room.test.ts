import t from 'tap';
import type { DiskSpaceMessage } from '../../src/codec/peer-messages.js';
import type { Command } from '../../src/filesystem/commands.js';
import { spaceOf } from '../../src/filesystem/quota.js';
import { DiskRoom } from '../../src/node/disk-room.js';

const GIB = 2 ** 30;
const RESERVE = 512 * 2 ** 20;
const MEMBERS = new Set(['n1', 'n2', 'n3']);

const WRITE = { type: 'write', ino: 2, offset: 0, data: new Uint8Array(1) } as const;
const UNLINK: Command = { type: 'unlink', parent: 1, name: new Uint8Array(1) };
const SET_XATTR: Command = {
  ...{ type: 'set-xattr', ino: 2, name: new Uint8Array(1), value: new Uint8Array(1) },
  ...{ mode: 'set', killSetGid: false },
};
const COPY: Command = {
  ...{ type: 'copy-range', ino: 2, offset: 0, toIno: 3, toOffset: 0, length: 2 ** 24 },
  killPrivileges: false,
};
const CUT: Command = { type: 'set-attributes', ino: 2, size: 0 };

function makeRoom() {
  const state = { nowMs: 0, freeBytes: 100 * GIB, written: 0, sent: [] as DiskSpaceMessage[] };
  const room = new DiskRoom(
    'n1',
    { monotonicMs: () => state.nowMs },
    async () => ({ totalBytes: 200 * GIB, freeBytes: state.freeBytes }),
    () => state.written,
    (message) => state.sent.push(message),
    (error) => t.error(error),
  );
  const tick = async (leader: string | null, ms = 500) => {
    state.nowMs += ms;
    room.tick(state.nowMs, { leader, term: 3 });
    await new Promise(setImmediate);
  };
  const hear = (from: string, freeBytes: number, totalBytes = 200 * GIB, written = 0) =>
    room.heard({ type: 'disk-space', from, to: 'n1', term: 3, freeBytes, totalBytes, written });
  return {
    room,
    state,
    tick,
    hear,
    refuses: (command: Command = WRITE, away: readonly string[] = [], waiting = 0) => {
      const followers = ['n2', 'n3'].map((id) => ({ id, recentlyActive: !away.includes(id) }));
      return room.refuses(command, MEMBERS, followers, waiting);
    },
  };
}

t.test('each node tells the leader, now and then', async (t) => {
  const { state, tick } = makeRoom();
  state.written = 7;
  await tick('n2');
  await tick('n2', 100);
  t.match(state.sent, [{ from: 'n1', to: 'n2', term: 3, freeBytes: 100 * GIB, written: 7 }]);
  t.equal(state.sent.length, 1);
  await tick('n1');
  await tick(null);
  t.equal(state.sent.length, 1);
  await tick('n3', 100);
  t.match(state.sent.at(-1), { to: 'n3' }, 'a new leader at once');
});

t.test('what takes space is refused while any disk is nearly full', async (t) => {
  const { state, tick, hear, refuses } = makeRoom();
  t.notOk(refuses(), 'nothing is known');
  await tick('n1');
  hear('n2', RESERVE + 2 * spaceOf(WRITE));
  t.notOk(refuses());
  t.ok(refuses({ ...WRITE, data: new Uint8Array(2) }), 'in the log and in the tree');
  hear('n2', RESERVE + 2 * spaceOf(WRITE) - 1);
  t.ok(refuses());
  t.ok(refuses(SET_XATTR));
  t.notOk(refuses(UNLINK), 'what may give space back goes on');
  t.notOk(refuses(CUT));
  hear('n2', GIB);
  t.notOk(refuses());
  state.freeBytes = RESERVE - 1;
  await tick('n1');
  t.ok(refuses(), 'its own');
  state.freeBytes = GIB;
  await tick('n1');
  hear('n3', 9_000, 100_000);
  t.notOk(refuses(), 'of a small disk less is kept');
  hear('n3', 5_000, 100_000);
  t.ok(refuses());
  state.nowMs += 11_000;
  await tick('n1');
  t.notOk(refuses(), 'who is away is not waited for');
  hear('n4', 0);
  t.notOk(refuses(), 'nor who is no member');
});

t.test('a command counts with all that it may store', async (t) => {
  t.ok(spaceOf(COPY) > 2 ** 24);
  t.ok(spaceOf({ ...WRITE, offset: 32_767 }) > 32_768, 'a chunk');
  t.ok(spaceOf(UNLINK) < 1_024);
});

t.test('what is proposed does not reach the disk of a node that is away', async (t) => {
  const { room, tick, hear, refuses } = makeRoom();
  await tick('n1');
  hear('n2', RESERVE + 1_000);
  room.entered(3, 11, 100_000);
  t.ok(refuses());
  t.ok(refuses(WRITE, ['n2']), 'nobody is heard of all the time');
  await tick('n1', 2_100);
  t.ok(refuses(WRITE, ['n3']));
  t.notOk(refuses(WRITE, ['n2']));
});

t.test('what is proposed counts, twice, until it is in the tree of a report', async (t) => {
  const { room, tick, hear, refuses } = makeRoom();
  const free = RESERVE + 2 * spaceOf(WRITE) + 1_200;
  await tick('n1');
  hear('n2', free, 200 * GIB, 10);
  room.entered(3, 11, 400);
  t.notOk(refuses());
  t.notOk(refuses(WRITE, [], 200));
  t.ok(refuses(WRITE, [], 201), 'what is to enter the log, too');
  room.entered(3, 12, 400);
  t.ok(refuses());
  // However often it reports: its disk is slow.
  for (let reports = 0; reports < 5; reports++) hear('n2', free, 200 * GIB, 10);
  t.ok(refuses(), 'neither is on its disk');
  hear('n2', free - 1_200, 200 * GIB, 12);
  t.notOk(refuses());
  t.match(await room.shown(MEMBERS), { freeBytes: 2 * spaceOf(WRITE) });
});

t.test('what has entered the log together is written when its end is', async (t) => {
  const { room, state, tick, hear, refuses } = makeRoom();
  await tick('n1');
  for (let index = 11; index <= 20; index++) {
    room.entered(3, index, 100);
    state.nowMs += 1;
  }
  const free = RESERVE + 2 * spaceOf(WRITE);
  hear('n2', free + 1_999, 200 * GIB, 19);
  t.ok(refuses());
  hear('n2', free, 200 * GIB, 20);
  t.notOk(refuses());
});

t.test('in another office the indexes are others', async (t) => {
  const { room, tick, hear, refuses } = makeRoom();
  const free = RESERVE + 2 * spaceOf(WRITE);
  await tick('n1');
  room.entered(3, 11, 1_000);
  hear('n2', free, 200 * GIB, 10);
  t.ok(refuses());
  room.entered(5, 11, 100);
  t.ok(refuses());
  hear('n2', free + 200, 200 * GIB, 10);
  t.notOk(refuses(), 'what the leader before has not committed is none of its own');
});

t.test('whose tree stands still keeps nobody from writing', async (t) => {
  const { room, state, tick, hear, refuses } = makeRoom();
  await tick('n1');
  room.entered(3, 11, GIB);
  for (let reports = 0; reports < 10; reports++) {
    hear('n2', GIB, 200 * GIB, 10);
    t.ok(refuses());
    state.nowMs += 500;
  }
  state.nowMs += 500;
  hear('n2', GIB, 200 * GIB, 10);
  t.notOk(refuses());
  hear('n2', RESERVE, 200 * GIB, 10);
  t.ok(refuses(), 'its disk counts as it is');
});

t.test('of who is far behind nobody knows what it needs', async (t) => {
  const { room, state, tick, hear, refuses } = makeRoom();
  await tick('n1');
  for (let index = 11; index <= 2_000; index++) {
    room.entered(3, index, GIB / 500);
    state.nowMs += 20;
  }
  await tick('n1');
  hear('n2', 3 * GIB, 200 * GIB, 10);
  t.ok(refuses());
  hear('n2', 6 * GIB, 200 * GIB, 10);
  t.notOk(refuses());
});
