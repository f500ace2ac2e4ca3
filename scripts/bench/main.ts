import { BenchCluster } from './cluster.js';
import { benchCommits } from './commits.js';
import { benchFailover } from './failover.js';
import { benchMemory } from './memory.js';
import { benchMount } from './mounts.js';
import { benchPage } from './page.js';
import { benchReading } from './reading.js';
import { benchWatchers } from './watchers.js';

/**
 * `make bench`, or `node dist/scripts/bench/main.js SECTION...`: every figure stands beside one
 * of the same run, because machines differ and are noisy. Each section has a cluster of its own.
 */
interface Section {
  readonly nodes: number;
  /** The nodes have control ports. */
  readonly control?: boolean;
  run(cluster: BenchCluster): Promise<string>;
}

const SECTIONS: Readonly<Record<string, Section>> = {
  commits: { nodes: 3, run: benchCommits },
  mount: { nodes: 3, run: (cluster) => benchMount(cluster, process.env.MOOTFS_BENCH_ROWS ?? '') },
  failover: {
    nodes: 3,
    run: (cluster) => benchFailover(cluster, Number(process.env.MOOTFS_BENCH_ROUNDS ?? 20)),
  },
  reading: { nodes: 3, run: benchReading },
  memory: { nodes: 3, run: benchMemory },
  watchers: { nodes: 3, control: true, run: benchWatchers },
  page: { nodes: 7, control: true, run: benchPage },
};

const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys(SECTIONS)) {
  const section = SECTIONS[name];
  if (section === undefined)
    throw new Error(`no section '${name}'; there are ${Object.keys(SECTIONS)}`);
  const cluster = await BenchCluster.start(section.nodes, { control: section.control === true });
  try {
    process.stdout.write(`${await section.run(cluster)}\n`);
  } finally {
    await cluster.stop();
  }
}
