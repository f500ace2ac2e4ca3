import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/base/clock.js';
import { randomBetween, seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import type { SnapshotMessage } from '../../src/codec/peer-messages.js';
import { decodePeerMessage, encodePeerMessage } from '../../src/codec/peer-wire.js';
import type { Command } from '../../src/filesystem/commands.js';
import { COUNTERS, chunkKey, sessionKey } from '../../src/filesystem/keys.js';
import {
  DELEGATED_LOCKS_MAX,
  LOCK_OWNER_CHARS_MAX,
  LOCKED_INODES_MAX,
  SESSION_HOLDS_MAX,
  SESSION_NAME_CHARS_MAX,
  SESSION_REPLIES_MAX,
  SESSION_REPLY_BYTES_MAX,
  SYMLINK_BYTES_MAX,
} from '../../src/filesystem/records.js';
import { SnapshotReceiver } from '../../src/node/snapshot-receiver.js';
import { SnapshotSender } from '../../src/node/snapshot-sender.js';
import { createMemoryStateStore, MemoryDisk } from '../../src/storage/memory.js';
import { FilesystemWorld } from '../support/filesystem-world.js';
import { until } from '../support/until.js';

const LARGE_INO = 2 ** 52;
const MARK = { index: 70, term: 3 };
const RECORDS = 400;
/** So often nothing has arrived: then nothing is on its way, however busy the machine is. */
const QUIET_LOOKS = 3;

type Chunk = Extract<SnapshotMessage, { type: 'snapshot-chunk' }>;

/** The line changed nothing: so the sender itself meant it. */
function withData(chunk: Chunk, data: Uint8Array): Chunk {
  return { ...chunk, data, checksum: crc32(data) };
}

/** The store's own last chunk: checksum, version, kind 1. */
function isEnd({ data }: Chunk): boolean {
  return data.length > 5 && data[5] === 1;
}

type Outcome = { readonly ok: boolean; readonly index: number };

/** A stream over a line that `fate` rules: lost, damaged, or as it is. */
async function world(
  fate: (message: SnapshotMessage) => SnapshotMessage | null,
  line: { deliver: (message: SnapshotMessage) => void } = { deliver: () => {} },
) {
  const source = createMemoryStateStore(new MemoryDisk());
  await source.open();
  const keys = Array.from({ length: RECORDS }, (_, i) => chunkKey(9, i));
  const changes = keys.map((key, i) => {
    return { type: 'put', key, value: new Uint8Array(30_000).fill(i) } as const;
  });
  await source.write(changes, MARK);
  const target = createMemoryStateStore(new MemoryDisk());
  await target.open();
  const state = { nowMs: 0, term: 3, appliedIndex: 0, installed: 0 };
  const clock: Clock = { ...systemClock, monotonicMs: () => state.nowMs };
  const outcomes: Outcome[] = [];
  const onFailed = (error: unknown) => {
    throw error;
  };
  const travel = (message: SnapshotMessage) => {
    const arrived = fate(message);
    if (arrived === null) return;
    arrive(arrived);
  };
  let arrivals = 0;
  const arrive = (message: SnapshotMessage) =>
    setImmediate(() => {
      arrivals++;
      if (message.type === 'snapshot-ack') sender.onAck(message);
      else receiver.onChunk(message);
    });
  line.deliver = arrive;
  const open = () =>
    new SnapshotReceiver({
      id: 'b',
      state: target,
      clock,
      digest: crc32,
      send: travel,
      present: () => state,
      install: async ({ source: imported }) => {
        await imported.finish();
        state.installed++;
        return true;
      },
      onFailed,
    });
  let receiver = open();
  const send = (stream: number) =>
    new SnapshotSender({
      id: 'a',
      to: 'b',
      term: 3,
      stream,
      state: source,
      clock,
      digest: crc32,
      send: travel,
      queuedBytes: () => 0,
      delayMsMax: 50,
      onEnd: (outcome) => outcomes.push(outcome),
      onFailed,
    });
  let sender = send(77);
  /** Another stream of the same. */
  const again = () => {
    sender = send(78);
  };
  const restart = () => {
    receiver = open();
  };
  /** Time passes while nothing is on its way, until the stream has ended. */
  const finish = () => {
    let [seen, quietLooks] = [0, 0];
    return until('the end of the stream', () => {
      quietLooks = arrivals === seen ? quietLooks + 1 : 0;
      seen = arrivals;
      if (quietLooks >= QUIET_LOOKS) {
        state.nowMs += 600;
        sender.tick();
      }
      return outcomes.length > 0;
    });
  };
  const arrived = async () => {
    const found = await target.get(keys);
    return found.filter((value, i) => value?.[0] === i % 256).length;
  };
  const tick = (ms: number) => {
    state.nowMs += ms;
    sender.tick();
  };
  const tickReceiver = () => receiver.tick();
  return { state, outcomes, finish, restart, arrived, tick, tickReceiver, again };
}

t.test('over a good line', async (t) => {
  const { finish, outcomes, state, arrived } = await world((message) => message);
  await finish();
  t.strictSame(outcomes, [{ ok: true, index: 70 }]);
  t.equal(state.installed, 1);
  t.equal(await arrived(), RECORDS);
});

t.test('what a sender that is gone has sent is dropped in the end', async (t) => {
  let chunks = 0;
  let isGone = false;
  const { state, outcomes, finish, tickReceiver } = await world((message) => {
    if (message.type === 'snapshot-chunk') chunks++;
    if (chunks === 10) isGone = true;
    return isGone ? null : message;
  });
  await until('some chunks', () => isGone);
  tickReceiver();
  state.nowMs += 200_000;
  tickReceiver();
  // For the sender no time has passed: it does not give up by itself.
  state.nowMs -= 200_000;
  isGone = false;
  await finish();
  t.strictSame(outcomes, [{ ok: false, index: 0 }], 'nothing is kept with which it could go on');
  t.equal(state.installed, 0);
});

for (const seed of [1, 2, 3]) {
  t.test(`over a line that loses, repeats and damages (seed ${seed})`, async (t) => {
    const random = seededRandom(seed);
    const { finish, outcomes, state, arrived } = await world((message) => {
      const luck = randomBetween(random, 0, 10);
      if (luck === 0) return null;
      if (luck === 1 && message.type === 'snapshot-chunk' && message.data.length > 0) {
        const data = Uint8Array.from(message.data);
        data[0] = (data[0] ?? 0) ^ 1;
        return { ...message, data };
      }
      return message;
    });
    await finish();
    t.strictSame(outcomes, [{ ok: true, index: 70 }]);
    t.equal(state.installed, 1);
    t.equal(await arrived(), RECORDS);
  });
}

t.test('a connection that breaks costs what was on its way, and no more', async (t) => {
  const sent: number[] = [];
  let acknowledged = -1;
  let broken = 0;
  let again = 0;
  const { finish, outcomes, state } = await world((message) => {
    if (message.type === 'snapshot-chunk') {
      sent.push(message.sequence);
      // For a while, after 60 chunks, nothing arrives.
      if (sent.length === 60) broken = 200;
    }
    if (broken > 0) {
      broken--;
      return null;
    }
    if (message.type === 'snapshot-ack') acknowledged = Math.max(acknowledged, message.sequence);
    // A window of acknowledgements may still be on its way.
    else if (message.sequence < acknowledged - 32) again++;
    return message;
  });
  await finish();
  t.strictSame(outcomes, [{ ok: true, index: 70 }]);
  t.equal(state.installed, 1);
  t.equal(again, 0, 'what it has acknowledged is not sent again');
  t.equal(sent.filter((sequence) => sequence === 0).length, 1, 'it begins once');
});

t.test('over a slow line there is one chunk at a time, so that heartbeats pass', async (t) => {
  // The line carries a chunk in 100 ms; the test's clock moves with it.
  const waiting: SnapshotMessage[] = [];
  const lengths: number[] = [];
  const line = { deliver: (_: SnapshotMessage) => {} };
  const { outcomes, tick } = await world((message) => {
    if (message.type === 'snapshot-ack') return message;
    waiting.push(message);
    lengths.push(waiting.length);
    return null;
  }, line);
  await until('the end of the stream', () => {
    const chunk = waiting.shift();
    tick(100);
    if (chunk !== undefined) line.deliver(chunk);
    return outcomes.length > 0;
  });
  t.strictSame(outcomes, [{ ok: true, index: 70 }]);
  t.ok(Math.max(...lengths) <= 2, `${Math.max(...lengths)} chunks waited for each other`);
});

t.test('over a fast line the window opens', async (t) => {
  let onTheWay = 0;
  let most = 0;
  const { outcomes } = await world((message) => {
    onTheWay += message.type === 'snapshot-chunk' ? 1 : -1;
    most = Math.max(most, onTheWay);
    return message;
  });
  // No time passes: the line is as fast as can be, however slow this machine is.
  await until('the end of the stream', () => outcomes.length > 0);
  t.ok(most > 8, `${most} chunks`);
});

t.test('a receiver that forgot what it had ends the stream', async (t) => {
  let chunks = 0;
  const { finish, outcomes, state, restart } = await world((message) => {
    if (message.type === 'snapshot-chunk' && ++chunks === 8) restart();
    return message;
  });
  await finish();
  t.strictSame(outcomes, [{ ok: false, index: 0 }]);
  t.equal(state.installed, 0);
});

t.test('a snapshot that no sound node sends is refused, and the next one is taken', async (t) => {
  const bad: readonly [string, (chunk: Chunk) => Chunk][] = [
    ['nonsense', (chunk) => (chunk.sequence === 3 ? withData(chunk, Buffer.from('no')) : chunk)],
    ['without its end', (chunk) => (isEnd(chunk) ? withData(chunk, Buffer.alloc(0)) : chunk)],
  ];
  for (const [what, make] of bad) {
    const { finish, outcomes, state, again, arrived } = await world((message) =>
      message.type === 'snapshot-chunk' && outcomes.length === 0 ? make(message) : message,
    );
    await finish();
    t.strictSame(outcomes, [{ ok: false, index: 0 }], what);
    t.equal(state.installed, 0);
    again();
    await until('the second stream', () => {
      state.nowMs += 10;
      return outcomes.length === 2;
    });
    t.strictSame(outcomes[1], { ok: true, index: 70 });
    t.equal(await arrived(), RECORDS);
  }
});

t.test('a receiver that is away, of a later term, or further already', async (t) => {
  const away = await world(() => null);
  await away.finish();
  t.strictSame(away.outcomes, [{ ok: false, index: 0 }]);
  const later = await world((message) => message);
  later.state.term = 4;
  await later.finish();
  t.strictSame(later.outcomes, [{ ok: false, index: 0 }]);
  const further = await world((message) => message);
  further.state.appliedIndex = 71;
  await further.finish();
  t.strictSame(further.outcomes, [{ ok: true, index: 70 }]);
  t.equal(further.state.installed, 0);
});

/** A session with all that one may have beside its replies comes through a snapshot. */
async function fits(t: Test, world: FilesystemWorld, session: number): Promise<number> {
  const key = sessionKey(session);
  const record = world.view.get(key);
  if (record === undefined) throw new Error('no session');
  const largest = (length: number) => Array.from({ length }, (_, i) => LARGE_INO + i);
  const name = '\u{10ffff}'.repeat(SESSION_NAME_CHARS_MAX / 2);
  const holds = largest(SESSION_HOLDS_MAX);
  const value = { ...record, holds, name, locks: largest(LOCKED_INODES_MAX) };

  const source = createMemoryStateStore(new MemoryDisk());
  await source.open();
  await source.write([{ type: 'put', key, value }], MARK);
  const target = createMemoryStateStore(new MemoryDisk());
  await target.open();
  const exported = await source.exportSnapshot();
  const imported = await target.importSnapshot(MARK);
  const ends = { from: 'a', to: 'b', term: 3, stream: 1, mark: MARK, sequence: 0 } as const;
  for (let data = await exported.next(); data !== null; data = await exported.next()) {
    const checksum = crc32(data);
    const chunk = { type: 'snapshot-chunk', ...ends, last: false, checksum, data } as const;
    const arrived = decodePeerMessage(encodePeerMessage(chunk), 'a', 'b');
    if (arrived.type !== 'snapshot-chunk') throw new Error('something else');
    await imported.write(arrived.data);
  }
  await imported.finish();
  const [taken] = await target.get([key]);
  t.equal(taken?.holds.length, SESSION_HOLDS_MAX);
  t.equal(taken?.replies.size, record.replies.size);
  return record.replies.size;
}

/** Numbers as large as they come take the most room. */
function worldOfLargeNumbers(): FilesystemWorld {
  const world = new FilesystemWorld();
  world.view.take([
    { type: 'put', key: COUNTERS, value: { ...world.counters, nextIno: LARGE_INO } },
  ]);
  return world;
}

t.test('the largest record that clients can make has a place in a snapshot', async (t) => {
  const world = worldOfLargeNumbers();
  const session = world.open(true);
  const pointsTo = new Uint8Array(SYMLINK_BYTES_MAX).fill(0x61);
  let sequence = 1;
  const run = (command: Command) => world.apply(session, sequence++, command).outcome;
  const name = Buffer.from('s');
  const owner = { uid: 2 ** 31, gid: 2 ** 31 };
  const symlink = { type: 'make-symlink', parent: 1, name, target: pointsTo, ...owner } as const;
  const file = { type: 'make-node', parent: 1, name, mode: 0o100644, rdev: 0, ...owner } as const;
  const unlink = { type: 'unlink', parent: 1, name } as const;
  const links = Math.ceil(SESSION_REPLY_BYTES_MAX / SYMLINK_BYTES_MAX);
  // An even number of files made and removed, and then as many targets as there may be.
  const count = SESSION_REPLIES_MAX - links + ((SESSION_REPLIES_MAX - links) % 2);
  for (let i = 0; i < SESSION_REPLIES_MAX; i++) {
    const make = i < count - 2 ? file : symlink;
    const outcome = run(i % 2 === 0 ? make : unlink);
    if (outcome.type === 'gap') break;
    if (outcome.type !== 'reply' || !outcome.reply.ok) t.fail(outcome.type);
  }
  t.equal(run({ type: 'nothing' }).type, 'gap', 'no more are kept');
  const again = world.apply(session, 1, { type: 'nothing' }).outcome;
  t.match(again, { type: 'repeated', reply: { ok: true, value: { inode: { ino: LARGE_INO } } } });
  const kept = await fits(t, world, session);
  t.ok(kept >= SESSION_REPLIES_MAX - 3, `${kept} replies`);
});

t.test(
  'so has one with answers to locks of links, and with locks that are handed over',
  async (t) => {
    const owner = '\u{10ffff}'.repeat(LOCK_OWNER_CHARS_MAX / 2);
    const whose = { kind: 'posix', owner, pid: 2 ** 31, wait: null } as const;
    for (const takesOver of [false, true]) {
      const world = worldOfLargeNumbers();
      const session = world.open(true);
      const target = new Uint8Array(takesOver ? 1 : SYMLINK_BYTES_MAX).fill(0x61);
      const made = {
        parent: 1,
        name: Buffer.from('s'),
        uid: 2 ** 31,
        gid: 2 ** 31,
        target,
      } as const;
      const { ino } = world.do(session, { type: 'make-symlink', ...made }).inode;
      const lock = (i: number) => {
        const first = 2 ** 52 + 2 * (i % DELEGATED_LOCKS_MAX);
        return { type: 'lock', ino, ...whose, mode: 'shared', first, last: first } as const;
      };
      for (let i = 0; i < DELEGATED_LOCKS_MAX; i++) world.do(session, lock(i));
      let sequence = (world.view.get(sessionKey(session))?.lastSequence ?? 0) + 1;
      const run = () => world.apply(session, sequence++, { ...lock(sequence), takesOver }).outcome;
      while (run().type === 'reply');
      const kept = await fits(t, world, session);
      t.ok(kept < SESSION_REPLIES_MAX, `${kept} replies`);
    }
  },
);
