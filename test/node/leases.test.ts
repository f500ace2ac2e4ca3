import t from 'tap';
import type { Changes } from '../../src/codec/client-messages.js';
import { type FactKey, nameKey } from '../../src/filesystem/facts.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import { Leases, WAITING_BYTES_MAX } from '../../src/node/leases.js';

const LEASE_MS = 200;

class Client {
  readonly heard: (Changes | string)[] = [];

  push(changes: Changes): void {
    this.heard.push(changes);
  }

  get pushes(): Changes[] {
    return this.heard.filter((one) => typeof one !== 'string');
  }

  get answers(): string[] {
    return this.heard.filter((one) => typeof one === 'string');
  }
}

function world({ begun = true } = {}) {
  const clock = {
    nowMs: 1_000,
    monotonicMs: () => clock.nowMs,
  };
  const leases = new Leases(clock, LEASE_MS);
  const pass = (ms: number) => {
    clock.nowMs += ms;
    leases.tick();
  };
  const ask = (
    client: Client,
    index: number,
    what: string,
    reveals: readonly FactKey[] = [],
    ownCommand = false,
    bytes = 0,
  ) =>
    leases.answer(client, {
      index,
      ownCommand,
      bytes,
      reveals: () => reveals,
      send: (changes) => client.heard.push(what, ...(changes === null ? [] : [changes])),
      refuse: (why) => client.heard.push(`refused ${what}: ${why}`),
    });
  const apply = (index: number, ...effects: Effect[]) => {
    leases.applied(index, effects);
    leases.flush();
  };
  if (begun) {
    leases.begin(1, { grantsOver: false });
    pass(LEASE_MS);
  }
  return { leases, pass, ask, apply };
}

function inode(ino: number): Effect {
  return { type: 'inode', ino, data: false, gone: false };
}

/** A reader keeps what a writer has changed, and the writer's answer waits for it. */
function heldUp() {
  const all = world();
  const [reader, writer] = [new Client(), new Client()];
  all.leases.grant(reader);
  all.ask(reader, 1, 'read', [7]);
  all.apply(2, inode(7));
  all.ask(writer, 2, 'written');
  return { ...all, reader, writer };
}

t.test('who may keep an answer keeps others waiting until it acknowledged', async (t) => {
  const { leases, ask, apply } = world();
  const [reader, writer] = [new Client(), new Client()];
  t.equal(leases.grant(reader), LEASE_MS);
  ask(reader, 1, 'read', [7]);
  apply(2, inode(7));
  t.match(reader.pushes, [{ index: 2, reset: false, effects: [{ ino: 7 }] }]);
  ask(writer, 1, 'older');
  ask(writer, 2, 'written');
  ask(writer, 3, 'read');
  t.strictSame(writer.answers, ['older'], 'what does not show the change need not wait');
  leases.acknowledge(reader, (reader.pushes[0]?.id ?? 0) - 1);
  t.equal(writer.answers.length, 1);
  leases.acknowledge(reader, reader.pushes[0]?.id ?? 0);
  t.strictSame(writer.answers, ['older', 'written', 'read']);
});

t.test('names are told of each for itself, and only once', async (t) => {
  const { leases, ask, apply } = world();
  const [reader, writer] = [new Client(), new Client()];
  const entry = (name: string): Effect => ({ type: 'entry', parent: 1, name: Buffer.from(name) });
  leases.grant(reader);
  ask(reader, 1, 'a', [nameKey(1, Buffer.from('a'))]);
  ask(reader, 1, 'b', [nameKey(1, Buffer.from('b'))]);
  apply(2, entry('c'), inode(1));
  t.equal(reader.pushes.length, 0, 'nobody keeps that');
  apply(3, entry('a'));
  apply(4, entry('a'));
  apply(5, entry('b'));
  t.match(reader.pushes, [{ index: 3 }, { index: 5 }]);
  leases.acknowledge(reader, reader.pushes[0]?.id ?? 0);
  ask(writer, 4, 'four');
  ask(writer, 5, 'five');
  t.strictSame(writer.answers, ['four']);
});

