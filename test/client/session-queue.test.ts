import fc from 'fast-check';
import t from 'tap';
import { MootError } from '../../src/base/errors.js';
import {
  BYTES_IN_FLIGHT_MAX,
  COMMANDS_IN_FLIGHT_MAX,
  type QueuedCommand,
  SessionQueue,
  type Submission,
} from '../../src/client/session-queue.js';
import type { Command } from '../../src/filesystem/commands.js';

const NOTHING: Command = { type: 'nothing' };
const VALUE_NULL = { ok: true, value: null } as const;

function numbered(n: number): Command {
  return { type: 'keep-alive', seenIndex: n, holds: [] };
}

function sendAll(queue: SessionQueue): Submission[] {
  const copies: Submission[] = [];
  for (let copy = queue.next(); copy !== null; copy = queue.next()) copies.push(copy);
  return copies;
}

t.test('commands get their numbers in the order of the calls', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 3; n++) queue.push(numbered(n), 1, () => {});
  t.strictSame(
    sendAll(queue).map(({ sequence, acknowledged, command }) => [sequence, acknowledged, command]),
    [
      [1, 0, numbered(1)],
      [2, 0, numbered(2)],
      [3, 0, numbered(3)],
    ],
  );
});

t.test('replies move the acknowledged mark only over what is complete', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 3; n++) queue.push(numbered(n), 1, () => {});
  sendAll(queue);
  queue.onReply(2, VALUE_NULL);
  queue.push(NOTHING, 1, () => {});
  t.equal(queue.next()?.acknowledged, 0);
  queue.onReply(1, VALUE_NULL);
  queue.push(NOTHING, 1, () => {});
  t.equal(queue.next()?.acknowledged, 2);
  queue.restart();
  t.strictSame(
    sendAll(queue).map((copy) => copy.sequence),
    [3, 4, 5],
  );
});

t.test('a late reply does not make the new round skip what is behind it', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 3; n++) queue.push(numbered(n), 1, () => {});
  sendAll(queue);
  queue.restart();
  queue.onReply(1, VALUE_NULL);
  t.strictSame(
    sendAll(queue).map((copy) => copy.sequence),
    [2, 3],
  );
});

t.test('rounds that bring no reply get shorter, and longer again with replies', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 100; n++) queue.push(numbered(n), 1, () => {});
  const lengths: number[] = [];
  for (let round = 0; round < 10; round++) {
    lengths.push(sendAll(queue).length);
    queue.restart();
  }
  t.equal(lengths[0], 100);
  t.equal(lengths.at(-1), 1);
  sendAll(queue);
  queue.onReply(1, VALUE_NULL);
  t.equal(sendAll(queue).length, 2);
  queue.onReply(2, VALUE_NULL);
  t.equal(sendAll(queue).length, 3);
});

t.test('the window is bounded in commands and in bytes', async (t) => {
  const small = new SessionQueue();
  for (let n = 0; n < COMMANDS_IN_FLIGHT_MAX + 10; n++) small.push(NOTHING, 1, () => {});
  t.equal(sendAll(small).length, COMMANDS_IN_FLIGHT_MAX);
  small.onReply(1, VALUE_NULL);
  t.equal(sendAll(small).length, 1);
  const large = new SessionQueue();
  for (let n = 0; n < 5; n++) large.push(NOTHING, BYTES_IN_FLIGHT_MAX / 2, () => {});
  t.equal(sendAll(large).length, 2);
  const huge = new SessionQueue();
  huge.push(NOTHING, BYTES_IN_FLIGHT_MAX * 2, () => {});
  t.equal(sendAll(huge).length, 1, 'one command goes always');
});

t.test('one gap starts one round, whatever else complains about the old one', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 3; n++) queue.push(numbered(n), 1, () => {});
  const [first, second, third] = sendAll(queue);
  if (first === undefined || second === undefined || third === undefined) throw new Error('none');
  t.equal(queue.onRefused(1, first.round), true);
  t.equal(sendAll(queue).length, 3);
  t.equal(queue.onGap(2, second.round, 0), true);
  t.equal(queue.onGap(3, third.round, 0), true);
  t.equal(queue.next(), null, 'nothing is sent a third time');
});

t.test('a gap below what was answered ends the session', async (t) => {
  const queue = new SessionQueue();
  queue.push(NOTHING, 1, () => {});
  queue.push(NOTHING, 1, () => {});
  const [, second] = sendAll(queue);
  queue.onReply(1, VALUE_NULL);
  t.equal(queue.onGap(2, second?.round ?? 0, 0), false);
});

t.test('a gap that comes behind later replies says nothing of the session', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 2; n++) queue.push(numbered(n), 1, () => {});
  const [first, second] = sendAll(queue);
  queue.onRefused(1, first?.round ?? 0);
  t.equal(sendAll(queue).length, 2);
  queue.onReply(1, VALUE_NULL);
  queue.onReply(2, VALUE_NULL);
  t.equal(queue.onGap(2, second?.round ?? 0, 0), true);
  t.equal(queue.next(), null);
});

