import type { StateHashMessage } from '../codec/peer-messages.js';
import type { NodeId } from '../raft/types.js';

/** How often a leader says its digest, also when nothing changed: a message may be lost. */
const BROADCAST_MS = 1_000;
/** Own digests remembered, by index: a leader's word about an older index is not checked. */
const REMEMBERED_MAX = 16_384;

export interface Divergence {
  readonly index: number;
  readonly own: number;
  readonly leaders: number;
}

/** Compares the digests of the state between nodes at equal indexes. */
export class StateHashes {
  private readonly hashes = new Uint32Array(REMEMBERED_MAX);
  private readonly indexes = new Float64Array(REMEMBERED_MAX);
  private lastIndex = 0;
  private lastHash = 0;
  private broadcastMs = Number.NEGATIVE_INFINITY;
  /** The leader was ahead of us when it said this. */
  private expected: { readonly index: number; readonly hash: number } | null = null;

  constructor(private readonly onDiverged: (divergence: Divergence) => void) {}

  /** This node's digest behind the command at `index`. */
  record(index: number, hash: number): void {
    this.hashes[index % REMEMBERED_MAX] = hash;
    this.indexes[index % REMEMBERED_MAX] = index;
    this.lastIndex = index;
    this.lastHash = hash;
    if (this.expected !== null && this.expected.index <= index) {
      this.compare(this.expected.index, this.expected.hash);
      this.expected = null;
    }
  }

  /** The tree was replaced. */
  reset(): void {
    this.indexes.fill(0);
    this.expected = null;
  }

  /** What a leader should send now. */
  tick(
    nowMs: number,
    id: NodeId,
    term: number,
    others: readonly NodeId[],
  ): readonly StateHashMessage[] {
    if (nowMs - this.broadcastMs < BROADCAST_MS || this.lastIndex === 0) return [];
    this.broadcastMs = nowMs;
    return others.map((to) => ({
      type: 'state-hash',
      from: id,
      to,
      term,
      index: this.lastIndex,
      hash: this.lastHash,
    }));
  }

  /** A leader's word. */
  check(message: StateHashMessage): void {
    if (message.index <= this.lastIndex) this.compare(message.index, message.hash);
    else this.expected = { index: message.index, hash: message.hash };
  }

  private compare(index: number, leaders: number): void {
    const slot = index % REMEMBERED_MAX;
    const own = this.hashes[slot];
    if (this.indexes[slot] !== index || own === undefined || own === leaders) return;
    this.onDiverged({ index, own, leaders });
  }
}

/** As the status shows it. */
export function hashText(hash: number): string {
  return hash.toString(16).padStart(8, '0');
}
