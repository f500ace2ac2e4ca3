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

export type Tally = 'open' | 'won' | 'lost';

/** The state of an election after these answers. */
export function tally(answers: ReadonlyMap<string, boolean>, voters: number): Tally {
  let granted = 0;
  for (const answer of answers.values()) if (answer) granted++;
  const majority = majorityOf(voters);
  if (granted >= majority) return 'won';
  return voters - (answers.size - granted) < majority ? 'lost' : 'open';
}
