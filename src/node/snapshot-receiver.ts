import type { Clock } from '../base/clock.js';
import { isMootError } from '../base/errors.js';
import type { SnapshotMessage } from '../codec/peer-messages.js';
import type { Digest } from '../filesystem/filesystem.js';
import type { NodeId, SnapshotMark } from '../raft/types.js';
import type { SnapshotImport, StateStore } from '../storage/state-store.js';

type Chunk = Extract<SnapshotMessage, { type: 'snapshot-chunk' }>;
type Ack = Extract<SnapshotMessage, { type: 'snapshot-ack' }>;

/** A tree that has fully arrived and is to take the present one's place. */
export interface ArrivedSnapshot {
  readonly from: NodeId;
  readonly term: number;
  readonly mark: SnapshotMark;
  readonly source: SnapshotImport;
}

export interface SnapshotReceiverParts {
  readonly id: NodeId;
  readonly state: StateStore;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly digest: Digest;
  readonly send: (ack: SnapshotMessage) => void;
  /** This node's term, and how far its tree is. */
  readonly present: () => { readonly term: number; readonly appliedIndex: number };
  /** False: it is not wanted any more, and was not taken. */
  readonly install: (snapshot: ArrivedSnapshot) => Promise<boolean>;
  readonly onFailed: (error: unknown) => void;
}

interface Stream {
  readonly from: NodeId;
  readonly number: number;
  readonly mark: SnapshotMark;
  readonly source: Promise<SnapshotImport>;
  /** Chunks taken in, in order; each is acknowledged when it is kept. */
  next: number;
  kept: number;
  state: Ack['state'];
  heardMs: number;
}

/** As long as its sender would have tried: what has arrived takes memory and disk. */
const SILENT_MS_MAX = 120_000;

/**
 * Takes in one snapshot stream at a time. Chunks are kept in order; what comes too early, too late
 * or damaged is answered with where to go on.
 */
export class SnapshotReceiver {
  private stream: Stream | null = null;
  /** Imports are written, finished and dropped one after another. */
  private work: Promise<void> = Promise.resolve();

  constructor(private readonly parts: SnapshotReceiverParts) {}

  onChunk(chunk: Chunk): void {
    const present = this.parts.present();
    if (chunk.term < present.term) {
      this.answer(chunk, -1, 'refused');
      return;
    }
    const current = this.stream;
    if (current !== null && current.from === chunk.from && current.number === chunk.stream) {
      this.take(current, chunk);
      return;
    }
    if (chunk.sequence !== 0) {
      this.answer(chunk, -1, 'receiving');
      return;
    }
    // Nothing interrupts an installation: the sender tries again.
    if (current?.state === 'receiving' && current.next === Number.POSITIVE_INFINITY) return;
    if (chunk.mark.index <= present.appliedIndex) {
      this.answer(chunk, 0, 'installed');
      return;
    }
    this.take(this.begin(chunk), chunk);
  }

  /** Called now and then: drops what nobody goes on with, since its sender is gone. */
  tick(): void {
    const { stream } = this;
    if (stream?.state !== 'receiving' || stream.next === Number.POSITIVE_INFINITY) return;
    if (this.parts.clock.monotonicMs() - stream.heardMs < SILENT_MS_MAX) return;
    stream.state = 'refused';
    this.queue(async () => (await stream.source).abort());
  }

  /** Drops what has arrived; resolves when nothing is under way. */
  async close(): Promise<void> {
    const dropped = this.stream;
    this.stream = null;
    await this.work;
    if (dropped?.state === 'receiving') await (await dropped.source).abort();
  }

  private begin(chunk: Chunk): Stream {
    const dropped = this.stream;
    const source = this.work
      .then(async () => {
        if (dropped?.state === 'receiving') await (await dropped.source).abort();
      })
      .then(() => this.parts.state.importSnapshot(chunk.mark));
    this.queue(async () => void (await source));
    this.stream = {
      from: chunk.from,
      number: chunk.stream,
      mark: chunk.mark,
      source,
      next: 0,
      kept: -1,
      state: 'receiving',
      heardMs: this.parts.clock.monotonicMs(),
    };
    return this.stream;
  }

  private take(stream: Stream, chunk: Chunk): void {
    stream.heardMs = this.parts.clock.monotonicMs();
    if (stream.state !== 'receiving') {
      this.answer(chunk, stream.kept, stream.state);
      return;
    }
    if (chunk.sequence !== stream.next) {
      // Repeated because an acknowledgement was late or lost; or early, behind a lost one.
      this.answer(chunk, stream.kept, 'receiving');
      return;
    }
    if (this.parts.digest(chunk.data, 0) !== chunk.checksum) {
      this.answer(chunk, stream.kept, 'receiving');
      return;
    }
    stream.next = chunk.last ? Number.POSITIVE_INFINITY : chunk.sequence + 1;
    this.queue(async () => {
      if (this.stream !== stream) return;
      const source = await stream.source;
      if (stream.state !== 'receiving' || !(await isTaken(source, chunk))) {
        if (stream.state === 'receiving') await source.abort();
        stream.state = 'refused';
      } else if (chunk.last) {
        const { from, term } = chunk;
        const taken = await this.parts.install({ from, term, mark: stream.mark, source });
        stream.state = taken ? 'installed' : 'refused';
        if (!taken) await source.abort();
      }
      if (stream.state !== 'refused') stream.kept = chunk.sequence;
      this.answer(chunk, stream.kept, stream.state);
    });
  }

  private queue(action: () => Promise<void>): void {
    this.work = this.work.then(action).catch((error: unknown) => this.parts.onFailed(error));
  }

  private answer(chunk: Chunk, sequence: number, state: Ack['state']): void {
    this.parts.send({
      type: 'snapshot-ack',
      from: this.parts.id,
      to: chunk.from,
      term: this.parts.present().term,
      stream: chunk.stream,
      sequence,
      state,
    });
  }
}

/** False: what came is not what a sound node exports. That is the sender's trouble, and not this node's. */
async function isTaken(source: SnapshotImport, chunk: Chunk): Promise<boolean> {
  try {
    if (chunk.data.length > 0) await source.write(chunk.data);
  } catch (error) {
    if (!isMootError(error, 'BAD_MESSAGE') && !isMootError(error, 'DATA_CORRUPT')) throw error;
    return false;
  }
  return !chunk.last || source.isComplete;
}
