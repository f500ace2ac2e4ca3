import type { NodeId } from './types.js';

/** AppendEntries that are on their way: a ring of their last indexes and sizes, oldest first. */
export class InFlight {
  private readonly lasts: number[];
  private readonly sizes: number[];
  private start = 0;
  messages = 0;
  bytes = 0;

  constructor(
    private readonly messagesMax: number,
    private readonly bytesMax: number,
  ) {
    this.lasts = new Array<number>(messagesMax).fill(0);
    this.sizes = new Array<number>(messagesMax).fill(0);
  }

  get full(): boolean {
    return this.messages >= this.messagesMax || this.bytes >= this.bytesMax;
  }

  add(last: number, bytes: number): void {
    const at = (this.start + this.messages) % this.messagesMax;
    this.lasts[at] = last;
    this.sizes[at] = bytes;
    this.messages++;
    this.bytes += bytes;
  }

  /** All that ends at or before `match` has arrived. */
  acknowledge(match: number): void {
    while (this.messages > 0 && (this.lasts[this.start] ?? 0) <= match) {
      this.bytes -= this.sizes[this.start] ?? 0;
      this.start = (this.start + 1) % this.messagesMax;
      this.messages--;
    }
  }

  clear(): void {
    this.messages = 0;
    this.bytes = 0;
  }
}

/**
 * What a leader knows of one follower (thesis §3.5, §10.2).
 *
 *   probe      where the logs agree is not known: one append at a time, then wait for its answer
 *   replicate  appends are streamed; `next` is optimistic, the window bounds what is on its way
 *   snapshot   the next entry is compacted away: nothing is sent until the snapshot's stream ends
 */
export class Progress {
  match = 0;
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  /** In `probe`: an append is out and unanswered. */
  awaiting = false;
  /** A heartbeat went out since the last answer to an append. */
  silent = false;
  /** Heard from since the last check of the quorum. */
  recentlyActive = false;
  /** Heard from between the two last checks. */
  wasActive = false;
  /**
   * Its copies are part of a majority. Not while the follower says that it is recovering, and not
   * before it has said in this term, by the answer to an append, that it is not.
   */
  counts = false;
  /** It has all that the log held an election timeout ago (the last round of thesis §4.2.1). */
  caughtUp = false;
  /** A LoadRequest is out and unanswered. */
  loading = false;
  /** The last round of heartbeats for reads that it answered. */
  readRound = 0;
  /** The commit index that it was told, at least. */
  commitTold = 0;

  constructor(
    readonly id: NodeId,
    public next: number,
    readonly inFlight: InFlight,
  ) {}

  /** Heard from within two election timeouts. */
  get answers(): boolean {
    return this.recentlyActive || this.wasActive;
  }

  becomeProbe(next: number): void {
    this.state = 'probe';
    this.awaiting = false;
    this.next = next;
    this.inFlight.clear();
  }

  becomeReplicate(): void {
    this.state = 'replicate';
    this.awaiting = false;
    this.next = this.match + 1;
    this.inFlight.clear();
  }

  becomeSnapshot(): void {
    this.state = 'snapshot';
    this.awaiting = false;
    this.inFlight.clear();
  }
}
