import t from 'tap';
import { systemClock } from '../../src/base/system-clock.js';
import { decodeLogCommand, encodeLogCommand } from '../../src/codec/commands.js';
import type { Command } from '../../src/filesystem/commands.js';
import { COMMAND_NAME_BYTES_MAX } from '../../src/filesystem/records.js';
import { type Decision, Proposals } from '../../src/node/proposals.js';

t.test('what no node could read is refused, and what is beside it proposed', async (t) => {
  const proposed: Uint8Array[] = [];
  const codec = { encode: encodeLogCommand, decode: decodeLogCommand };
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
