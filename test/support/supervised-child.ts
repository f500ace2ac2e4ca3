import { appendFileSync } from 'node:fs';

/**
 * What Supervised starts in its tests: notes that it was started, tells its settings, is up, and ends with
 * its standard input. With a number for its second argument it ends at once, with that exit code.
 */
const [starts = '', exitCode = ''] = process.argv.slice(2);
appendFileSync(starts, `${process.pid}\n`);
if (/^\d+$/.test(exitCode)) {
  process.stderr.write('mootfs node: it cannot be\n');
  process.exitCode = Number(exitCode);
} else {
  const settings = Object.keys(process.env).filter((name) => name.startsWith('MOOTFS_'));
  process.stdout.write(`settings: ${settings.join()}\nI am up\n`);
  process.stdin.resume();
}
