import { crc32 } from 'node:zlib';
import { MootError } from '../../src/base/errors.js';
import { seededRandom } from '../../src/base/random.js';
import type { Report } from '../../src/base/report.js';
import { systemClock } from '../../src/base/system-clock.js';
import type {
  ClientRequest,
  ClientResponse,
  QueryResponse,
  ReadLevel,
  Refusal,
  SubmitResponse,
  WatchEvent,
} from '../../src/codec/client-messages.js';
import type { Command, CommandValue } from '../../src/filesystem/commands.js';
import type { Query } from '../../src/filesystem/queries.js';
import type { Node, NodeConfig } from '../../src/node/node.js';
import type { NodeObserver } from '../../src/node/observer.js';
import { createNode } from '../../src/node/runtime.js';
import type { NodeId } from '../../src/raft/types.js';
import type { LogStore } from '../../src/storage/log-store.js';
import {
  createMemoryLogStore,
  createMemoryStateStore,
  type DiskOperation,
  MemoryDisk,
} from '../../src/storage/memory.js';
import { createMemoryNetwork, type MemoryNetwork } from '../../src/transport/memory.js';
import type { ClientConnection, ClientHandlers, Transport } from '../../src/transport/transport.js';
import { until } from './until.js';

export interface MemoryClusterOptions {
  readonly nodes: number;
  readonly config?: Partial<NodeConfig>;
  /** Who looks on at a node, and what stands between it and its transport. */
  readonly observer?: (id: NodeId) => NodeObserver;
  readonly around?: (id: NodeId, transport: Transport) => Transport;
  /** And between it and its log. */
  readonly aroundLog?: (id: NodeId, log: LogStore) => LogStore;
}

const CONFIG: Omit<NodeConfig, 'id' | 'address' | 'peers'> = {
  cluster: 'test',
  electionTimeoutMinMs: 150,
  electionTimeoutMaxMs: 300,
  heartbeatMs: 50,
  snapshotLogBytes: 67_108_864,
  snapshotLogEntries: 100_000,
  snapshotTailEntries: 1_000,
  sessionTimeoutMs: 60_000,
};

/**
 * Nodes n1, n2, … over memory stores and a memory network, in this process. A first start needs all
 * of them. The network's names are the nodes' ids, so that tests may cut and delay.
 */
export async function startMemoryCluster(options: MemoryClusterOptions): Promise<MemoryCluster> {
  const cluster = new MemoryCluster(options);
  await Promise.all(cluster.members.map((member) => member.start()));
  return cluster;
}

export class MemoryCluster {
  readonly network = createMemoryNetwork(systemClock, seededRandom(1));
  readonly members: readonly Member[];
  private readonly clients: Client[] = [];

  constructor(options: MemoryClusterOptions) {
    const ids = Array.from({ length: options.nodes }, (_, i) => `n${i + 1}`);
    const peers = ids.map((id) => ({ id, address: `${id}:1` }));
    this.members = peers.map(
      ({ id, address }) =>
        new Member(this.network, { ...CONFIG, ...options.config, id, address, peers }, options),
    );
  }

  member(id: NodeId): Member {
    const found = this.members.find((member) => member.id === id);
    if (found === undefined) throw new Error(`there is no node ${id}`);
    return found;
  }

  /** The running node that leads and whose first entry is applied. */
  leader(): Promise<Member> {
    return until(
      'a leader',
      () => {
        const leaders = this.running.filter((member) => member.node.status().role === 'leader');
        leaders.sort((a, b) => b.node.status().term - a.node.status().term);
        const status = leaders[0]?.node.status();
        return status !== undefined && status.appliedIndex > 0 ? leaders[0] : null;
      },
      this.describe,
    );
  }

  async followers(): Promise<Member[]> {
    const leader = await this.leader();
    return this.running.filter((member) => member !== leader);
  }

  get running(): Member[] {
    return this.members.filter((member) => member.running);
  }

  /** A client with a session of its own. */
  async client(name = 'test', holdsOpen = false): Promise<Client> {
    const client = new Client(this);
    this.clients.push(client);
    const value = await client.execute({ type: 'open-session', name, holdsOpen });
    if (value === null || !('session' in value)) throw new Error('no session was opened');
    client.session = value.session;
    return client;
  }

  /** For a test that waited in vain. */
  private readonly describe = (): string => {
    const stories = this.members.map((member) => {
      const status = member.running ? JSON.stringify(member.node.status()) : 'down';
      return `${member.id}: ${status}\n${member.reports.join('\n')}`;
    });
    return `\n${stories.join('\n')}`;
  };

  /** All running nodes have applied the same, and are equal in it. */
  async converged(): Promise<void> {
    await until(
      'equal state on all nodes',
      () => {
        const all = this.running.map((member) => member.node.status());
        const leader = all.find((status) => status.role === 'leader');
        return (
          leader !== undefined &&
          leader.appliedIndex === leader.lastIndex &&
          all.every(
            (status) =>
              status.appliedIndex === leader.appliedIndex && status.stateHash === leader.stateHash,
          )
        );
      },
      this.describe,
    );
  }

  /** Nothing reaches the member or comes from it. */
  isolate(member: Member): void {
    for (const { id } of this.members) {
      this.network.cut(id, member.id);
      this.network.cut(member.id, id);
    }
  }

  /** What was sent meanwhile is lost. */
  rejoin(member: Member): void {
    for (const { id } of this.members) {
      this.network.reset(id, member.id);
      this.network.heal(id, member.id);
      this.network.heal(member.id, id);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
  }
}

/** One node, its disk, and how to hurt it. */
export class Member {
  disk = this.newDisk();
  readonly reports: string[] = [];
  /** Every write fails, as on a disk that is full or broken. */
  diskFails = false;
  /** Writes that do not end before `resumeDisk`. */
  private hung: {
    readonly operations: ReadonlySet<DiskOperation>;
    readonly end: Promise<void>;
  } | null = null;
  resumeDisk: () => void = () => {};
  private present: Node | null = null;
  private seed = 0;

