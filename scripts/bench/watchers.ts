import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { renderTable } from '../../src/cli/table.js';
import { type BenchCluster, median } from './cluster.js';
import { Load } from './commits.js';

const WATCH = fileURLToPath(new URL('watch.js', import.meta.url));
/** Of each node, that is. Eight are more people than look at one cluster. */
const WATCHERS = [0, 1, 8] as const;
const ROUNDS = Number(process.env.MOOTFS_BENCH_ROUNDS ?? 20);
/** Of each kind in every round. Short and many: what else the machine does falls on all alike. */
const ROUND_SECONDS = 1;
/** Where a node is not at its limit, its processor time is what watching costs, whatever it puts into one batch. */
const PACE_PER_SECOND = 640;
const WARM_UP_SECONDS = 5;
const CLIENTS = 64;

/**
 * What it costs the nodes that they are watched, in turns with and without: commits a second at the
 * limit, which are noisy, and the processor time of a node at a steady pace, as a share of the one
 * thread that limits its throughput.
 */
export async function benchWatchers(cluster: BenchCluster): Promise<string> {
  const watch = spawn(process.execPath, [WATCH], { stdio: ['pipe', 'pipe', 'inherit'] });
  const load = await Load.start(cluster, CLIENTS);
  const sums = WATCHERS.map((watchers): Sum => ({ watchers, rates: [], cpuMs: 0, pacedMs: 0 }));
  try {
    await load.rate(WARM_UP_SECONDS);
    for (let round = 0; round < ROUNDS; round++) {
      for (const sum of round % 2 === 0 ? sums : [...sums].reverse()) {
        const addresses = Array.from({ length: sum.watchers }, () => cluster.controls).flat();
        watch.stdin.write(`${addresses.join(' ')}\n`);
        await once(watch.stdout, 'data');
        sum.rates.push(await load.rate(ROUND_SECONDS));
        const cpuBeforeMs = cluster.cpuMs();
        const startMs = performance.now();
        await load.pace(PACE_PER_SECOND, ROUND_SECONDS);
        sum.cpuMs += cluster.cpuMs() - cpuBeforeMs;
        sum.pacedMs += performance.now() - startMs;
      }
    }
  } finally {
    await load.end();
    watch.stdin.end();
    await once(watch, 'exit');
  }
  const share = ({ cpuMs, pacedMs }: Sum) => cpuMs / pacedMs / cluster.nodes.length;
  const [none] = sums;
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  const rows = sums.map((sum) => [
    String(sum.watchers),
    median(sum.rates).toFixed(0),
    (median(sum.rates) / median((none ?? sum).rates)).toFixed(3),
    percent(share(sum)),
    percent(share(sum) - share(none ?? sum)),
  ]);
  const header = [
    'WATCHERS OF EACH NODE',
    'COMMITS/S',
    'RATIO',
    `CPU OF A NODE AT ${PACE_PER_SECOND}/S`,
    'MORE',
  ];
  return `${renderTable(header, rows)}\n`;
}

interface Sum {
  readonly watchers: number;
  readonly rates: number[];
  cpuMs: number;
  pacedMs: number;
}
