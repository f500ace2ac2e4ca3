import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import { ENTRY_OVERHEAD_BYTES } from '../../src/raft/log.js';
import { createRaft } from '../../src/raft/raft.js';
import type { Raft, RaftConfig, RaftMessage, Ready } from '../../src/raft/types.js';
import { configurationCodec, configurationOf, Disk } from './support-disk.js';

const CONFIG: RaftConfig = {
  id: 'n1',
  configurations: configurationCodec,
  electionTicksMin: 10,
  electionTicksMax: 20,
  heartbeatTicks: 3,
  inFlightMessagesMax: 4,
  inFlightBytesMax: 10_000,
  appendBytesMax: 1000,
  uncommittedBytesMax: 5000,
  tailBytesMax: 1000,
};

const TO_US = { from: 'n2', to: 'n1', term: 1 } as const;

const MEMBERS = configurationOf(['n1', 'n2', 'n3']);

function create(config: Partial<RaftConfig> = {}, disk = new Disk(false, MEMBERS)): Raft {
  return createRaft({ ...CONFIG, ...config }, disk.restored(0), seededRandom(1));
}

/** Carries out everything at once; what was asked for is returned. */
function drain(raft: Raft): { messages: RaftMessage[]; ready: Ready[] } {
  const messages: RaftMessage[] = [];
  const ready: Ready[] = [];
  while (raft.hasReady()) {
    const one = raft.ready();
    ready.push(one);
    if (one.save !== null) raft.saved(one.save.number);
    messages.push(...one.messages, ...one.messagesAfterSave);
    const last = one.committed.at(-1);
    if (last !== undefined) raft.applied(last.index);
  }
  return { messages, ready };
}

function elect(raft: Raft): void {
  raft.campaign();
  drain(raft);
  raft.step({ ...TO_US, type: 'pre-vote-reply', granted: true });
  drain(raft);
  raft.step({ ...TO_US, type: 'vote-reply', granted: true });
  drain(raft);
}

function acknowledge(raft: Raft, match: number, from = 'n2'): void {
  raft.step({
    ...TO_US,
    from,
    type: 'append-reply',
    prevIndex: 0,
    success: true,
    match,
    hintIndex: 0,
    hintTerm: 0,
    recovering: false,
  });
}

t.test('entries that were read for a follower may be compacted away meanwhile', async (t) => {
  const raft = create({ tailBytesMax: 0, inFlightMessagesMax: 1 });
  elect(raft);
  acknowledge(raft, 1);
  acknowledge(raft, 1, 'n3');
  drain(raft);
  const entries = [2, 3, 4, 5].map((index) => {
    const data = Buffer.from(`${index}`);
    raft.propose([data]);
    drain(raft);
    acknowledge(raft, index);
    drain(raft);
    return { index, term: 1, kind: 'command', data } as const;
  });
  acknowledge(raft, 2, 'n3');
  const loads = drain(raft).ready.flatMap((ready) => ready.loads);
  t.match(loads, [{ to: 'n3', first: 3 }]);
  raft.compacted({ index: 4, term: 1 });
  raft.loaded('n3', entries.slice(1));
  const { ready } = drain(raft);
  t.strictSame(
    ready.flatMap((one) => one.snapshotsTo),
    ['n3'],
  );
});

t.test('fields that no core sends change nothing', async (t) => {
  const raft = create();
  const entry = { index: 1, term: 1, kind: 'empty', data: new Uint8Array(0) } as const;
  const append = { ...TO_US, type: 'append', prevIndex: 0, prevTerm: 0, commit: 0 } as const;
  raft.step({ ...append, entries: [entry] });
  drain(raft);
  const before = raft.status();
  const bad: RaftMessage[] = [
    { ...append, prevIndex: -1, entries: [] },
    { ...append, prevIndex: 0.5, entries: [] },
    { ...append, prevIndex: 1, prevTerm: 2, entries: [] },
    { ...append, prevIndex: 1, prevTerm: 1, commit: -1, entries: [] },
    { ...append, prevIndex: 1, prevTerm: 1, entries: [{ ...entry, index: 3 }] },
    { ...append, prevIndex: 1, prevTerm: 1, entries: [{ ...entry, index: 2, term: 2 }] },
    { ...append, prevIndex: 1, prevTerm: 1, entries: [{ ...entry, index: 2, term: 0 }] },
    { ...append, term: Number.NaN, entries: [] },
    { ...append, from: 'n1', term: 9, entries: [] },
    { ...append, to: 'n2', term: 9, entries: [] },
    {
      ...append,
      prevIndex: 1,
      prevTerm: 1,
      entries: [{ ...entry, index: 2, kind: 'configuration' }],
    },
    { ...append, from: 'n3', prevIndex: 1, prevTerm: 1, commit: 1, entries: [] },
    { ...TO_US, type: 'heartbeat', commit: Number.POSITIVE_INFINITY, context: 0 },
    { ...TO_US, type: 'read-index-reply', context: 5, index: 1 },
  ];
  for (const message of bad) {
    raft.step(message);
    drain(raft);
    t.same(raft.status(), before, JSON.stringify(message));
  }
  raft.step({ ...append, commit: 999, entries: [entry] });
  drain(raft);
  t.equal(raft.status().commitIndex, 1, 'a commit index beyond the entries goes as far as they go');
  raft.step({ ...TO_US, type: 'heartbeat', commit: 999, context: 0 });
  t.match(drain(raft).messages, [
    { type: 'append-reply', success: false, prevIndex: 999, hintIndex: 1, hintTerm: 1 },
    { type: 'heartbeat-reply' },
  ]);
  t.equal(raft.status().commitIndex, 1);
});

