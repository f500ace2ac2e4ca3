import { assert } from '../base/assert.js';
import { entryBytes } from './log.js';
import type { NodeState } from './node-state.js';
import type { Ready } from './types.js';

/** What is committed, on its way to the state machine. */
export class HandOut {
  /** Entries up to here were given out for apply. */
  private handedOutIndex: number;
  /** Of what was given out and is not applied; entries read from disk by the runtime not counted. */
  unappliedBytes = 0;

  constructor(private readonly node: NodeState) {
    this.handedOutIndex = node.commitIndex;
  }

  get due(): boolean {
    return this.handedOutIndex < this.committableIndex;
  }

  /** Log and state machine begin anew behind `index`. */
  reset(index: number): void {
    this.handedOutIndex = index;
    this.unappliedBytes = 0;
  }

  applied(index: number): void {
    assert(index <= this.handedOutIndex, 'only what was given out is applied');
    if (index <= this.node.log.appliedIndex) return;
    for (let i = this.node.log.appliedIndex + 1; i <= index; i++) {
      this.unappliedBytes -= this.node.log.bytesAt(i);
    }
    this.node.log.applied(index);
  }

  /** Committed, and durable here. */
  get committableIndex(): number {
    return Math.min(this.node.commitIndex, this.node.log.savedIndex);
  }

  takeCommitted(): Pick<Ready, 'committed' | 'committedFromLog'> {
    const first = this.handedOutIndex + 1;
    const last = this.committableIndex;
    if (first > last) return { committed: [], committedFromLog: null };
    const { firstInMemory } = this.node.log;
    const committed =
      last >= firstInMemory ? this.node.log.slice(Math.max(first, firstInMemory), last) : [];
    for (const entry of committed) this.unappliedBytes += entryBytes(entry);
    this.handedOutIndex = last;
    const committedFromLog =
      first < firstInMemory ? { first, last: Math.min(last, firstInMemory - 1) } : null;
    return { committed, committedFromLog };
  }
}
