import { BenchCluster } from './cluster.js';
import { benchCommits } from './commits.js';
import { benchFailover } from './failover.js';
import { benchMemory } from './memory.js';
import { benchMount } from './mounts.js';

/**
 * `make bench`, or `node dist/scripts/bench/main.js SECTION...`: every figure stands beside one
 * of the same run, because machines differ and are noisy. Each section has a cluster of its own.
 */
const SECTIONS: Record<string, (cluster: BenchCluster) => Promise<string>> = {
  commits: benchCommits,
  mount: (cluster) => benchMount(cluster, process.env.MOOTFS_BENCH_ROWS ?? ''),
  failover: (cluster) => benchFailover(cluster, Number(process.env.MOOTFS_BENCH_ROUNDS ?? 20)),
  memory: benchMemory,
};

const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys(SECTIONS)) {
  const section = SECTIONS[name];
  if (section === undefined)
    throw new Error(`no section '${name}'; there are ${Object.keys(SECTIONS)}`);
  const cluster = await BenchCluster.start(3);
  try {
    process.stdout.write(`${await section(cluster)}\n`);
  } finally {
    await cluster.stop();
  }
}
