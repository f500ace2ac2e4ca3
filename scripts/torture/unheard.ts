import type { Operation } from './history.js';

/**
 * One block's operations, with less to search for and the same verdict. Each value is written once. So
 * a write that nobody heard of, and whose value nobody read, need not have been: nothing that was read
 * depends on it. One whose value was read had happened when the first such read ended.
 */
export function settle(operations: readonly Operation[]): Operation[] {
  const readByNs = new Map<string, bigint>();
  for (const { request, answer, endedNs } of operations) {
    if (request.type !== 'read' || answer === null || endedNs === null) continue;
    const earlier = readByNs.get(answer);
    if (earlier === undefined || endedNs < earlier) readByNs.set(answer, endedNs);
  }
  return operations.flatMap((operation) => {
    const { request, answer } = operation;
    if (answer !== null) return [operation];
    const endedNs = request.type === 'write' ? readByNs.get(request.value) : undefined;
    return endedNs === undefined ? [] : [{ ...operation, endedNs }];
  });
}
