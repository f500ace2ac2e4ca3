import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MOOTFS = fileURLToPath(new URL('../../src/cli/mootfs', import.meta.url));
const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
const CLOCK = fileURLToPath(new URL('./shift-clock.cjs', import.meta.url));
/** A mount alone may take thirty seconds to bring away what was written. */
const EXIT_MS = 90_000;

/** A child process, started again and again under one name; what it says goes into one file. */
export class Process {
  private child: ChildProcess | null = null;
  private exited: Promise<number> = Promise.resolve(0);
  /** The exit code of the last end; -1: by a signal. */
  lastExit = 0;

  constructor(
    readonly name: string,
    private readonly log: string,
    private readonly command: () => {
      readonly args: readonly string[];
      readonly clock: string | null;
    },
    /** It ended, and nobody had asked it to. */
    private readonly onDeath: (code: number) => void,
  ) {}

  get running(): boolean {
    return this.child !== null;
  }

  start(): void {
    if (this.child !== null) return;
    const { args, clock } = this.command();
    const log = openSync(this.log, 'a');
    const env =
      clock === null
        ? process.env
        : {
            ...process.env,
            NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --require ${CLOCK}`,
            MOOTFS_TORTURE_CLOCK: clock,
          };
    const child = spawn(MOOTFS, [...args, '--stop-with-stdin'], {
      stdio: ['pipe', log, log],
      env,
    });
    this.child = child;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code) => {
        const wanted = this.child !== child;
        if (!wanted) this.child = null;
        this.lastExit = code ?? -1;
        if (!wanted) this.onDeath(this.lastExit);
        resolve(this.lastExit);
      });
    });
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.child?.kill(signal);
  }

  /** Ends it at once, or politely; resolves to its exit code when it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number> {
    const { child } = this;
    if (child === null) return this.lastExit;
    this.child = null;
    child.kill('SIGCONT');
    child.kill(signal);
    const kill = setTimeout(() => child.kill('SIGKILL'), EXIT_MS);
    const code = await this.exited;
    clearTimeout(kill);
    return code;
  }

  /** The end of what it said. */
  lastWords(): string {
    return existsSync(this.log)
      ? readFileSync(this.log, 'utf8').trim().split('\n').slice(-8).join('\n')
      : '';
  }
}

/** A program on a mount; resolves to what it printed when it has ended by itself. */
export function runWorker(
  args: readonly string[],
  onStart: (child: ChildProcess) => void = () => {},
): Promise<string> {
  const child = spawn(process.execPath, [WORKER, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onStart(child);
  let out = '';
  let errors = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  return new Promise((resolve, reject) => {
    child.once('close', (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new Error(`worker ${args.join(' ')} ended with ${signal ?? code}: ${errors}`));
    });
  });
}