t.test('a leader does not believe in entries that it does not have', async (t) => {
  const raft = create();
  elect(raft);
  acknowledge(raft, 50);
  t.match(raft.status(), { role: 'leader', commitIndex: 0 });
  acknowledge(raft, 1);
  t.match(raft.status(), { role: 'leader', commitIndex: 1 });
});

t.test('uncommitted bytes are bounded', async (t) => {
  const raft = create();
  t.same(raft.propose([new Uint8Array(1)]), { ok: false, reason: 'not-leader' });
  elect(raft);
  acknowledge(raft, 1);
  drain(raft);
  t.match(raft.propose([new Uint8Array(20_000)]), { ok: true, first: 2, term: 1 }, 'alone');
  t.same(raft.propose([new Uint8Array(1)]), { ok: false, reason: 'full' });
  drain(raft);
  acknowledge(raft, 2);
  t.same(raft.propose([new Uint8Array(1)]), { ok: false, reason: 'full' }, 'not applied');
  const { committed } = raft.ready();
  t.equal(committed.length, 1);
  t.same(
    raft.propose([new Uint8Array(1)]),
    { ok: false, reason: 'full' },
    'given out, not applied',
  );
  raft.applied(2);
  t.match(raft.propose([new Uint8Array(1), new Uint8Array(1)]), { ok: true, first: 3 });
  t.equal(raft.status().lastIndex, 4);
});

t.test("what the leader's own disk does not have yet is bounded, too", async (t) => {
  const raft = create();
  elect(raft);
  acknowledge(raft, 1);
  drain(raft);
  raft.propose([new Uint8Array(4000)]);
  const { save } = raft.ready();
  t.not(save, null);
  acknowledge(raft, 2);
  acknowledge(raft, 2, 'n3');
  t.equal(raft.status().commitIndex, 2, 'the others are a majority');
  t.same(raft.propose([new Uint8Array(4000)]), { ok: false, reason: 'full' });
  raft.saved(save?.number ?? 0);
  for (const { index } of raft.ready().committed) raft.applied(index);
  t.match(raft.propose([new Uint8Array(4000)]), { ok: true, first: 3 });
});

t.test('a follower that is silent costs one window', async (t) => {
  const raft = create({ uncommittedBytesMax: 1e9 });
  elect(raft);
  acknowledge(raft, 1);
  drain(raft);
  let bytes = 0;
  for (let i = 0; i < 500; i++) {
    raft.propose([new Uint8Array(300)]);
    for (const message of drain(raft).messages) {
      if (message.type !== 'append' || message.to !== 'n2') continue;
      for (const entry of message.entries) bytes += entry.data.byteLength + ENTRY_OVERHEAD_BYTES;
    }
  }
  t.ok(bytes > 0 && bytes <= CONFIG.inFlightBytesMax + CONFIG.appendBytesMax, `${bytes}`);
  const follower = raft.status().followers.find(({ id }) => id === 'n2');
  t.equal(follower?.inFlightMessages, CONFIG.inFlightMessagesMax);
});

t.test('nothing is acknowledged that was replaced before it was saved', async (t) => {
  const raft = create();
  const append = (from: string, term: number, entries: number) =>
    raft.step({
      ...{ type: 'append', from, to: 'n1', term, prevIndex: 0, prevTerm: 0, commit: 0 },
      entries: Array.from({ length: entries }, (_, i) => ({
        ...{ index: i + 1, term, kind: 'command' as const, data: new Uint8Array(1) },
      })),
    });
  append('n2', 1, 2);
  append('n3', 2, 1);
  const replies = drain(raft).messages.filter(({ type }) => type === 'append-reply');
  t.match(replies, [{ to: 'n3', term: 2, match: 1 }]);
  t.equal(replies.length, 1);
});

t.test('a follower that applies slowly takes no more in', async (t) => {
  const raft = create();
  const append = (prevIndex: number) =>
    raft.step({
      ...TO_US,
      type: 'append',
      prevIndex,
      prevTerm: prevIndex === 0 ? 0 : 1,
      commit: prevIndex,
      entries: [{ index: prevIndex + 1, term: 1, kind: 'command', data: new Uint8Array(4000) }],
    });
  for (let i = 0; i < 3; i++) {
    append(i);
    while (raft.hasReady()) {
      const { save } = raft.ready();
      if (save !== null) raft.saved(save.number);
    }
  }
  t.equal(raft.status().lastIndex, 3);
  append(3);
  t.equal(raft.status().lastIndex, 3, 'two entries wait to be applied');
  raft.applied(2);
  append(3);
  t.equal(raft.status().lastIndex, 4);
});