  constructor(
    private readonly network: MemoryNetwork,
    readonly config: NodeConfig,
    private readonly options: Pick<MemoryClusterOptions, 'observer' | 'around' | 'aroundLog'>,
  ) {}

  get id(): NodeId {
    return this.config.id;
  }
  get running(): boolean {
    return this.present !== null;
  }
  get node(): Node {
    if (this.present === null) throw new Error(`${this.id} does not run`);
    return this.present;
  }

  async start(changes: Partial<NodeConfig> = {}): Promise<void> {
    const { disk, options, id } = this;
    const config = { ...this.config, ...changes };
    const report: Report = (_, line) => this.reports.push(line);
    const transport = this.network.transport({ ...config, report });
    const log = createMemoryLogStore(disk);
    const node = createNode({
      config,
      log: options.aroundLog?.(id, log) ?? log,
      state: createMemoryStateStore(disk),
      transport: options.around?.(id, transport) ?? transport,
      ...(options.observer === undefined ? {} : { observer: options.observer(id) }),
      clock: systemClock,
      random: seededRandom(Number(this.id.slice(1)) * 1_000 + this.seed++),
      digest: crc32,
      diskSpace: async () => ({ totalBytes: 2 ** 40, freeBytes: 2 ** 39 }),
      version: '0.0.0',
      memoryBytes: () => 0,
      report,
    });
    try {
      await node.start();
    } catch (error) {
      await node.stop();
      throw error;
    }
    this.present = node;
  }

  async stop(): Promise<void> {
    const node = this.present;
    this.present = null;
    await node?.stop();
  }

  /** The machine loses its power: what was synced stays, all else is gone. */
  async kill(): Promise<void> {
    this.disk.crash();
    await this.stop();
  }

  /** The data directory is lost; the node must not run. */
  wipe(): void {
    this.disk = this.newDisk();
  }

  /** Writes of these kinds hang until `resumeDisk`. */
  hangDisk(...operations: readonly DiskOperation[]): void {
    const end = new Promise<void>((resolve) => {
      this.resumeDisk = () => {
        this.hung = null;
        resolve();
      };
    });
    this.hung = { operations: new Set(operations), end };
  }

  private newDisk(): MemoryDisk {
    return new MemoryDisk({
      beforeWrite: async (operation) => {
        if (this.hung?.operations.has(operation)) await this.hung.end;
        if (this.diskFails) throw new MootError('DISK_FAILED', 'the disk failed');
      },
    });
  }

  /** One request, answered by this node. */
  request(request: ClientRequest): Promise<ClientResponse> {
    return new Promise((resolve) => this.connect(resolve).onRequest(request));
  }

  connect(onResponse: (response: ClientResponse) => void): ClientHandlers {
    const connection: ClientConnection = { send: onResponse, queuedBytes: 0, close: () => {} };
    return this.node.connect(connection);
  }

  watch(fromIndex: number): WatchEvent[] {
    const events: WatchEvent[] = [];
    const handlers = this.connect((response) => {
      if (response.type === 'watch-event') events.push(response);
    });
    handlers.onRequest({ type: 'watch', id: 1, fromIndex });
    return events;
  }

  async query(query: Query, level: ReadLevel, minIndex = 0): Promise<QueryResponse | Refusal> {
    const response = await this.request({ type: 'query', id: 1, level, minIndex, query });
    if (response.type === 'query-reply' || response.type === 'refusal') return response;
    throw new Error(`a query was answered by ${response.type}`);
  }
}

/** A session that sends each command until it is decided, to whoever leads. */
export class Client {
  session = 0;
  sequence = 0;
  /** The index of the last answer. */
  index = 0;

  constructor(private readonly cluster: MemoryCluster) {}

  /** The value of a command that succeeds; otherwise throws its code. */
  async execute(command: Command): Promise<CommandValue> {
    if (this.session !== 0) this.sequence++;
    const response = await this.send(command, this.sequence);
    const { outcome } = response;
    if (outcome.type !== 'reply') throw new Error(outcome.type);
    if (!outcome.reply.ok) throw new Error(outcome.reply.code);
    return outcome.reply.value;
  }

  /** Under a sequence number of the caller's, again and again until the cluster decided. */
  async send(command: Command, sequence: number): Promise<SubmitResponse> {
    const response = await until(`${command.type} is decided`, async () => {
      const leader = await this.cluster.leader();
      const answer = await Promise.race([
        this.submitTo(leader, command, sequence),
        new Promise<null>((resolve) => setTimeout(resolve, 1_000, null)),
      ]);
      if (answer?.type === 'refusal' && answer.code === 'BAD_ARGUMENT')
        throw new Error(answer.message);
      return answer?.type === 'submit-reply' ? answer : null;
    });
    this.index = response.index;
    return response;
  }

  /** Sent once, to this node. */
  async submitTo(
    member: Member,
    command: Command,
    sequence: number,
    acknowledged = 0,
  ): Promise<SubmitResponse | Refusal> {
    const { session } = this;
    const request = { type: 'submit', id: 1, session, sequence, acknowledged, command } as const;
    const response = await member.request(request);
    if (response.type === 'submit-reply' || response.type === 'refusal') return response;
    throw new Error(`a command was answered by ${response.type}`);
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function makeFile(name: string): Command {
  const mode = 0o100644;
  return { type: 'make-node', parent: 1, name: bytes(name), mode, rdev: 0, uid: 0, gid: 0 };
}
