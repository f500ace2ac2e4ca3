import type { Clock } from '../base/clock.js';
import type { SnapshotMessage } from '../codec/peer-messages.js';
import type { Digest } from '../filesystem/filesystem.js';
import type { NodeId } from '../raft/types.js';
import type { SnapshotExport, StateStore } from '../storage/state-store.js';

/** Chunks sent and not acknowledged, at most: 4 MiB keep a fast network busy, and memory can spare them. */
const WINDOW_CHUNKS_MAX = 32;
/** No acknowledgement for so long: what is on its way is sent again. */
const RESEND_MS = 1_000;
/**
 * No progress for so long: the follower is away, and the core probes it again. Until then a broken
 * connection costs what was on its way, and nothing that was acknowledged is sent again.
 */
const GIVE_UP_MS = 120_000;
/** More than a window waits for the network: sending again would only add to it. */
const QUEUED_BYTES_MAX = 4_194_304;

type Chunk = Extract<SnapshotMessage, { type: 'snapshot-chunk' }>;
type Ack = Extract<SnapshotMessage, { type: 'snapshot-ack' }>;

interface Sent {
  readonly chunk: Chunk;
  readonly sentMs: number;
  /** Sent more than once, so that nobody knows which one is acknowledged. */
  again: boolean;
}

export interface SnapshotSenderParts {
  readonly id: NodeId;
  readonly to: NodeId;
  readonly term: number;
  readonly stream: number;
  readonly state: StateStore;
  readonly clock: Clock;
  readonly digest: Digest;
  readonly send: (chunk: SnapshotMessage) => void;
  readonly queuedBytes: () => number;
  /**
   * An acknowledgement that takes longer shows that chunks wait for each other, and heartbeats to
   * this follower, which share the connection, with them.
   */
  readonly delayMsMax: number;
  /** Called once, at the end. */
  readonly onEnd: (outcome: { readonly ok: boolean; readonly index: number }) => void;
  readonly onFailed: (error: unknown) => void;
}

/**
 * One stream of the tree, as it is when the stream begins, to one follower. The window opens by one
 * chunk with every acknowledgement in time and halves with a late one (as TCP's does, RFC 5681):
 * a slow line or a slow disk at the other end holds one chunk at a time.
 */
export class SnapshotSender {
  private source: SnapshotExport | null = null;
  /** Sent and not acknowledged, in order. */
  private window: Sent[] = [];
  private windowMax = 1;
  /** Chunks sent before the window was halved: their delay is no news. */
  private halvedAt = -1;
  private nextSequence = 0;
  private complete = false;
  private reading = false;
  private ended = false;
  private progressMs: number;
  private sentMs: number;

  constructor(private readonly parts: SnapshotSenderParts) {
    this.progressMs = parts.clock.monotonicMs();
    this.sentMs = this.progressMs;
    parts.state.exportSnapshot().then(
      (source) => {
        this.source = source;
        if (this.ended) this.closeSource();
        else this.fill();
      },
      (error: unknown) => {
        if (!this.ended) parts.onFailed(error);
      },
    );
  }

  get term(): number {
    return this.parts.term;
  }

  /** The index that the follower will stand at; 0 until the stream has begun. */
  get index(): number {
    return this.source?.mark.index ?? 0;
  }

  onAck(ack: Ack): void {
    if (this.ended || ack.stream !== this.parts.stream) return;
    if (ack.state === 'refused') {
      this.end(false);
      return;
    }
    if (ack.state === 'installed') {
      this.end(true);
      return;
    }
    // It has lost what it had acknowledged, and so have we: another stream starts from nothing.
    if (ack.sequence < 0 && this.window[0]?.chunk.sequence !== 0) {
      this.end(false);
      return;
    }
    const nowMs = this.parts.clock.monotonicMs();
    let first = this.window[0];
    while (first !== undefined && first.chunk.sequence <= ack.sequence) {
      this.progressMs = nowMs;
      this.adapt(first, nowMs);
      this.window.shift();
      first = this.window[0];
    }
    this.fill();
  }

  tick(): void {
    if (this.ended) return;
    const { clock, queuedBytes, send } = this.parts;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.progressMs > GIVE_UP_MS) {
      this.end(false);
      return;
    }
    const quietMs = nowMs - Math.max(this.progressMs, this.sentMs);
    if (quietMs < RESEND_MS || queuedBytes() > QUEUED_BYTES_MAX) return;
    this.sentMs = nowMs;
    for (const sent of this.window) {
      sent.again = true;
      send(sent.chunk);
    }
  }

  /** Ends without a word to the core: this node leads no longer, or stops. */
  abort(): void {
    if (this.ended) return;
    this.ended = true;
    this.closeSource();
  }

  private fill(): void {
    const { source } = this;
    if (source === null || this.ended || this.reading || this.complete) return;
    if (this.window.length >= this.windowMax) return;
    this.reading = true;
    source.next().then(
      (data) => {
        this.reading = false;
        if (!this.ended) this.push(source, data);
      },
      (error: unknown) => {
        if (!this.ended) this.parts.onFailed(error);
      },
    );
  }

  private adapt({ chunk, sentMs, again }: Sent, nowMs: number): void {
    if (nowMs - sentMs <= this.parts.delayMsMax) {
      this.windowMax = Math.min(WINDOW_CHUNKS_MAX, this.windowMax + 1);
    } else if (chunk.sequence > this.halvedAt && !again) {
      this.windowMax = Math.max(1, Math.floor(this.windowMax / 2));
      this.halvedAt = this.nextSequence - 1;
    }
  }

  /** The chunk behind the last one is empty: only then is it known which was the last. */
  private push(source: SnapshotExport, data: Uint8Array | null): void {
    const { id, to, term, stream, digest } = this.parts;
    const bytes = data ?? new Uint8Array();
    const chunk: Chunk = {
      type: 'snapshot-chunk',
      from: id,
      to,
      term,
      stream,
      mark: source.mark,
      sequence: this.nextSequence++,
      last: data === null,
      checksum: digest(bytes, 0),
      data: bytes,
    };
    this.complete = data === null;
    this.sentMs = this.parts.clock.monotonicMs();
    this.window.push({ chunk, sentMs: this.sentMs, again: false });
    this.parts.send(chunk);
    this.fill();
  }

  private end(ok: boolean): void {
    const { index } = this;
    this.abort();
    this.parts.onEnd({ ok, index: ok ? index : 0 });
  }

  private closeSource(): void {
    this.window = [];
    this.source?.close().catch((error: unknown) => this.parts.onFailed(error));
  }
}
