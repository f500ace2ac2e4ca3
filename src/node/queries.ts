import type { Clock } from '../base/clock.js';
import type { ErrorCode } from '../base/errors.js';
import type { QueryRequest } from '../codec/client-messages.js';
import type { QueryResult } from '../filesystem/queries.js';
import type { NodeParts } from './node.js';
import type { Reads } from './reads.js';
import type { Tree } from './tree.js';

/** The disk's figures may be this old. */
const DISK_SPACE_MS = 1_000;

export type Answer = (result: QueryResult, index: number) => void;
export type Refuse = (code: ErrorCode, message: string) => void;

export interface QueriesParts {
  readonly tree: Tree;
  readonly reads: Reads;
  readonly clock: Clock;
  readonly diskSpace: NodeParts['diskSpace'];
  readonly leaderKnown: () => boolean;
  readonly onFailed: (error: unknown) => void;
}

/** Answers queries as fresh as they ask for. */
export class Queries {
  private space: {
    readonly atMs: number;
    readonly figures: ReturnType<NodeParts['diskSpace']>;
  } | null = null;

  constructor(private readonly parts: QueriesParts) {}

  ask(request: QueryRequest, answer: Answer, refuse: Refuse): void {
    const { tree, reads, leaderKnown } = this.parts;
    const { query, level, minIndex } = request;
    const run = () => tree.query(query, (result, index) => this.complete(result, index, answer));
    switch (level) {
      case 'local':
        run();
        break;
      case 'session':
        reads.atLeast(minIndex, tree.applied.index, run, () =>
          refuse('BUSY', `this node has not come to index ${minIndex} yet`),
        );
        break;
      case 'strong':
        reads.strong(run, () => {
          if (leaderKnown()) refuse('NOT_LEADER', 'the leader did not confirm the read');
          else refuse('NO_LEADER', 'no leader is known');
        });
        break;
    }
  }

  /** The state machine does not know the disk. */
  private complete(result: QueryResult, index: number, answer: Answer): void {
    if (!result.ok || !('diskBytesTotal' in result.value)) {
      answer(result, index);
      return;
    }
    const { value } = result;
    this.figures().then(
      ({ totalBytes, freeBytes }) =>
        answer(
          { ok: true, value: { ...value, diskBytesTotal: totalBytes, diskBytesFree: freeBytes } },
          index,
        ),
      this.parts.onFailed,
    );
  }

  private figures(): ReturnType<NodeParts['diskSpace']> {
    const atMs = this.parts.clock.monotonicMs();
    if (this.space === null || atMs - this.space.atMs > DISK_SPACE_MS) {
      this.space = { atMs, figures: this.parts.diskSpace() };
    }
    return this.space.figures;
  }
}
