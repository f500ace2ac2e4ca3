import { describe, isMootError } from '../../src/base/errors.js';
import { membersOf } from '../../src/raft/membership.js';
import type { Configuration, MemberChange } from '../../src/raft/types.js';
import type { SimClient } from './client.js';
import { newestConfiguration } from './laws.js';
import type { Server } from './server.js';
import type { World } from './world.js';

/** Nodes that are no members for ever, and all others: each costs the world its time. */
const SERVERS_MAX = 14;
const MEMBERS_MAX = 7;
/** Fewer voters than these cannot do without one disk. */
const VOTERS_WITH_SPARE = 3;

/**
 * Whoever runs the simulated cluster: makes nodes and unmakes them, by the same requests as the
 * command line, and knows when it is safe to replace a disk.
 */
export class Operator {
  private client: SimClient | null = null;
  /** Nodes are about to leave: until that is done or given up, no disk is to spare. */
  private leaving = 0;

  constructor(private readonly world: World) {}

  /** A new node joins, in the place of another one or besides. */
  add(replaced: Server | null): void {
    const { servers } = this.world;
    const inUse = servers.filter(({ retired }) => !retired);
    if (servers.length >= SERVERS_MAX || inUse.length >= MEMBERS_MAX) return;
    const server = this.world.newServer();
    server.start();
    const { id, address } = server.options.config;
    const change = { type: 'add', id, address, promote: true } as const;
    if (replaced === null) void this.change({ ...change, replaces: null });
    else this.leaves(replaced, { ...change, replaces: replaced.id });
  }

  /** Resolves when that is done, or given up. */
  async addOne(): Promise<void> {
    const server = this.world.newServer();
    server.start();
    const { id, address } = server.options.config;
    await this.change({ type: 'add', id, address, promote: true, replaces: null });
  }

  removeOne({ id }: Server): Promise<void> {
    return this.change({ type: 'remove', id });
  }

  remove(server: Server): void {
    this.leaves(server, { type: 'remove', id: server.id });
  }

  transfer(to: Server | null): void {
    void this.transferTo(to);
  }

  transferTo(to: Server | null): Promise<void> {
    return this.asked('transfer', (client) => client.client.transferLeadership(to?.id ?? null));
  }

  /** Unless the cluster has ever done what it asked: then it has met that one. */
  leaveUnmet(): void {
    if (this.client === null || this.client.wasAnswered) return;
    this.world.endClient(this.client, false);
    this.client = null;
  }

  /** Every configuration that counts or may come to count. */
  get configurations(): readonly Configuration[] {
    const { servers, reference } = this.world;
    const behind = servers.flatMap((server) => {
      const newest = newestConfiguration(server);
      return newest !== null && newest.index > reference.index ? [newest.configuration] : [];
    });
    return [reference.configuration, ...behind];
  }

  /** By what anybody may come to decide. */
  isMember(server: Server): boolean {
    return this.configurations.some((one) => membersOf(one).some(({ id }) => id === server.id));
  }

  /** There are enough others: a majority does not need this disk. */
  hasSpareDisk(): boolean {
    return this.leaving === 0 && !this.isNeeded();
  }

  /** Fewer could not do without any one disk. */
  isNeeded(): boolean {
    return !this.configurations.every(
      ({ voters, outgoing }) =>
        voters.length >= VOTERS_WITH_SPARE &&
        (outgoing.length === 0 || outgoing.length >= VOTERS_WITH_SPARE),
    );
  }

  /** Not while another one's disk is lost or damaged: two of three lost are a majority. */
  private leaves(leaver: Server, change: MemberChange): void {
    const others = this.world.servers.filter((one) => one !== leaver && this.isMember(one));
    if (!others.every(isWhole)) return;
    this.leaving++;
    void this.change(change).finally(() => {
      this.leaving--;
    });
  }

  private change(change: MemberChange): Promise<void> {
    return this.asked(change.type, (client) => client.client.changeMembers(change));
  }

  private async asked(what: string, ask: (client: SimClient) => Promise<unknown>): Promise<void> {
    const { world } = this;
    this.client ??= world.newOperatorClient();
    const { client } = this;
    const outcome = await ask(client).then(
      () => {
        client.wasAnswered = true;
        return 'is done';
      },
      (error: unknown) => {
        if (!isMootError(error)) world.wrong(error);
        return describe(error);
      },
    );
    world.tell(`the operator's ${what}: ${outcome}`);
  }
}

/** It has been a part of the cluster, and nothing of that is lost. */
export function isWhole({ disk }: Server): boolean {
  const { hardState } = disk.memory.log;
  return hardState?.recovering === false && hardState.term > 0 && !disk.isDamaged;
}
