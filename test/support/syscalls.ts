import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { run } from './mounted.js';

/** From dist/test/support, as this runs. */
const SOURCE = fileURLToPath(new URL('../../../test/support/syscalls/syscalls.c', import.meta.url));

/** The program that makes system calls, built for this test; null without a C compiler. */
export async function buildSyscalls(t: Test): Promise<string | null> {
  const directory = await mkdtemp(join(tmpdir(), 'mootfs-syscalls-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const program = join(directory, 'syscalls');
  const built = await run('cc', ['-O1', '-o', program, SOURCE]);
  if (built.status === 127) return null;
  if (built.status !== 0) throw new Error(`syscalls.c does not compile: ${built.stderr}`);
  return program;
}

/** A process that makes the system calls it is told, one after the other; see syscalls.c. */
export class SystemCalls {
  readonly #process: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  /** `owner`: a user and group to be. */
  constructor(program: string, directory: string, owner?: number) {
    const who = owner === undefined ? [] : [`${owner}`, `${owner}`];
    this.#process = spawn(program, [directory, ...who], { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdout } = this.#process;
    if (stdout === null) throw new Error('the program has no output');
    createInterface(stdout).on('line', (line) => this.#waiting.shift()?.(line));
    // What it is still told after its end; 'close' tells the caller.
    this.#process.stdin?.on('error', () => {});
    this.#process.on('close', () => {
      for (const end of this.#waiting.splice(0)) end('? the program has ended');
    });
  }

  /** The whole line of the answer. */
  call(line: string): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#hasEnded) this.#waiting.pop()?.('? the program has ended');
      else this.#process.stdin?.write(`${line}\n`);
    });
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.stdin?.end();
    await ended;
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}

/** What an answer says that is the same on all filesystems. */
export function comparable(answer: string): string {
  return answer.replace(/ #.*/, '');
}
