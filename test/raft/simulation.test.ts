import t from 'tap';
import { World } from './support-world.js';

/**
 * MOOTFS_RAFT_SEED=n runs that seed alone; MOOTFS_RAFT_SEEDS=n runs n seeds; both: n from there on.
 */
const { MOOTFS_RAFT_SEED, MOOTFS_RAFT_SEEDS } = process.env;
const first = Number(MOOTFS_RAFT_SEED ?? 1);
const count = Number(MOOTFS_RAFT_SEEDS ?? (MOOTFS_RAFT_SEED === undefined ? 500 : 1));
const STEPS = 400;

// However busy the machine is, and however long a run by hand.
t.setTimeout(0);

t.test(`${count} random histories`, async (t) => {
  const total: Record<string, number> = {};
  for (let seed = first; seed < first + count; seed++) {
    try {
      const world = new World(seed, seed % 4 === 0, seed % 3 !== 0);
      world.run(STEPS);
      for (const [name, value] of Object.entries(world.counts)) {
        total[name] = (total[name] ?? 0) + value;
      }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      t.fail(`MOOTFS_RAFT_SEED=${seed}: ${message}`, { found: error });
      return;
    }
  }
  t.comment(JSON.stringify(total));
  for (const [name, value] of Object.entries(total)) {
    if (count >= 100) t.ok(value > 0, `${name}: ${value}`);
  }
  t.pass(`${count} seeds`);
});
