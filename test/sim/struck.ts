/** What a world's story says once for each time it happens, and its name. */
const MARKS: Readonly<Record<string, RegExp>> = {
  damagedLogs: / failed: entry \d+ of the log does not match/,
  damagedTrees: / failed: (\S+ record |the tree's )/,
  snapshots: / took in a snapshot /,
  changingRestarts: / starts, life .*, while the members change/,
  learnedRemovals: / failed: .*removed/,
  transfers: / the operator's transfer: is done/,
  fullDisks: / failed: no space left/,
  failedDisks: / failed: input\/output error/,
  hungLeaders: / the disk has not finished .*; stepping down/,
};

/**
 * How often faults struck, and what several of them together brought about: a fault that was planned may
 * meet nobody whom it harms.
 */
export function struck(story: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = { brokenSnapshots: brokenSnapshots(story) };
  for (const [name, mark] of Object.entries(MARKS)) {
    counts[name] = story.filter((line) => mark.test(line)).length;
  }
  return counts;
}

/** Streams that another one followed before their receiver had taken in any. */
function brokenSnapshots(story: readonly string[]): number {
  const receiving = new Set<string>();
  let broken = 0;
  for (const line of story) {
    const to = / streams a snapshot to (\S+)/.exec(line)?.[1];
    if (to !== undefined) {
      if (receiving.has(to)) broken++;
      receiving.add(to);
    }
    const receiver = / (\S+) took in a snapshot /.exec(line)?.[1];
    if (receiver !== undefined) receiving.delete(receiver);
  }
  return broken;
}