t.test('several saves are confirmed by the last', async (t) => {
  const raft = create({}, new Disk(false, configurationOf(['n1'])));
  raft.campaign();
  drain(raft);
  const numbers: number[] = [];
  for (let i = 0; i < 3; i++) {
    raft.propose([new Uint8Array(1)]);
    const { save, committed } = raft.ready();
    numbers.push(save?.number ?? 0);
    t.same(committed, []);
  }
  raft.saved(numbers[2] ?? 0);
  t.same(
    raft.ready().committed.map(({ index }) => index),
    [2, 3, 4],
  );
  t.throws(() => raft.saved(99), /handed out/);
  t.throws(() => raft.applied(99), /given out/);
});

t.test('what is committed and only on disk is named, not given', async (t) => {
  const disk = new Disk(false, MEMBERS);
  disk.hardState = { term: 1, vote: null, recovering: false, incarnation: 0 };
  disk.entries = [1, 2, 3].map((index) => ({
    index,
    term: 1,
    kind: 'command',
    data: new Uint8Array(1),
  }));
  const raft = create({}, disk);
  raft.step({
    ...TO_US,
    type: 'append',
    prevIndex: 3,
    prevTerm: 1,
    commit: 4,
    entries: [{ index: 4, term: 1, kind: 'empty', data: new Uint8Array(0) }],
  });
  const { ready } = drain(raft);
  t.same(ready[0]?.committedFromLog, { first: 1, last: 3 });
  t.same(
    ready[1]?.committed.map(({ index }) => index),
    [4],
    'when it is saved',
  );
});

/** A node that must recover, and has caught up with n2, which leads in term 1. */
function caughtUp(): Raft {
  const disk = new Disk(false, MEMBERS);
  // It voted, and a crash in the middle of taking in a snapshot left it recovering.
  disk.hardState = { term: 1, vote: 'n3', recovering: true, incarnation: 0 };
  const raft = create({}, disk);
  raft.step({
    ...TO_US,
    type: 'append',
    prevIndex: 0,
    prevTerm: 0,
    commit: 1,
    entries: [{ index: 1, term: 1, kind: 'empty', data: new Uint8Array(0) }],
  });
  drain(raft);
  let asked: RaftMessage | undefined;
  for (let i = 0; i < 100 && asked === undefined; i++) {
    raft.step({ ...TO_US, type: 'heartbeat', commit: 1, context: 0 });
    raft.tick();
    asked = drain(raft).messages.find(({ type }) => type === 'read-index');
  }
  const context = asked?.type === 'read-index' ? asked.context : -1;
  raft.step({ ...TO_US, type: 'read-index-reply', context, index: 1 });
  drain(raft);
  return raft;
}

t.test('a recovered node keeps the vote that it gave in this term', async (t) => {
  const raft = caughtUp();
  t.match(raft.status(), { recovering: true }, 'it may have voted for n3 in any term');
  raft.othersTerms(new Map([['n2', 1]]));
  t.match(raft.status(), { recovering: true });
  raft.othersTerms(
    new Map([
      ['n2', 1],
      ['n3', 1],
    ]),
  );
  drain(raft);
  t.match(raft.status(), { recovering: false, term: 1, vote: 'n3', leader: 'n2' });
});

t.test('it may have voted in a term that nobody else knows any more: it goes there', async (t) => {
  const raft = caughtUp();
  raft.othersTerms(
    new Map([
      ['n2', 1],
      ['n3', 5],
    ]),
  );
  t.match(raft.status(), { recovering: true, term: 5, vote: null, leader: null });
  drain(raft);
  raft.step({ ...TO_US, type: 'heartbeat', commit: 1, context: 0 });
  const { messages } = drain(raft);
  t.match(messages, [{ type: 'heartbeat-reply', to: 'n2', term: 5 }], 'and n2 hears of it');
});

t.test('a leader with something else than what is committed here is of another cluster', (t) => {
  const disk = new Disk(false, MEMBERS);
  disk.hardState = { term: 1, vote: null, recovering: false, incarnation: 0 };
  const raft = create({}, disk);
  const entry = { index: 1, term: 1, kind: 'empty', data: new Uint8Array(0) } as const;
  const append = { ...TO_US, type: 'append', prevIndex: 0, prevTerm: 0, commit: 1 } as const;
  raft.step({ ...append, entries: [entry] });
  drain(raft);
  t.equal(raft.status().commitIndex, 1);
  raft.step({ ...append, entries: [entry] });
  const corrupt = { code: 'DATA_CORRUPT' };
  const other = { ...append, term: 2 };
  t.throws(() => raft.step({ ...other, entries: [{ ...entry, term: 2 }] }), corrupt);
  t.throws(() => raft.step({ ...other, prevIndex: 1, prevTerm: 2, entries: [] }), corrupt);
  t.end();
});

t.test('the same calls give the same answers', async (t) => {
  const run = () => {
    const raft = create();
    for (let i = 0; i < 100; i++) raft.tick();
    return JSON.stringify(drain(raft));
  };
  t.equal(run(), run());
});
