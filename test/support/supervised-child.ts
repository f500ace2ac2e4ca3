import { appendFileSync } from 'node:fs';

/** What Supervised starts in its tests: notes that it was started, is up, and ends with its standard input. */
appendFileSync(process.argv[2] ?? '', `${process.pid}\n`);
process.stdout.write('I am up\n');
process.stdin.resume();
