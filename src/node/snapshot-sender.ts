import type { Clock } from '../base/clock.js';
import type { SnapshotMessage } from '../codec/peer-messages.js';
import type { Digest } from '../filesystem/filesystem.js';
import type { NodeId } from '../raft/types.js';
import type { SnapshotExport, StateStore } from '../storage/state-store.js';

/** Chunks sent and not acknowledged: enough to keep a connection busy, little enough for memory and heartbeats. */
const WINDOW_CHUNKS = 4;
/** No acknowledgement for so long: what is on its way is sent again. */
const RESEND_MS = 1_000;
/** No progress for so long: the follower is away, and the core probes it again. */
const GIVE_UP_MS = 30_000;
/** More than a window waits for the network: sending again would only add to it. */
const QUEUED_BYTES_MAX = 4_194_304;

type Chunk = Extract<SnapshotMessage, { type: 'snapshot-chunk' }>;
type Ack = Extract<SnapshotMessage, { type: 'snapshot-ack' }>;

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
  /** Called once, at the end. */
  readonly onEnd: (outcome: { readonly ok: boolean; readonly index: number }) => void;
  readonly onFailed: (error: unknown) => void;
}

/** One stream of the tree, as it is when the stream begins, to one follower. */
export class SnapshotSender {
  private source: SnapshotExport | null = null;
  /** Sent and not acknowledged, in order. */
  private window: Chunk[] = [];
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
      (error: unknown) => parts.onFailed(error),
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
    if (ack.sequence < 0 && this.window[0]?.sequence !== 0) {
      this.end(false);
      return;
    }
    const before = this.window.length;
    this.window = this.window.filter((chunk) => chunk.sequence > ack.sequence);
    if (this.window.length < before) this.progressMs = this.parts.clock.monotonicMs();
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
    for (const chunk of this.window) send(chunk);
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
    if (this.window.length >= WINDOW_CHUNKS) return;
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
    this.window.push(chunk);
    this.sentMs = this.parts.clock.monotonicMs();
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
