import { appendFileSync, readFileSync } from 'node:fs';

/** The pieces in which shared files are written and read. */
export const BLOCK_BYTES = 4096;

/** Blocks of a file that lie side by side. */
export interface Stretch {
  readonly first: number;
  readonly count: number;
}

/** What a program asks of a name or of a block; each concerns one object. */
export type Request =
  /** A block of a shared file; `value` names file, block, writer and generation. */
  | { readonly type: 'write'; readonly object: string; readonly value: string }
  | { readonly type: 'read'; readonly object: string }
  /**
   * Many blocks of a large file, from `first` on; each is an object of its own. `value` names writer
   * and generation. What was read is told as runs of equal blocks (large.ts).
   */
  | ({ readonly type: 'write-blocks'; readonly object: string; readonly value: string } & Stretch)
  | ({ readonly type: 'read-blocks'; readonly object: string } & Stretch)
  /** Names of one directory; `name` and `to` are within it. */
  | { readonly type: 'create'; readonly object: string; readonly name: string }
  | { readonly type: 'unlink'; readonly object: string; readonly name: string }
  | {
      readonly type: 'rename';
      readonly object: string;
      readonly name: string;
      readonly to: string;
    }
  | { readonly type: 'stat'; readonly object: string; readonly name: string }
  /** A record at the end of a shared file. */
  | { readonly type: 'append'; readonly object: string; readonly value: string };

/** How it ended: what was found, or an errno. Missing: nobody knows. */
export type Answer = string;

export interface Operation {
  readonly worker: string;
  readonly request: Request;
  /** Nanoseconds of the machine's monotonic clock, the same for all its processes. */
  readonly invokedNs: bigint;
  /** null: it never came back. */
  readonly endedNs: bigint | null;
  readonly answer: Answer | null;
}

interface Line {
  readonly id: number;
  readonly ns: string;
  readonly request?: Request;
  readonly answer?: Answer;
}

/** Writes one worker's history, a line when an operation begins and one when it ends. */
export class Recorder {
  private id = 0;

  constructor(private readonly file: string) {}

  /** `action` gives the answer, or throws an error with a code, which is an answer as well. */
  run(request: Request, action: () => Answer, isAnswer: (code: string) => boolean): Answer | null {
    const id = this.id++;
    this.write({ id, ns: now(), request });
    let answer: Answer;
    try {
      answer = action();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      if (!isAnswer(code)) return null;
      answer = code;
    }
    this.write({ id, ns: now(), answer });
    return answer;
  }

  private write(line: Line): void {
    appendFileSync(this.file, `${JSON.stringify(line)}\n`);
  }
}

export function readHistory(worker: string, file: string): Operation[] {
  const operations = new Map<number, Operation>();
  for (const text of readFileSync(file, 'utf8').split('\n')) {
    // A worker that was killed may have left half a line.
    if (!text.endsWith('}')) continue;
    const { id, ns, request, answer } = JSON.parse(text) as Line;
    const begun = operations.get(id);
    if (request !== undefined) {
      operations.set(id, {
        worker,
        request,
        invokedNs: BigInt(ns),
        endedNs: null,
        answer: null,
      });
    } else if (begun !== undefined && answer !== undefined) {
      operations.set(id, { ...begun, endedNs: BigInt(ns), answer });
    }
  }
  return [...operations.values()];
}

function now(): string {
  return process.hrtime.bigint().toString();
}
