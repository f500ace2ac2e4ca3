import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import type { HandOut } from './hand-out.js';
import type { NodeState } from './node-state.js';
import type { Append, AppendReply, Heartbeat, NodeId } from './types.js';

/** What a node does with what its leader sends (thesis §3.5, §3.6). */
export class Following {
  constructor(
    private readonly node: NodeState,
    private readonly handOut: HandOut,
  ) {}

  onAppend(message: Append): void {
    if (!this.node.followLeader(message.from)) return;
    const { log } = this.node;
    const { prevIndex, prevTerm, entries } = message;
    this.checkCommitted(prevIndex, prevTerm);
    for (const { index, term } of entries) this.checkCommitted(index, term);
    const last = prevIndex + entries.length;
    // What is committed is the same everywhere: only what lies behind it is looked at.
    if (prevIndex > this.node.commitIndex && log.terms.termAt(prevIndex) !== prevTerm) {
      this.refuseAppend(message.from, prevIndex, prevTerm);
      return;
    }
    // Too far behind with applying: dropped as if the network had, and sent again in a while. What is
    // not committed must not count: more of it may be what a commit waits for.
    if (entries.length > 0 && this.handOut.unappliedBytes > this.node.config.uncommittedBytesMax)
      return;
    for (let i = Math.max(0, this.node.commitIndex - prevIndex); i < entries.length; i++) {
      const entry = entries[i];
      assert(entry !== undefined, 'entries have no holes');
      if (log.terms.termAt(entry.index) === entry.term) continue;
      if (entry.index <= log.lastIndex) {
        log.truncate(entry.index);
        // What an older leader is to hear may never have been on the disk.
        this.node.outbox.dropAppendReplies();
        this.node.configurations.truncate(entry.index);
      }
      log.append(entry);
      if (entry.kind === 'configuration') this.node.configurations.append(entry);
    }
    const match = Math.max(last, this.node.commitIndex);
    this.node.matchedIndex = Math.max(this.node.matchedIndex, match);
    this.node.commitTo(Math.min(message.commit, match));
    this.sendAppendReply(message.from, { prevIndex, match });
  }

  /**
   * What is committed here is committed everywhere, as long as all nodes are of one cluster. Another
   * one that goes by the same name must not be mixed with it.
   */
  private checkCommitted(index: number, term: number): void {
    if (index > this.node.commitIndex) return;
    const own = this.node.log.terms.termAt(index);
    if (own === null || own === term) return;
    throw new MootError(
      'DATA_CORRUPT',
      `entry ${index} is committed, with term ${own} here and ${term} at the leader '${this.node.leader}': ` +
        'they are of different clusters, or one of them has lost data',
    );
  }

  private refuseAppend(leader: NodeId, prevIndex: number, prevTerm: number): void {
    const { terms, lastIndex } = this.node.log;
    const hintIndex = Math.max(
      Math.min(this.node.commitIndex, lastIndex),
      terms.lastAtMost(Math.min(prevIndex, lastIndex), prevTerm),
    );
    this.node.outbox.sendDurably(
      {
        type: 'append-reply',
        ...this.node.sender(),
        to: leader,
        prevIndex,
        success: false,
        match: 0,
        hintIndex,
        hintTerm: terms.termAt(hintIndex) ?? 0,
        recovering: this.node.recovering,
      },
      0,
    );
  }

  sendAppendReply(to: NodeId, { prevIndex, match }: Pick<AppendReply, 'prevIndex' | 'match'>) {
    const { recovering } = this.node;
    const reply = { prevIndex, match, success: true, hintIndex: 0, hintTerm: 0, recovering };
    this.node.outbox.sendDurably(
      { type: 'append-reply', ...this.node.sender(), to, ...reply },
      match,
    );
  }

  onHeartbeat(message: Heartbeat): void {
    if (!this.node.followLeader(message.from)) return;
    // The leader says no more than what this node has acknowledged in this term. Acknowledgements
    // from before a restart are in the log; those from before a loss of the disk are not.
    const held = this.node.startedEmpty
      ? Math.max(this.node.matchedIndex, this.node.commitIndex)
      : this.node.log.lastIndex;
    if (message.commit <= held) this.node.commitTo(message.commit);
    // So it must look again.
    else this.refuseAppend(message.from, message.commit, this.node.term);
    const { recovering } = this.node;
    // To a leader's claim that it leads still, a node that forgot what it promised says nothing.
    const context = recovering ? 0 : message.context;
    const reply = {
      type: 'heartbeat-reply',
      ...this.node.sender(),
      to: message.from,
      context,
    } as const;
    this.node.outbox.sendDurably(reply, 0);
  }
}
