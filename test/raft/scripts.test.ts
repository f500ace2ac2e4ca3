import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { transcript } from './support-script.js';

/**
 * Plays every script in test/raft/scripts and compares what was said with what is written there.
 * MOOTFS_REWRITE_SCRIPTS=1 writes down what was said instead: read the difference before you keep it.
 */
const folder = new URL('../../../test/raft/scripts/', import.meta.url);

for (const name of readdirSync(folder).sort()) {
  t.test(name, async (t) => {
    const file = new URL(name, folder);
    const written = readFileSync(file, 'utf8');
    const said = transcript(written);
    if (process.env.MOOTFS_REWRITE_SCRIPTS === '1') writeFileSync(file, said);
    else t.equal(said, written, name);
  });
}
