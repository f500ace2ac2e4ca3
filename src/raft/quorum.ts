import type { Configuration, NodeId } from './types.js';

/** The smallest number of `voters` that any two of such groups share a member. */
export function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The largest index that a majority has reached, given what each voter has. Sorts `reached` in
 * place: it is the caller's scratch. Insertion sort, because there are a handful of voters and
 * this runs with every acknowledgement.
 */
export function quorumIndex(reached: number[]): number {
  for (let i = 1; i < reached.length; i++) {
    const value = reached[i] ?? 0;
    let j = i - 1;
    for (; j >= 0 && (reached[j] ?? 0) < value; j--) reached[j + 1] = reached[j] ?? 0;
    reached[j + 1] = value;
  }
  return reached[majorityOf(reached.length) - 1] ?? 0;
}

/** The sets of voters of which a majority each is needed: one, or two while a change is under way. */
export function voterSets({ voters, outgoing }: Configuration): readonly (readonly NodeId[])[] {
  return [voters, outgoing]
    .filter((members, i) => i === 0 || members.length > 0)
    .map((members) => members.map(({ id }) => id));
}

export type Tally = 'open' | 'won' | 'lost';

/** The state of an election after these answers. Answers of others than voters count for nothing. */
export function tally(
  answers: ReadonlyMap<NodeId, boolean>,
  sets: readonly (readonly NodeId[])[],
): Tally {
  const results = sets.map((voters) => tallyOne(answers, voters));
  if (results.includes('lost')) return 'lost';
  return results.every((result) => result === 'won') ? 'won' : 'open';
}

function tallyOne(answers: ReadonlyMap<NodeId, boolean>, voters: readonly NodeId[]): Tally {
  let granted = 0;
  let denied = 0;
  for (const id of voters) {
    const answer = answers.get(id);
    if (answer === true) granted++;
    else if (answer === false) denied++;
  }
  const majority = majorityOf(voters.length);
  if (granted >= majority) return 'won';
  return voters.length - denied < majority ? 'lost' : 'open';
}
