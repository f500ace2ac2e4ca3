import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const MOOTFS = fileURLToPath(new URL('../../src/cli/mootfs', import.meta.url));

/** `mootfs up` without mounts, on ports of its own. */
export class UpCluster {
  private constructor(
    private readonly child: ChildProcess,
    private readonly root: string,
    readonly port: number,
  ) {}

  static async start(nodes: number, stretch: number): Promise<UpCluster> {
    const root = mkdtempSync(join(tmpdir(), 'mootfs-up-'));
    const port = await freeRun(nodes);
    const child = spawn(
      MOOTFS,
      [
        ...['up', '--no-mount', '--nodes', String(nodes), '--port', String(port)],
        ...['--stretch', String(stretch), '--data', join(root, 'data')],
        ...['--snapshot-log-entries', '200', '--stop-with-stdin'],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, MOOTFS_CONTROL: 'on' } },
    );
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', (data: Buffer) => {
        if (data.toString().includes('ready')) resolve();
      });
      child.once('exit', (code) => reject(new Error(`up ended with ${code}`)));
    });
    return new UpCluster(child, root, port);
  }

  /** The page of this node, counted from 0. */
  page(node: number): string {
    return `http://127.0.0.1:${this.port + 1000 + node}/`;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGTERM');
    await ended;
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A port so that all that `up` takes from there are free, below those that the kernel gives out. */
async function freeRun(nodes: number): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const ports = Array.from({ length: nodes }, (_, i) => [port + i, port + 1000 + i]).flat();
    if ((await Promise.all([...ports, port + 999].map(isFree))).every(Boolean)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
