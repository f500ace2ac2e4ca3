import type { Elections } from './elections.js';
import type { NodeState } from './node-state.js';
import type { Replication } from './replication.js';
import type { NodeId, TimeoutNow, TransferResult } from './types.js';

/** Handing leadership over (thesis §3.10). */
export class Transfers {
  constructor(
    private readonly node: NodeState,
    private readonly elections: Elections,
  ) {}

  transferLeadership(to: NodeId | null, { grantsOver } = { grantsOver: false }): TransferResult {
    const { replication, configuration } = this.node;
    if (replication === null) {
      return { ok: false, reason: 'not-leader', message: 'this node does not lead' };
    }
    if (to === this.node.config.id) return { ok: true, to };
    if (this.node.transfer !== null) {
      if (to === null || to === this.node.transfer.to)
        return { ok: true, to: this.node.transfer.to };
      const message = `leadership is being handed over to '${this.node.transfer.to}'`;
      return { ok: false, reason: 'busy', message };
    }
    const { voters } = configuration;
    const target = to ?? replication.bestSuccessor(voters);
    if (target === null) {
      return { ok: false, reason: 'refused', message: 'no other voter could take over' };
    }
    if (!voters.some(({ id }) => id === target)) {
      return { ok: false, reason: 'refused', message: `'${target}' is no voter` };
    }
    const deadline = this.node.ticks + this.node.config.electionTicksMax;
    this.node.transfer = { to: target, deadline, grantsOver };
    this.handOver(replication);
    return { ok: true, to: target };
  }

  handOver(replication: Replication): void {
    const { transfer } = this.node;
    if (transfer === null || !replication.hasWholeLog(transfer.to)) return;
    const { to, grantsOver } = transfer;
    this.node.outbox.sendDurably({ type: 'timeout-now', ...this.node.sender(), to, grantsOver }, 0);
  }

  onTimeoutNow(message: TimeoutNow): void {
    if (!this.node.followLeader(message.from) || this.node.recovering || !this.node.mayStand)
      return;
    this.elections.startElection({ transfer: true });
    // No other leader can have been between.
    if (message.grantsOver) this.node.grantsOverTerm = this.node.term;
  }
}
