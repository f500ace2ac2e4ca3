import { BLOCK_BYTES, type Operation } from './history.js';
import { blocksOf } from './large.js';
import { checkLinearizable } from './linearizable.js';
import { BLOCK, NAMES } from './models.js';
import { settle } from './unheard.js';

/** For one object's history; more is told as undecided. */
const SEARCH_MS = 20_000;

export interface Findings {
  readonly violations: readonly string[];
  readonly objects: number;
  readonly undecided: number;
  readonly operations: number;
  /** Written by programs, with fsync returned. */
  readonly acknowledgedBytes: number;
}

/** Judges what the programs saw. `records`: the content of each appended file in the end. */
export function checkHistories(
  operations: readonly Operation[],
  records: ReadonlyMap<string, string>,
): Findings {
  const violations: string[] = [];
  let undecided = 0;
  const objects = new Map<string, Operation[]>();
  for (const operation of [...operations, ...blocksOf(operations)]) {
    const { type, object } = operation.request;
    if (type === 'append' || type === 'write-blocks' || type === 'read-blocks') continue;
    const ofObject = objects.get(object) ?? [];
    objects.set(object, ofObject);
    ofObject.push(operation);
  }
  for (const [object, ofObject] of objects) {
    const verdict = object.startsWith('names')
      ? checkLinearizable(ofObject, NAMES, SEARCH_MS)
      : checkLinearizable(settle(ofObject), BLOCK, SEARCH_MS);
    if (verdict.type === 'undecided') undecided++;
    if (verdict.type === 'violation') {
      violations.push(`${object} is not linearizable at\n${around(ofObject, verdict.operation)}`);
    }
  }
  for (const [file, content] of records)
    violations.push(...recordProblems(operations, file, content));
  let acknowledgedBytes = 0;
  for (const { request, answer } of operations) {
    if (answer !== 'ok') continue;
    if (request.type === 'write') acknowledgedBytes += BLOCK_BYTES;
    if (request.type === 'write-blocks') acknowledgedBytes += request.count * BLOCK_BYTES;
    if (request.type === 'append') acknowledgedBytes += request.value.length + 1;
  }
  return {
    violations,
    objects: objects.size,
    undecided,
    operations: operations.length,
    acknowledgedBytes,
  };
}

/** Every acknowledged record once, every other at most once, each writer's in its order, nothing else. */
function recordProblems(operations: readonly Operation[], file: string, content: string): string[] {
  const problems: string[] = [];
  const lines = content.split('\n');
  if (lines.pop() !== '') problems.push(`${file} ends within a record`);
  const seen = new Map<string, number>();
  const last = new Map<string, number>();
  for (const line of lines) {
    seen.set(line, (seen.get(line) ?? 0) + 1);
    const [worker = '', generation] = line.split(':');
    if (Number(generation) < (last.get(worker) ?? 0))
      problems.push(`${file}: ${line} is out of order`);
    last.set(worker, Number(generation));
  }
  for (const { request, answer } of operations) {
    if (request.type !== 'append' || request.object !== file) continue;
    const times = seen.get(request.value) ?? 0;
    seen.delete(request.value);
    if (times > 1) problems.push(`${file}: ${request.value} is there ${times} times`);
    if (times === 0 && answer === 'ok') problems.push(`${file}: ${request.value} is lost`);
  }
  for (const line of seen.keys()) problems.push(`${file}: nobody wrote ${JSON.stringify(line)}`);
  return problems;
}

/** The operations beside one, for a person. */
function around(operations: readonly Operation[], culprit: Operation): string {
  const sorted = [...operations].sort((a, b) => (a.invokedNs < b.invokedNs ? -1 : 1));
  const at = sorted.findIndex((one) => isSame(one, culprit));
  const first = sorted[0]?.invokedNs ?? 0n;
  const ms = (ns: bigint) => (Number(ns - first) / 1e6).toFixed(3);
  return sorted
    .slice(Math.max(0, at - 12), at + 6)
    .map((operation) => {
      const { worker, request, invokedNs, endedNs, answer } = operation;
      const mark = isSame(operation, culprit) ? '>' : ' ';
      const end = endedNs === null ? 'never' : ms(endedNs);
      return `  ${mark} ${ms(invokedNs)} to ${end} ${worker} ${JSON.stringify(request)}: ${answer}`;
    })
    .join('\n');
}

/** Of a write that nobody heard of the judged one may be a copy. */
function isSame(a: Operation, b: Operation): boolean {
  return a.worker === b.worker && a.invokedNs === b.invokedNs;
}
