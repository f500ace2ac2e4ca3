import { isJoint, membersOf } from '../../src/raft/membership.js';
import { ensure } from './laws.js';
import type { Server } from './server.js';
import type { World } from './world.js';

/** What a command takes when nothing happens is learned for so long before, once clients have sessions. */
const NORMAL_MS = 4_000;
/** While nodes are restarted one by one, no command waits longer than the longest did before, and this. */
const RESTART_MS_MAX = 100;
/** While members change, none waits longer than that, the longest election timeout, and leases of another leader. */
const LEASES_MS = 200;
/** With write concern `all` whoever is away is waited for, and as the README says, for so long. */
const ALL_MS_MAX = 3_000;
const LOOK_MS = 50;
/** While members come and go, the operator leaves clients time to hear of them (client/cluster.ts). */
const REST_MS = 1_100;
const GROWTH = [3, 5, 3, 1];

/**
 * What an operator does in good order, and nothing else happens: each step waits until all is well again. The
 * laws are about how long commands of clients wait, from the call to the answer, in virtual time.
 */
export class Orderly {
  private startedMs = 0;
  private isThrough = false;
  private allowedMs = 0;

  constructor(private readonly world: World) {}

  async restart(downMs: number): Promise<void> {
    this.begin(RESTART_MS_MAX);
    for (const server of [...this.world.servers]) {
      if (this.isOver) return;
      server.stop(true);
      while (server.running && !this.isOver) await this.sleep(1);
      await this.sleep(downMs);
      server.start();
      await this.well();
    }
    this.isThrough = !this.isOver;
  }

  async growAndShrink(): Promise<void> {
    const { world } = this;
    const { electionTimeoutMaxMs } = world.common;
    this.begin(RESTART_MS_MAX + electionTimeoutMaxMs + LEASES_MS);
    for (const size of GROWTH) {
      while (this.members.length !== size) {
        if (this.isOver) return;
        const { operator } = world.trouble;
        if (this.members.length < size) await operator.addOne();
        else {
          const leaver = world.pick(this.members);
          // Who leads leaves, too.
          if (world.chance(0.5)) await operator.transferTo(leaver);
          await operator.removeOne(leaver);
        }
        await this.well();
        await this.sleep(REST_MS);
      }
    }
    world.tell('grown and shrunk');
    this.isThrough = !this.isOver;
  }

  judge(): void {
    if (this.startedMs === 0) return;
    ensure(this.isThrough, 'what is done in good order does not come to its end');
    const { operations } = this.world.history;
    const commands = operations.filter(({ request }) => request.type === 'command');
    const nowMs = this.world.loop.nowMs;
    let normalMs = 0;
    for (const { invokedMs, endedMs } of commands) {
      if (invokedMs < this.startedMs - NORMAL_MS || invokedMs >= this.startedMs) continue;
      normalMs = Math.max(normalMs, (endedMs ?? nowMs) - invokedMs);
    }
    for (const { client, invokedMs, endedMs } of commands) {
      const waitedMs = (endedMs ?? nowMs) - invokedMs;
      if (invokedMs < this.startedMs) continue;
      ensure(
        waitedMs <= normalMs + this.allowedMs,
        `${client} waits ${waitedMs.toFixed(1)} ms from ${invokedMs.toFixed(1)}, usually up to ${normalMs.toFixed(1)}`,
      );
    }
  }

  private begin(allowedMs: number): void {
    this.startedMs = this.world.loop.nowMs;
    this.allowedMs = this.world.common.writeConcern === 'all' ? ALL_MS_MAX : allowedMs;
  }

  private get isOver(): boolean {
    return this.world.hasFailed || this.world.trouble.hasEnded;
  }

  private get members(): Server[] {
    const members = membersOf(this.world.reference.configuration);
    return this.world.servers.filter(({ id }) => members.some((one) => one.id === id));
  }

  /** Every member has come to what is committed now, and somebody leads them. */
  private async well(): Promise<void> {
    const { index } = this.world.reference;
    const isWell = ({ status }: Server) =>
      status !== null &&
      !status.recovering &&
      status.appliedIndex >= index &&
      status.leader !== null &&
      !isJoint(status.configuration);
    do await this.sleep(LOOK_MS);
    while (!this.isOver && !this.members.every(isWell));
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.world.loop.after(ms * 1_000, 'order', resolve));
  }
}
