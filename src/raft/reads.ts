import type { NodeState } from './node-state.js';
import type { Reader } from './read-index.js';
import type { NodeId, ReadConfirmation, ReadIndexReply, ReadIndexRequest } from './types.js';

/** The context of a recovering node's own read request; a runtime's are its own, so never negative. */
const RECOVERY_CONTEXT = -1;

/** Read indexes: asked for here, at a leader by others, and answered by rounds of heartbeats (thesis §6.4). */
export class Reads {
  confirmations: ReadConfirmation[] = [];

  constructor(
    private readonly node: NodeState,
    /** The answer to `askForRecovery`; 0: there is none. */
    private readonly onRecoveryIndex: (index: number) => void,
  ) {}

  /** A recovering node's own request. */
  askForRecovery(): void {
    this.node.forwards.ask(RECOVERY_CONTEXT);
  }

  readIndex(context: number): void {
    if (this.node.replication !== null) this.node.replication.reads.ask({ from: null, context });
    else if (this.node.leader !== null) this.node.forwards.ask(context);
    else this.answer([context], 0);
    this.markDue();
  }

  onReadIndex({ from, context }: ReadIndexRequest): void {
    if (this.node.replication === null) {
      this.refuseRead({ from, context });
      return;
    }
    this.node.replication.reads.ask({ from, context });
    this.markDue();
  }

  onReadIndexReply(message: ReadIndexReply): void {
    if (message.from === this.node.leader) {
      this.answer(this.node.forwards.answered(message.context), message.index);
    }
  }

  flushReads(): void {
    const { replication, leader } = this.node;
    if (replication !== null) {
      // Before that it does not know what the leaders before it have committed.
      if (this.node.hasCommittedInTerm && replication.reads.canBegin) {
        replication.beginReadRound(this.node.commitIndex);
        // A majority of one.
        this.finishReadRound();
      }
    } else if (leader !== null && this.node.forwards.canFlush) {
      const context = this.node.forwards.flush(this.node.ticks + this.node.config.electionTicksMin);
      this.node.outbox.sendDurably(
        { type: 'read-index', ...this.node.sender(), to: leader, context },
        0,
      );
    }
  }

  finishReadRound(): void {
    const done = this.node.replication?.endReadRound() ?? null;
    if (done === null) return;
    this.answerReaders(done.readers, done.index);
    this.markDue();
  }

  private markDue(): void {
    if (this.node.replication !== null) this.node.replication.due = true;
  }

  answerReaders(readers: readonly Reader[], index: number): void {
    for (const { from, context } of readers) {
      if (from === null) this.confirmations.push({ context, index });
      else this.replyToRead(from, context, index);
    }
  }

  answer(contexts: readonly number[], index: number): void {
    for (const context of contexts) {
      if (context === RECOVERY_CONTEXT) this.onRecoveryIndex(index);
      else this.confirmations.push({ context, index });
    }
  }

  refuseRead({ from, context }: { from: NodeId; context: number }): void {
    this.replyToRead(from, context, 0);
  }

  private replyToRead(to: NodeId, context: number, index: number): void {
    this.node.outbox.sendDurably(
      { type: 'read-index-reply', ...this.node.sender(), to, context, index },
      0,
    );
  }
}
