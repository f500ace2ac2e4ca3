import t, { type Test } from 'tap';
import type { LogLevel } from '../../src/control/log-level.js';
import { createLogger } from '../../src/control/logger.js';

/** What a logger of this level writes when it is told something of each. */
function written(t: Test, level: LogLevel): readonly { level: string; msg: string }[] {
  const write = t.capture(process.stderr, 'write', () => true);
  const { report } = createLogger({ node: 'n1', level, format: 'json' });
  report('error', 'it stopped');
  report('warn', 'it was refused');
  report('info', 'it leads');
  const lines = write().map(({ args }) => String(args[0]));
  write.restore();
  return lines.map((line) => JSON.parse(line));
}

t.test('what is reported has its level', async (t) => {
  t.match(written(t, 'info'), [
    { node: 'n1', level: 'error', msg: 'it stopped' },
    { node: 'n1', level: 'warn', msg: 'it was refused' },
    { node: 'n1', level: 'info', msg: 'it leads' },
  ]);
  t.strictSame(
    written(t, 'warn').map(({ msg }) => msg),
    ['it stopped', 'it was refused'],
  );
  t.strictSame(
    written(t, 'error').map(({ msg }) => msg),
    ['it stopped'],
  );
});

t.test('what a stranger says is on one line, and rules no terminal', async (t) => {
  const write = t.capture(process.stderr, 'write', () => true);
  createLogger({ node: 'n1', level: 'info', format: 'text' }).report('warn', 'x\ny\u001b[2J');
  const lines = write().map(({ args }) => String(args[0]));
  write.restore();
  t.match(lines, [/ warn n1 x\\x0ay\\x1b\[2J\n$/]);
});
