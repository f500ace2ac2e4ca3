import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchCluster } from '../bench/cluster.js';

/**
 * `make probes`: looks through one mount at what was changed through another, on different nodes, so
 * often as PROBES says (100,000), and counts stale answers: half of it in peace, half while nodes are
 * stopped and go on. PROBES_SEED chooses the changes. As root.
 */
const PROBES = Number(process.env.PROBES ?? 100_000);
const SEED = Number(process.env.PROBES_SEED ?? Math.floor(Math.random() * 2 ** 31));
const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));
/** Longer than a lease and an election, shorter than what the programs' calls wait. */
const STOPPED_MS = 1_500;
const BETWEEN_MS = 2_500;

const cluster = await BenchCluster.start(3);
let isStale = false;
try {
  const mounts = [await cluster.mount(0), await cluster.mount(1)];
  isStale = !(await pass('in peace', mounts));
  const trouble = new AbortController();
  const stopping = stopNodes(trouble.signal);
  isStale = !(await pass('while nodes are stopped and go on', mounts)) || isStale;
  trouble.abort();
  await stopping;
} finally {
  await cluster.stop();
}
process.exit(isStale ? 1 : 0);

async function pass(name: string, mounts: readonly string[]): Promise<boolean> {
  const directory = name.replaceAll(' ', '-');
  // Made by another process: this one may not touch a mount and wait.
  execFileSync('mkdir', [join(mounts[0] ?? '', directory)]);
  const places = mounts.map((mount) => join(mount, directory));
  const child = spawn(process.execPath, [WORKER, `${SEED}`, `${PROBES / 2}`, ...places], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  process.stdout.write(`${name}: ${said.trim()}${code === 0 ? '' : `; PROBES_SEED=${SEED}`}\n`);
  return code === 0;
}

/** The leader, and another node, in turn: never a majority. */
async function stopNodes(signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn++) {
    const leader = await cluster.leader();
    const node = cluster.nodes[turn % 2 === 0 ? leader : (leader + 1) % 3];
    node?.kill('SIGSTOP');
    await pause(STOPPED_MS);
    node?.kill('SIGCONT');
    await pause(BETWEEN_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
