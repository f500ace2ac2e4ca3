import { execFileSync } from 'node:child_process';
import t from 'tap';
import { shellWord } from '../../src/cli/shell-word.js';

t.test('a shell gets back what was quoted, and nothing is quoted without need', async (t) => {
  t.equal(shellWord('/var/lib/mootfs-1_a.b'), '/var/lib/mootfs-1_a.b');
  for (const text of [
    '',
    'a b',
    "it's",
    '$HOME',
    '`x`',
    '*',
    'a\\',
    '~',
    'a;b',
    'line\nbreak',
    'ä',
  ]) {
    const back = execFileSync('sh', ['-c', `printf %s. ${shellWord(text)}`]).toString();
    t.equal(back, `${text}.`);
  }
});
