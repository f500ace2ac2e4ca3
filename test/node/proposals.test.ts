import t from 'tap';
import { systemClock } from '../../src/base/system-clock.js';
import { decodeLogCommand, encodeLogCommand } from '../../src/codec/commands.js';
import type { Command, LogCommand } from '../../src/filesystem/commands.js';
import { spaceOf } from '../../src/filesystem/quota.js';
import { COMMAND_NAME_BYTES_MAX } from '../../src/filesystem/records.js';
import { type Decision, Proposals } from '../../src/node/proposals.js';
import type { ProposeResult } from '../../src/raft/types.js';

const APPLIED = {
  outcome: { type: 'gap', lastSequence: 0 },
  changes: [],
  effects: [],
} as const;

/** Proposals of a node whose log ends at `lastIndex` and that leads in `term`. */
function world() {
  const log = { lastIndex: 9, term: 1 };
  const told = new Map<string, Decision[]>();
  const proposals = new Proposals(
    systemClock,
    { encode: encodeLogCommand, decode: decodeLogCommand, spaceOf },
    (data): ProposeResult => {
      const first = log.lastIndex + 1;
      log.lastIndex += data.length;
      return { ok: true, first, term: log.term };
    },
  );
  const propose = (...names: string[]) => {
    for (const name of names) {
      const command = proposals.stamp(1, 1, 0, { type: 'close-session' });
      proposals.add(command, (decision) => told.set(name, [...(told.get(name) ?? []), decision]));
    }
    proposals.flush();
  };
  return { log, told, proposals, propose };
}

t.test(
  'whoever waits for a place in the log that was taken hears that it is unknown',
  async (t) => {
    const { log, told, proposals, propose } = world();
    propose('a', 'b', 'c');
    // Another leader replaced the first one in term 2; this node leads again in term 3.
    Object.assign(log, { lastIndex: 10, term: 3 });
    propose('d');
    t.match(told.get('b'), [{ type: 'refused', code: 'OUTCOME_UNKNOWN' }]);
    t.equal(told.has('d'), false);
    proposals.applied({ index: 10, term: 2 }, APPLIED);
    proposals.applied({ index: 11, term: 3 }, APPLIED);
    proposals.applied({ index: 12, term: 3 }, APPLIED);
    t.match(told.get('a'), [{ type: 'refused', code: 'NOT_LEADER' }]);
    t.match(told.get('c'), [{ type: 'refused', code: 'NOT_LEADER' }]);
    t.match(told.get('d'), [{ type: 'applied', index: 11 }]);
    t.equal(proposals.size, 0);
  },
);

t.test('while leadership is handed over only so much waits', (t) => {
  const decisions: Decision[] = [];
  let transferring = true;
  let index = 0;
  const command: LogCommand = {
    ...{ session: 1, sequence: 1, acknowledged: 0, time: { sec: 0, nsec: 0 } },
    command: { type: 'close-session' },
  };
  const proposals = new Proposals(
    systemClock,
    { encode: () => new Uint8Array(1_048_576), decode: () => command, spaceOf },
    (): ProposeResult =>
      transferring ? { ok: false, reason: 'transferring' } : { ok: true, first: ++index, term: 2 },
  );
  const add = () => {
    proposals.add(command, (decision) => decisions.push(decision));
    proposals.flush();
  };
  for (let i = 0; i < 33; i++) add();
  t.match(decisions, [{ type: 'refused', code: 'BUSY' }]);
  t.equal(proposals.size, 32);
  transferring = false;
  proposals.flush();
  t.equal(decisions.length, 1);
  transferring = true;
  add();
  t.equal(proposals.size, 33, 'there is room again');
  proposals.stop();
  t.equal(decisions.length, 34, 'in the end everybody hears');
  t.end();
});

t.test('what is replaced in the log is given up at once, what stays in it is not', async (t) => {
  const { told, proposals, propose } = world();
  propose('a', 'b', 'c');
  proposals.giveUp('replaced', 11);
  t.strictSame([...told.keys()], ['b', 'c']);
  proposals.applied({ index: 10, term: 1 }, APPLIED);
  t.match(told.get('a'), [{ type: 'applied' }]);
});

t.test('what no node could read is refused, and what is beside it proposed', async (t) => {
  const proposed: Uint8Array[] = [];
  const codec = { encode: encodeLogCommand, decode: decodeLogCommand, spaceOf };
  const proposals = new Proposals(systemClock, codec, (data) => {
    proposed.push(...data);
    return { ok: true, first: 1, term: 1 };
  });
  const decisions: Decision[] = [];
  const add = (command: Command) =>
    proposals.add(proposals.stamp(1, 1, 0, command), (decision) => decisions.push(decision));
  add({ type: 'unlink', parent: 1, name: new Uint8Array(COMMAND_NAME_BYTES_MAX + 1) });
  t.match(decisions, [{ type: 'refused', code: 'BAD_ARGUMENT', message: /name/ }]);
  add({ type: 'unlink', parent: 1, name: new Uint8Array(COMMAND_NAME_BYTES_MAX) });
  proposals.flush();
  t.equal(proposed.length, 1);
  t.equal(proposals.size, 1);
});
