import { runWorlds } from '../runner.js';
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
  const totals = await runWorlds(from, seeds, jobs, Number.MAX_SAFE_INTEGER, {
    execArgv: ['--import', new URL('./load.js', import.meta.url).href],
    env: { ...process.env, MOOTFS_MUTATION: mutation.name },
  });
  return { found: totals.failed[0] ?? null, seeds: totals.seeds };
}
