import type { Operation, Request, Stretch } from './history.js';

/** The values of neighbouring blocks, as in `60 m1:7,15 m2:9`: sixty blocks of one, then fifteen. */
export function runsOf(values: readonly string[]): string {
  const runs: { count: number; readonly value: string }[] = [];
  for (const value of values) {
    const last = runs.at(-1);
    if (last?.value === value) last.count++;
    else runs.push({ count: 1, value });
  }
  return runs.map(({ count, value }) => `${count} ${value}`).join(',');
}

/** What an operation did to some blocks, or found there. */
type Part = Stretch & Pick<Operation, 'request' | 'answer'>;

/**
 * Operations on large files as operations on single blocks. Blocks that fared alike are told as one:
 * neighbours between which no write, and no run of what was read, begins or ends.
 */
export function blocksOf(operations: readonly Operation[]): Operation[] {
  const parts = new Map<string, { readonly operation: Operation; readonly part: Part }[]>();
  for (const operation of operations) {
    for (const part of partsOf(operation)) {
      const { object } = operation.request;
      const ofObject = parts.get(object) ?? [];
      parts.set(object, ofObject);
      ofObject.push({ operation, part });
    }
  }
  return [...parts.values()].flatMap((ofObject) => {
    const edges = new Set(ofObject.flatMap(({ part }) => [part.first, part.first + part.count]));
    const firsts = [...edges].sort((a, b) => a - b);
    return firsts.flatMap((first) =>
      ofObject
        .filter(({ part }) => part.first <= first && first < part.first + part.count)
        .map(({ operation, part }) => {
          const object = `${operation.request.object}:${first}`;
          return { ...operation, request: { ...part.request, object }, answer: part.answer };
        }),
    );
  });
}

function partsOf({ request, answer }: Operation): Part[] {
  if (request.type === 'write-blocks') {
    const { first, count, object, value } = request;
    return [{ first, count, request: { type: 'write', object, value }, answer }];
  }
  if (request.type !== 'read-blocks') return [];
  // What was not answered says nothing.
  if (answer === null) return [];
  const read: Request = { type: 'read', object: request.object };
  let { first } = request;
  return answer.split(',').map((run) => {
    const space = run.indexOf(' ');
    const count = Number(run.slice(0, space));
    const part = { first, count, request: read, answer: run.slice(space + 1) };
    first += count;
    return part;
  });
}
