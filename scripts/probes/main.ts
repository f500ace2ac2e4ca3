import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchCluster } from '../bench/cluster.js';

/**
 * `make probes`: looks through one mount at what was changed through another, on different nodes, so
 * often as PROBES says (100,000), and counts stale answers: half of it in peace, the rest while nodes are
 * stopped and go on, are cut off from the others but not from their mounts, or die and come back.
 * PROBES_SEED chooses the changes. As root.
 */
const PROBES = Number(process.env.PROBES ?? 100_000);
const SEED = Number(process.env.PROBES_SEED ?? Math.floor(Math.random() * 2 ** 31));
const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));
/** Longer than a lease and an election, shorter than what the programs' calls wait. */
const TROUBLE_MS = 1_500;
const BETWEEN_MS = 2_500;

/** What befalls a node for a while. */
interface Trouble {
  readonly name: string;
  readonly begin: (node: number) => void | Promise<void>;
  readonly end: (node: number) => void | Promise<void>;
}

const TROUBLES: readonly Trouble[] = [
  {
    name: 'while nodes are stopped and go on',
    begin: (node) => signal(node, 'SIGSTOP'),
    end: (node) => signal(node, 'SIGCONT'),
  },
  {
    name: 'while nodes are cut off',
    begin: (node) => cluster.cutOff(node, true),
    end: (node) => cluster.cutOff(node, false),
  },
  {
    name: 'while nodes are killed',
    begin: (node) => cluster.killNode(node),
    end: (node) => cluster.startNode(node),
  },
];

const cluster = await BenchCluster.start(3, { control: true });
let isStale = false;
try {
  const mounts = [await cluster.mount(0), await cluster.mount(1)];
  isStale = !(await pass('in peace', mounts, PROBES / 2));
  for (const trouble of TROUBLES) {
    const over = new AbortController();
    const troubled = makeTrouble(trouble, over.signal);
    const count = PROBES / 2 / TROUBLES.length;
    isStale = !(await pass(trouble.name, mounts, count)) || isStale;
    over.abort();
    await troubled;
  }
} finally {
  await cluster.stop();
}
process.exit(isStale ? 1 : 0);

async function pass(name: string, mounts: readonly string[], count: number): Promise<boolean> {
  const directory = name.replaceAll(' ', '-');
  // Made by another process: this one may not touch a mount and wait.
  execFileSync('mkdir', [join(mounts[0] ?? '', directory)]);
  const places = mounts.map((mount) => join(mount, directory));
  const child = spawn(process.execPath, [WORKER, `${SEED}`, `${count}`, ...places], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  process.stdout.write(`${name}: ${said.trim()}${code === 0 ? '' : `; PROBES_SEED=${SEED}`}\n`);
  return code === 0;
}

/** The leader, and another node, in turn: never a majority. */
async function makeTrouble({ begin, end }: Trouble, over: AbortSignal): Promise<void> {
  for (let turn = 0; !over.aborted; turn++) {
    const leader = await cluster.leader();
    const node = turn % 2 === 0 ? leader : (leader + 1) % cluster.nodes.length;
    await begin(node);
    await pause(TROUBLE_MS);
    await end(node);
    await pause(BETWEEN_MS);
  }
}

function signal(node: number, signal: NodeJS.Signals): void {
  cluster.nodes[node]?.kill(signal);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