t.test('a rejected attribute of which another copy may count', async (t) => {
  const [name, value] = [Buffer.from('user.a'), Buffer.from('b')];
  const command: Command = {
    ...{ type: 'set-xattr', ino: 1, name, value, mode: 'set', killSetGid: false },
  };
  for (const [first, expected] of [
    [NOTHING, 'ENOSPC'],
    [command, 'reply'],
    [null, 'OUTCOME_UNKNOWN'],
  ] as const) {
    const queue = new SessionQueue();
    const settled: string[] = [];
    queue.push(command, 1, (settlement) => {
      settled.push(settlement.type === 'error' ? settlement.error.code : 'reply');
    });
    sendAll(queue);
    queue.restart();
    const [again] = sendAll(queue);
    queue.onRejected(1, again?.round ?? 0, new MootError('ENOSPC', 'no room'));
    t.strictSame(
      sendAll(queue).map((copy) => copy.command),
      [NOTHING],
    );
    queue.onReply(1, VALUE_NULL, first);
    t.same(settled, [expected]);
  }
});

t.test('giving up: before sending leaves no trace, later copies are nothing', async (t) => {
  const queue = new SessionQueue();
  const sent = queue.push(numbered(1), 1, () => {});
  queue.next();
  const unsent = queue.push(numbered(2), 1, () => {});
  queue.push(numbered(3), 1, () => {});
  t.equal(queue.abandon(unsent), true);
  t.equal(queue.abandon(sent), false);
  queue.restart();
  t.strictSame(
    sendAll(queue).map((copy) => copy.command),
    [NOTHING, numbered(3)],
  );
});

t.test('a rejected command fails its call and is replaced by nothing', async (t) => {
  const queue = new SessionQueue();
  let code = '';
  queue.push(numbered(1), 1, (settlement) => {
    if (settlement.type === 'error') code = settlement.error.code;
  });
  queue.push(numbered(2), 1, () => {});
  const [first] = sendAll(queue);
  queue.onRejected(1, first?.round ?? 0, new MootError('EFBIG', 'too large'));
  t.equal(code, 'EFBIG');
  t.strictSame(
    sendAll(queue).map((copy) => copy.command),
    [NOTHING, numbered(2)],
  );
});

t.test('what was refused of the last command leaves nothing in the log', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 100; n++) {
    let code = '';
    queue.push(numbered(n), BYTES_IN_FLIGHT_MAX, (settlement) => {
      if (settlement.type === 'error') code = settlement.error.code;
    });
    const copies = sendAll(queue);
    t.match(copies, [{ sequence: 1, command: numbered(n) }]);
    queue.onRejected(1, copies[0]?.round ?? 0, new MootError('EDQUOT', 'full'));
    t.equal(code, 'EDQUOT');
    t.equal(queue.empty, true);
  }
});

t.test(
  'a rejected command of which another copy may count: nothing in its place tells',
  async (t) => {
    for (const counted of [true, false]) {
      const queue = new SessionQueue();
      const settled: string[] = [];
      queue.push(numbered(1), 1, (settlement) => {
        settled.push(settlement.type === 'error' ? settlement.error.code : 'reply');
      });
      sendAll(queue);
      queue.restart();
      const [again] = sendAll(queue);
      queue.onRejected(1, again?.round ?? 0, new MootError('ENOSPC', 'no room'));
      t.same(settled, []);
      t.strictSame(
        sendAll(queue).map((copy) => copy.command),
        [NOTHING],
      );
      queue.onReply(1, { ok: true, value: counted ? { session: 1 } : null });
      t.same(settled, [counted ? 'reply' : 'ENOSPC']);
    }
  },
);

t.test('commands for one session only do not move to another', async (t) => {
  const queue = new SessionQueue();
  let code = '';
  const settle: Parameters<typeof queue.push>[2] = (settlement) => {
    if (settlement.type === 'error') code = settlement.error.code;
  };
  queue.push(numbered(1), 1, settle, { isBound: true });
  queue.push(numbered(2), 1, () => {});
  sendAll(queue);
  const successor = queue.moveToNewSession(1);
  if (successor === null) throw new Error('no successor');
  t.equal(code, 'SESSION_EXPIRED');
  t.strictSame(
    sendAll(successor).map((copy) => copy.command),
    [numbered(2)],
  );
});

t.test('a new session takes over what certainly had no effect', async (t) => {
  const queue = new SessionQueue();
  for (let n = 1; n <= 3; n++) queue.push(numbered(n), 1, () => {});
  sendAll(queue);
  const successor = queue.moveToNewSession(1);
  if (successor === null) throw new Error('no successor');
  t.strictSame(
    sendAll(successor).map(({ sequence, command }) => [sequence, command]),
    [1, 2, 3].map((n) => [n, numbered(n)]),
  );
});

