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
  const state = { nowMs: 0, freeBytes: 100 * GIB, sent: [] as DiskSpaceMessage[] };
  const room = new DiskRoom(
    'n1',
    { monotonicMs: () => state.nowMs },
    async () => ({ totalBytes: 200 * GIB, freeBytes: state.freeBytes }),
    (message) => state.sent.push(message),
    (error) => t.error(error),
  );
  const tick = async (leader: string | null, ms = 500) => {
    state.nowMs += ms;
    room.tick(state.nowMs, { leader, term: 3 });
    await new Promise(setImmediate);
  };
  const hear = (from: string, freeBytes: number, totalBytes = 200 * GIB) =>
    room.heard({ type: 'disk-space', from, to: 'n1', term: 3, freeBytes, totalBytes });
  return {
    room,
    state,
    tick,
    hear,
    refuses: (command: Command = WRITE, away: readonly string[] = []) => {
      const followers = ['n2', 'n3'].map((id) => ({ id, recentlyActive: !away.includes(id) }));
      return room.refuses(command, MEMBERS, followers);
    },
  };
}

t.test('each node tells the leader, now and then', async (t) => {
  const { state, tick } = makeRoom();
  await tick('n2');
  await tick('n2', 100);
  t.match(state.sent, [{ from: 'n1', to: 'n2', term: 3, freeBytes: 100 * GIB }]);
  t.equal(state.sent.length, 1);
  await tick('n1');
  await tick(null);
  t.equal(state.sent.length, 1);
});

t.test('what takes space is refused while any disk is nearly full', async (t) => {
  const { state, tick, hear, refuses } = makeRoom();
  t.notOk(refuses(), 'nothing is known');
  await tick('n1');
  hear('n2', RESERVE + 1);
  t.notOk(refuses());
  hear('n2', RESERVE);
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
  hear('n3', 90, 1_000);
  t.notOk(refuses(), 'of a small disk less is kept');
  hear('n3', 50, 1_000);
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
  room.proposed(100_000);
  t.ok(refuses());
  t.ok(refuses(WRITE, ['n3']));
  t.notOk(refuses(WRITE, ['n2']));
});

t.test('what was proposed since a report counts, twice', async (t) => {
  const { room, tick, hear, refuses } = makeRoom();
  await tick('n1');
  hear('n2', RESERVE + 1_000);
  hear('n2', RESERVE + 1_000);
  room.proposed(400);
  t.notOk(refuses());
  room.proposed(200);
  t.ok(refuses());
  hear('n2', RESERVE + 1_000);
  t.ok(refuses(), 'some of it may not be on the disk yet');
  hear('n2', RESERVE + 1_000);
  t.notOk(refuses());
  t.match(await room.shown(MEMBERS), { totalBytes: 200 * GIB, freeBytes: 1_000 });
});
