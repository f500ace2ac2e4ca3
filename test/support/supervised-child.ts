import { appendFileSync } from 'node:fs';

/** What Supervised starts in its tests: notes that it was started, tells its settings, is up, and ends with its standard input. */
appendFileSync(process.argv[2] ?? '', `${process.pid}\n`);
const settings = Object.keys(process.env).filter((name) => name.startsWith('MOOTFS_'));
process.stdout.write(`settings: ${settings.join()}\nI am up\n`);
process.stdin.resume();
