import { execFile } from 'node:child_process';
import { assert } from '../../../src/base/assert.js';
import { runWorlds } from '../runner.js';
import { World } from '../world.js';
import type { Mutation } from './mutations.js';

export interface MutantOutcome {
  /** null: no world went wrong. */
  readonly found: { readonly seed: number; readonly problem: string } | null;
  /** How many worlds it took. */
  readonly seeds: number;
}

/** Lives worlds in which the program has this mistake, until one goes wrong. */
export async function runMutant(
  mutation: Mutation,
  { from, seeds, jobs }: { from: number; seeds: number; jobs: number },
): Promise<MutantOutcome> {
  const execArgv = ['--import', LOAD];
  const env = environment(mutation);
  const totals = await runWorlds(from, seeds, jobs, Number.MAX_SAFE_INTEGER, { execArgv, env });
  const [found = null] = totals.failed;
  if (found !== null) {
    const { problem } = await new World({ seed: found.seed }).run();
    assert(problem === null, `without the mistake seed ${found.seed} goes wrong, too: ${problem}`);
  }
  return { found, seeds: totals.seeds };
}

/** What the command line says of one world in which the program has this mistake. */
export function tellOfMutant(mutation: Mutation, args: readonly string[]): Promise<string> {
  const main = new URL('../main.js', import.meta.url).pathname;
  return new Promise((resolve) => {
    const argv = ['--import', LOAD, main, ...args];
    // It fails, since the world does.
    execFile(process.execPath, argv, { env: environment(mutation) }, (_, out) => resolve(out));
  });
}

const LOAD = new URL('./load.js', import.meta.url).href;

function environment({ name }: Mutation): NodeJS.ProcessEnv {
  return { ...process.env, MOOTFS_MUTATION: name };
}
