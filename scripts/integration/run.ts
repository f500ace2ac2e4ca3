import { spawn } from 'node:child_process';
import { appendFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 *     node run.js RESULTS
 *
 * Runs the integration tests, two files of them at a time: they wait for processes most of the time. Prints what
 * each file said when it is over, and a line that begins with FAILED for what no test has said. All that bats has
 * said goes to the file RESULTS.
 */
const [results = ''] = process.argv.slice(2);
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const TESTS = join(PROJECT, 'scripts/integration');
const BATS = join(PROJECT, 'node_modules/bats/bin/bats');
const LANES = 2;
/** Each lane has ports of its own: what one has found free, the other must not take. */
const PORTS_FROM = 10_000;
const PORTS_OF_A_LANE = 20_000 / LANES;
/** So that both lanes end at about the same time. */
const LONGEST_FIRST = ['failures.bats', 'commands.bats', 'programs.bats', 'console.bats'];

const others = readdirSync(TESTS).filter(
  (name) => name.endsWith('.bats') && !LONGEST_FIRST.includes(name),
);
const waiting = [...LONGEST_FIRST, ...others.sort()];
const running = new Set<ReturnType<typeof spawn>>();
let isStopped = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    isStopped = true;
    for (const child of running) child.kill('SIGTERM');
  });
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => runLane(lane)));
if (isStopped) process.exitCode = 1;

async function runLane(lane: number): Promise<void> {
  for (let name = waiting.shift(); name !== undefined && !isStopped; name = waiting.shift()) {
    const { code, said } = await runFile(name, lane);
    appendFileSync(results, said);
    const problem = problemOf(said, code);
    const lines = said.split('\n').filter((line) => line !== '' && !/^1\.\./.test(line));
    if (problem !== null) lines.push(`FAILED: ${name}: ${problem}`);
    process.stdout.write(`${lines.join('\n')}\n`);
  }
}

function runFile(name: string, lane: number): Promise<{ code: string; said: string }> {
  return new Promise((resolve) => {
    const env = {
      ...process.env,
      MOOTFS_TEST_PORTS_FROM: `${PORTS_FROM + lane * PORTS_OF_A_LANE}`,
      MOOTFS_TEST_PORTS: `${PORTS_OF_A_LANE}`,
    };
    const args = ['--timing', '--formatter', 'tap', join(TESTS, name)];
    const child = spawn(BATS, args, { cwd: PROJECT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (said += text));
    }
    child.on('close', (code, signal) => {
      running.delete(child);
      resolve({ code: `${code ?? signal}`, said });
    });
  });
}

/** What went wrong outside of any test, or ended the file before its last one, has no line of its own. */
function problemOf(said: string, code: string): string | null {
  const planned = Number(/^1\.\.(\d+)$/m.exec(said)?.[1] ?? 0);
  const ran = said.match(/^(not )?ok /gm)?.length ?? 0;
  if (planned === 0 || ran < planned) return `${ran} of ${planned || 'no'} tests ran`;
  return code !== '0' && !/^not ok /m.test(said) ? `exit code ${code}` : null;
}
