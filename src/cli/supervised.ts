import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { MootError } from '../base/errors.js';
import { ChildFailed } from './exit.js';

export type ChildState = 'starting' | 'up' | 'down' | 'stopped';

export interface SupervisedOptions {
  readonly name: string;
  /** Arguments for mootfs itself. */
  readonly args: readonly string[];
  /** The child is up when a line of its standard output has this in it. */
  readonly readyLine: string;
  /** What the child says goes to the end of this file. */
  readonly log: string;
  readonly restart: boolean;
}

/** Before a child that ended is started again; long enough for a person to see that it is gone. */
const RESTART_DELAY_MS = 3000;
/**
 * A child that was asked to stop and did not is killed after this. A mount waits half a minute for what
 * was written, and then says what is lost.
 */
const STOP_TIMEOUT_MS = 45_000;

/**
 * A child process of `up`: in a process group of its own, so that Ctrl-C reaches only `up`, and
 * with a pipe as its standard input, whose end stops it even when `up` itself was killed.
 */
export class Supervised {
  private child: ChildProcess | null = null;
  private exited: Promise<void> = Promise.resolve();
  private stopping = false;
  private held = false;
  private wasUp = false;
  /** Since somebody started it and while it lives: settles when it is up, or has ended before. */
  private started: Promise<void> | null = null;
  /** When it is started again. */
  private restart: NodeJS.Timeout | null = null;
  state: ChildState = 'stopped';

  constructor(private readonly options: SupervisedOptions) {}

  get name(): string {
    return this.options.name;
  }

  get log(): string {
    return this.options.log;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Resolves when the child is up, whoever started it; fails with what it said when it ends before. */
  start(): Promise<void> {
    if (this.stopping) return Promise.reject(new MootError('CLOSED', `${this.name} was stopped`));
    this.held = false;
    this.forgetRestart();
    this.started ??= this.spawn();
    return this.started;
  }

  private spawn(): Promise<void> {
    this.state = 'starting';
    const entry = process.argv[1] ?? '';
    const child = spawn(
      process.execPath,
      [...process.execArgv, entry, ...this.options.args, '--stop-with-stdin'],
      { detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: withoutSettings(process.env) },
    );
    this.child = child;
    const log = createWriteStream(this.options.log, { flags: 'a' });
    log.once('error', (error) => {
      process.stderr.write(`what ${this.name} says is lost: ${error.message}\n`);
    });
    return new Promise((resolve, reject) => {
      let said = '';
      child.stderr?.on('data', (data: Buffer) => {
        said = (said + data.toString()).slice(-2000);
        log.write(data);
      });
      child.stdout?.on('data', (data: Buffer) => {
        log.write(data);
        if (this.state !== 'starting' || !data.includes(this.options.readyLine)) return;
        this.state = 'up';
        this.wasUp = true;
        resolve();
      });
      this.exited = new Promise((done) => {
        let over = false;
        const ended = (code: number | null, signal: string | null, why: string) => {
          if (over) return;
          over = true;
          this.onExit(log, code, signal);
          done();
          reject(startFailure(this.name, code, why));
        };
        child.once('close', (code, signal) => ended(code, signal, said));
        // As when the machine has no more processes to give.
        child.once('error', (error) => {
          if (child.pid === undefined) ended(null, error.message, error.message);
        });
      });
    });
  }

  /** kill -9. It is not started again before somebody calls `start`. */
  async crash(): Promise<void> {
    this.held = true;
    this.forgetRestart();
    this.child?.kill('SIGKILL');
    await this.exited;
  }

  /** Asks the child to stop, and ends it when it does not. It is never started again. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.forgetRestart();
    if (this.child !== null) {
      this.child.stdin?.end();
      this.child.kill('SIGTERM');
      const kill = setTimeout(() => this.child?.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await this.exited;
      clearTimeout(kill);
    }
    this.state = 'stopped';
  }

  private forgetRestart(): void {
    if (this.restart !== null) clearTimeout(this.restart);
    this.restart = null;
  }

  private onExit(log: WriteStream, code: number | null, signal: string | null): void {
    log.end(`-- ended: ${signal ?? `exit code ${code}`}\n`);
    this.child = null;
    this.started = null;
    this.state = 'down';
    if (this.stopping || this.held || !this.wasUp || !this.options.restart) return;
    this.restart = setTimeout(() => {
      // It is down again when this fails, and onExit has planned the next start.
      this.start().catch(() => undefined);
    }, RESTART_DELAY_MS);
  }
}

/** What can be of one process alone; what is given as an argument goes before the environment in any case. */
const OF_ONE = new Set(
  ['ID', 'DATA', 'LISTEN', 'ADDRESS', 'PEERS', 'JOIN', 'NODES', 'MOUNT', 'CONTROL'].concat([
    'METRICS',
    'CONFIG',
    'OPTIONS',
  ]),
);

/** A setting of ours that only one of the children could have is none of theirs. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const isOfOne = (name: string) => name.startsWith('MOOTFS_') && OF_ONE.has(name.slice(7));
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isOfOne(name)));
}

function startFailure(name: string, code: number | null, said: string): ChildFailed {
  const line = said.trim().split('\n').at(-1) ?? '';
  const text = line.replace(/^mootfs \w+: /, '') || `ended with exit code ${code}`;
  return new ChildFailed(`${name}: ${text}`, code);
}
