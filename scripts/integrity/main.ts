import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchCluster } from '../bench/cluster.js';

/**
 * `make integrity`: programs that work at random on two mounts of three nodes and hold all that they
 * are told against a model (integrity.c), half of the time in peace and half of it while the leader is
 * killed every few seconds. MOOTFS_INTEGRITY_SECONDS in all, or until MOOTFS_INTEGRITY_OPERATIONS were
 * made in each half; MOOTFS_INTEGRITY_PROCESSES at once; MOOTFS_INTEGRITY_SEED chooses what they do.
 */
const SECONDS = Number(process.env.MOOTFS_INTEGRITY_SECONDS ?? 600);
const OPERATIONS = process.env.MOOTFS_INTEGRITY_OPERATIONS ?? '0';
const PROCESSES = process.env.MOOTFS_INTEGRITY_PROCESSES ?? '4';
const SEED = process.env.MOOTFS_INTEGRITY_SEED ?? String(Math.floor(Math.random() * 2 ** 31));
/** From dist/scripts/integrity, as this runs. */
const SOURCE = fileURLToPath(new URL('../../../scripts/integrity/integrity.c', import.meta.url));
const KILL_EVERY_MS = 10_000;
/** A dead node comes back while the others go on. */
const AWAY_MS = 2_000;
/** A program that has not ended so long after its time hangs. */
const END_MS = 180_000;

const cluster = await BenchCluster.start(3);
let program: ChildProcess | null = null;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    program?.kill('SIGKILL');
    void cluster.stop().finally(() => process.exit(130));
  });
}
let failed = false;
try {
  const built = join(cluster.root, 'integrity');
  execFileSync('cc', ['-O1', '-o', built, SOURCE], { stdio: 'inherit' });
  const mounts = [await cluster.mount(0), await cluster.mount(1)];
  failed = !(await pass('in peace', built, mounts, null));
  const killing = new AbortController();
  failed ||= !(await pass('the leader is killed again and again', built, mounts, killing));
  await cluster.waitForAgreement();
} finally {
  await cluster.stop();
}
process.exit(failed ? 1 : 0);

/** One half; `killing` ends what kills leaders, null: nothing does. False: something differed. */
async function pass(
  name: string,
  built: string,
  mounts: readonly string[],
  killing: AbortController | null,
): Promise<boolean> {
  const directory = killing === null ? 'peace' : 'killing';
  const seconds = SECONDS / 2;
  // Made by another process: this one may not touch a mount and wait.
  execFileSync('mkdir', [join(mounts[0] ?? '', directory)]);
  const killed = killing === null ? Promise.resolve(0) : killLeaders(killing.signal);
  const places = mounts.map((mount) => join(mount, directory));
  const args = [SEED, PROCESSES, String(seconds), OPERATIONS, ...places];
  const child = spawn(built, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  program = child;
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const late = setTimeout(
    () => {
      say(`the programs did not end: they hang; MOOTFS_INTEGRITY_SEED=${SEED}`);
      child.kill('SIGKILL');
    },
    seconds * 1000 + END_MS,
  );
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(late);
  killing?.abort();
  const kills = await killed;
  const what = killing === null ? name : `${name} (${kills} times)`;
  say(
    code === 0
      ? `${what}: ${said.trim()}, no difference`
      : `${what}: FAILED; MOOTFS_INTEGRITY_SEED=${SEED}`,
  );
  return code === 0;
}

async function killLeaders(signal: AbortSignal): Promise<number> {
  for (let kills = 0; ; kills++) {
    await pause(KILL_EVERY_MS - AWAY_MS, signal);
    if (signal.aborted) return kills;
    const leader = await cluster.leader();
    await cluster.killNode(leader);
    await pause(AWAY_MS, signal);
    cluster.startNode(leader);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