t.test(
  'changes come before any answer that shows them, and their hearer need not wait',
  async (t) => {
    const { leases, ask } = world();
    const [one, other] = [new Client(), new Client()];
    leases.grant(one);
    leases.grant(other);
    ask(one, 1, 'read', [7]);
    ask(other, 1, 'read', [8]);
    leases.applied(2, [inode(7)]);
    ask(one, 2, 'written');
    t.match(one.heard.slice(1), [{ type: 'changes', index: 2 }, 'written']);
    leases.applied(3, [inode(8)]);
    ask(one, 3, 'again');
    t.equal(one.answers.length, 2, 'but it waits for others');
    leases.flush();
    leases.acknowledge(other, other.pushes[0]?.id ?? 0);
    t.equal(one.answers.length, 3);
  },
);

t.test('a lease that is over holds nobody up, also of a client that went away', async (t) => {
  const { leases, pass, apply, reader, writer } = heldUp();
  pass(LEASE_MS - 1);
  t.strictSame(writer.answers, []);
  pass(1);
  t.strictSame(writer.answers, ['written']);
  leases.grant(reader);
  apply(3, inode(7));
  t.equal(reader.pushes.length, 1, 'a new lease starts with nothing');
});

t.test(
  'who prolongs its lease and acknowledges nothing does not hold others up for ever',
  async (t) => {
    const { leases, pass, reader, writer } = heldUp();
    let refused = false;
    for (let ms = 0; ms <= 2 * LEASE_MS; ms += LEASE_MS / 4) {
      refused ||= leases.grant(reader) === null;
      pass(LEASE_MS / 4);
    }
    t.ok(refused);
    t.strictSame(writer.answers, ['written']);
  },
);

t.test('a late acknowledgement is none for a later lease', async (t) => {
  const { leases, pass, ask, apply } = world();
  const [reader, writer] = [new Client(), new Client()];
  leases.grant(reader);
  ask(reader, 1, 'read', [7]);
  apply(2, inode(7));
  pass(LEASE_MS);
  leases.grant(reader);
  ask(reader, 2, 'read', [7]);
  apply(3, inode(7));
  ask(writer, 3, 'written');
  leases.acknowledge(reader, reader.pushes[0]?.id ?? 0);
  t.strictSame(writer.answers, []);
  leases.acknowledge(reader, reader.pushes[1]?.id ?? 0);
  t.strictSame(writer.answers, ['written']);
});

t.test('a new leader waits until the leases of the one before are over', async (t) => {
  const { leases, pass, ask } = world({ begun: false });
  const client = new Client();
  ask(client, 1, 'early');
  t.strictSame(client.answers, ['refused early: office'], 'who does not lead answers nothing');
  leases.begin(5, { grantsOver: false });
  ask(client, 1, 'read');
  t.equal(leases.grant(client), null);
  pass(LEASE_MS - 1);
  t.equal(leases.grant(client), null);
  t.equal(client.answers.length, 1);
  pass(1);
  t.strictSame(client.answers, ['refused early: office', 'read']);
  t.equal(leases.grant(client), LEASE_MS);
});

t.test('with the office go the leases and the answers that wait', async (t) => {
  const { leases, pass, apply, reader, writer } = heldUp();
  leases.end();
  t.strictSame(writer.answers, ['refused written: office']);
  leases.begin(3, { grantsOver: false });
  pass(LEASE_MS);
  apply(3, inode(7));
  t.equal(reader.pushes.length, 1);
});

t.test('a client that keeps too much forgets everything', async (t) => {
  const { leases, ask, apply } = world();
  const [reader, writer] = [new Client(), new Client()];
  leases.grant(reader);
  leases.grant(writer);
  ask(writer, 1, 'read', [1]);
  apply(2, inode(1));
  // Waits for the writer's client, and is kept when it comes.
  ask(reader, 2, 'held', [2]);
  const many = Array.from({ length: 65_536 }, (_, i) => i + 10);
  ask(reader, 1, 'many', many);
  t.match(reader.heard, [{ type: 'changes', index: 2, reset: true, effects: [] }, 'many']);
  ask(writer, 2, 'waits');
  t.notOk(writer.answers.includes('waits'));
  leases.acknowledge(reader, reader.pushes[0]?.id ?? 0);
  t.ok(writer.answers.includes('waits'));
  leases.acknowledge(writer, writer.pushes[0]?.id ?? 0);
  t.ok(reader.answers.includes('held'));
  apply(3, inode(2));
  t.match(reader.pushes.at(-1), { index: 3, effects: [{ ino: 2 }] });
});

