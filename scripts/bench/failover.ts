import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { renderTable } from '../../src/cli/table.js';
import { type BenchCluster, median } from './cluster.js';

const ROUNDS = 20;

/** A program that writes and syncs again and again, and says how long each step took. */
const WRITER = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'w');
  let last = performance.now();
  for (let i = 0; ; i++) {
    fs.writeSync(fd, 'line ' + i + '\\n');
    fs.fsyncSync(fd);
    const now = performance.now();
    fs.writeSync(1, (now - last).toFixed(1) + '\\n');
    last = now;
  }`;

/** The longest step of a writing program around the loss of the leader. */
export async function benchFailover(cluster: BenchCluster, rounds = ROUNDS): Promise<string> {
  const mount = await cluster.mount(0);
  const rows: string[][] = [];
  for (const [name, signal] of [
    ['kill -9 of the leader', 'SIGKILL'],
    ['SIGSTOP of the leader', 'SIGSTOP'],
  ] as const) {
    const gaps: number[] = [];
    for (let i = 0; i < rounds; i++) gaps.push(await gapAfter(cluster, mount, signal));
    rows.push([name, `${median(gaps).toFixed(0)} ms`, `${Math.max(...gaps).toFixed(0)} ms`]);
  }
  return `${renderTable(['WITHOUT SERVICE AFTER', 'MEDIAN', `WORST OF ${rounds}`], rows)}\n`;
}

async function gapAfter(
  cluster: BenchCluster,
  mount: string,
  signal: 'SIGKILL' | 'SIGSTOP',
): Promise<number> {
  const leader = await cluster.leader();
  const writer = spawn(process.execPath, ['-e', WRITER, join(mount, 'failover')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const steps = collectSteps(writer);
  await pause(600);
  const before = steps.length;
  cluster.nodes[leader]?.kill(signal);
  await pause(3000);
  while (steps.length < before + 20 && writer.exitCode === null) await pause(100);
  if (writer.exitCode !== null) throw new Error('the writing program met an error');
  const gap = Math.max(...steps.slice(before));
  const ended = new Promise((done) => writer.once('close', done));
  writer.kill('SIGKILL');
  await ended;
  if (signal === 'SIGKILL') cluster.startNode(leader);
  else cluster.nodes[leader]?.kill('SIGCONT');
  await cluster.waitForAgreement();
  return gap;
}

function collectSteps(writer: ChildProcess): number[] {
  const steps: number[] = [];
  let rest = '';
  writer.stdout?.on('data', (data: Buffer) => {
    const lines = (rest + data.toString()).split('\n');
    rest = lines.pop() ?? '';
    steps.push(...lines.map(Number));
  });
  return steps;
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