t.test('no new session takes over what was sent twice with one answer', async (t) => {
  const queue = new SessionQueue();
  queue.push(numbered(1), 1, () => {});
  sendAll(queue);
  queue.restart();
  sendAll(queue);
  t.equal(queue.moveToNewSession(1), null);
});

/** The state machine's side of a session, see apply in filesystem/state-machine.ts. */
class SessionModel {
  lastSequence = 0;
  readonly effects: Command[] = [];
  private readonly replies = new Map<number, Command>();

  apply({ sequence, command }: Submission): 'gap' | 'reply' {
    if (sequence > this.lastSequence + 1) return 'gap';
    if (sequence === this.lastSequence + 1) {
      this.lastSequence = sequence;
      this.effects.push(command);
      this.replies.set(sequence, command);
    }
    return 'reply';
  }
}

const step = fc.record({
  action: fc.constantFrom(
    'push',
    'push',
    'send',
    'send',
    'send',
    'deliver',
    'deliver',
    'deliver',
    'lose',
    'refuse',
    'answer',
    'answer',
    'forget-answer',
    'restart',
    'abandon',
  ),
  choice: fc.nat(1000),
});

t.test('every command takes effect once and in order, whatever is lost or repeated', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const queue = new SessionQueue();
      const model = new SessionModel();
      const pushed: { readonly n: number; readonly queued: QueuedCommand; settled: number }[] = [];
      const never = new Set<number>();
      const given = new Set<number>();
      const network: Submission[] = [];
      const answers: { readonly copy: Submission; readonly outcome: 'gap' | 'reply' }[] = [];
      const deliver = (copy: Submission) => {
        answers.push({ copy, outcome: model.apply(copy) });
      };
      const answer = ({ copy, outcome }: (typeof answers)[number]) => {
        if (outcome === 'reply') queue.onReply(copy.sequence, VALUE_NULL);
        else queue.onGap(copy.sequence, copy.round, Math.max(model.lastSequence, 0));
      };
      for (const { action, choice } of steps) {
        const at = network.length > 0 ? choice % network.length : -1;
        switch (action) {
          case 'push': {
            const n = pushed.length + 1;
            const entry = {
              n,
              queued: queue.push(numbered(n), 1, () => {
                entry.settled++;
              }),
              settled: 0,
            };
            pushed.push(entry);
            break;
          }
          case 'send': {
            const copy = queue.next();
            if (copy !== null) network.push(copy);
            break;
          }
          case 'deliver': {
            const [copy] = at >= 0 ? network.splice(at, 1) : [];
            if (copy !== undefined) deliver(copy);
            break;
          }
          case 'lose':
            if (at >= 0) network.splice(at, 1);
            break;
          case 'refuse': {
            const [copy] = at >= 0 ? network.splice(at, 1) : [];
            if (copy !== undefined) queue.onRefused(copy.sequence, copy.round);
            break;
          }
          case 'answer': {
            const [one] = answers.splice(choice % Math.max(1, answers.length), 1);
            if (one !== undefined) answer(one);
            break;
          }
          case 'forget-answer':
            answers.splice(choice % Math.max(1, answers.length), 1);
            break;
          case 'restart':
            queue.restart();
            break;
          case 'abandon': {
            const entry = pushed[choice % Math.max(1, pushed.length)];
            if (entry === undefined || entry.settled > 0 || given.has(entry.n)) break;
            given.add(entry.n);
            const inNetwork = network.some((copy) => isNumbered(copy.command, entry.n));
            if (queue.abandon(entry.queued) && !inNetwork) never.add(entry.n);
            break;
          }
        }
      }
      // The world heals: one new leader, what is still on its way arrives, and from then on nothing
      // is lost. All must come to its end without further help.
      queue.restart();
      for (const copy of network) deliver(copy);
      for (const one of answers.splice(0)) answer(one);
      for (let i = 0; i < 400 && !queue.empty; i++) {
        for (const copy of sendAll(queue)) deliver(copy);
        for (const one of answers.splice(0)) answer(one);
      }
      const effects = model.effects.flatMap((command) =>
        command.type === 'keep-alive' ? [command.seenIndex] : [],
      );
      const inOrder = effects.every((n, i) => i === 0 || n > (effects[i - 1] ?? 0));
      const complete = pushed.every(({ n, settled }) =>
        given.has(n) ? settled === 0 : settled === 1 && effects.includes(n),
      );
      return queue.empty && inOrder && complete && effects.every((n) => !never.has(n));
    }),
    { numRuns: 2_000 },
  );
  t.pass('held for all runs');
});

function isNumbered(command: Command, n: number): boolean {
  return command.type === 'keep-alive' && command.seenIndex === n;
}