t.test('when all clients together keep too much, who keeps most forgets everything', async (t) => {
  const leases = new Leases({ monotonicMs: () => 1_000 }, LEASE_MS, 100);
  leases.begin(1, { grantsOver: true });
  const [some, most] = [new Client(), new Client()];
  const ask = (client: Client, from: number, count: number) =>
    leases.answer(client, {
      ...{ index: 1, bytes: 0, ownCommand: false },
      reveals: () => Array.from({ length: count }, (_, i) => from + i),
      send: () => client.heard.push('answer'),
      refuse: () => client.heard.push('refused'),
    });
  for (const client of [some, most]) leases.grant(client);
  ask(most, 1_000, 60);
  ask(some, 2_000, 30);
  t.same([...some.pushes, ...most.pushes], []);
  ask(some, 3_000, 20);
  t.same(some.pushes, []);
  t.match(most.pushes, [{ reset: true }]);
});

t.test('without leases everything leaves at once', async (t) => {
  const leases = new Leases({ monotonicMs: () => 0 }, 0);
  let sent = false;
  const send = () => {
    sent = true;
  };
  leases.answer(new Client(), {
    index: 1,
    bytes: 0,
    ownCommand: false,
    reveals: () => [],
    send,
    refuse: () => {},
  });
  t.ok(sent);
  t.equal(leases.on, false);
});

t.test('the reply to an own command says what it changed, and counts as a push', async (t) => {
  const { leases, ask } = world();
  const [writer, other] = [new Client(), new Client()];
  leases.grant(writer);
  ask(writer, 1, 'read', [7]);
  leases.applied(2, [inode(7)]);
  ask(writer, 2, 'written', [7], true);
  leases.flush();
  t.match(writer.heard.slice(1), ['written', { type: 'changes', index: 2, effects: [{ ino: 7 }] }]);
  ask(other, 2, 'seen');
  t.strictSame(other.answers, [], 'others wait until it has come');
  leases.acknowledge(writer, writer.pushes[0]?.id ?? 0);
  t.strictSame(other.answers, ['seen']);
  leases.applied(3, [inode(7)]);
  t.equal(writer.pushes.length, 1);
  leases.flush();
  t.match(writer.pushes[1], { index: 3 }, 'what the reply revealed is told of again');
});

t.test('an own command behind a change by another tells of both before', async (t) => {
  const { leases, ask } = world();
  const writer = new Client();
  leases.grant(writer);
  ask(writer, 1, 'read', [7, 8]);
  leases.applied(2, [inode(7)]);
  leases.applied(3, [inode(8)]);
  ask(writer, 3, 'written', [8], true);
  t.match(writer.heard.slice(1), [{ index: 3, effects: [{ ino: 7 }, { ino: 8 }] }, 'written']);
});

t.test('answers that wait take a bounded number of bytes', async (t) => {
  const { leases, ask, apply, pass } = world();
  const [keeper, reader] = [new Client(), new Client()];
  leases.grant(keeper);
  ask(keeper, 1, 'read', [7]);
  apply(2, inode(7));
  ask(reader, 2, 'large', [], false, WAITING_BYTES_MAX);
  ask(reader, 2, 'too much', [], false, 1);
  ask(reader, 2, 'written', [], true, 0);
  t.strictSame(reader.answers, ['refused too much: full'], 'the effects of a command are told');
  pass(LEASE_MS);
  t.strictSame(reader.answers.slice(1), ['large', 'written']);
  ask(reader, 2, 'again', [], false, 1);
  t.equal(reader.answers.at(-1), 'again');
  leases.grant(keeper);
  ask(keeper, 3, 'read', [7]);
  apply(4, inode(7));
  ask(reader, 4, 'held', [], false, WAITING_BYTES_MAX);
  leases.acknowledge(keeper, keeper.pushes.at(-1)?.id ?? 0);
  t.equal(reader.answers.at(-1), 'held', 'what has left does not count');
});
