import { crc32 } from 'node:zlib';
import { seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { createInProcessDialer } from '../../src/client/in-process.js';
import type { Node } from '../../src/node/node.js';
import { createNode } from '../../src/node/runtime.js';
import {
  createMemoryLogStore,
  createMemoryStateStore,
  MemoryDisk,
} from '../../src/storage/memory.js';
import type { DialerOptions } from '../../src/transport/dialer.js';
import { createMemoryNetwork } from '../../src/transport/memory.js';
import { MetCluster } from '../../src/transport/met-cluster.js';
import type { Dialer, Transport } from '../../src/transport/transport.js';
import {
  createWebSocketDialer,
  createWebSocketTransport,
  type TransportOptions,
} from '../../src/transport/ws.js';
import { freeAddresses } from './ports.js';

const CLUSTER = 'test';
const SIZE = 3;

/** What the nodes of a cluster and its clients speak over. */
export interface TestNetwork {
  readonly transport: (options: TransportOptions) => Transport;
  readonly dialer: (options: DialerOptions) => Dialer;
  readonly addresses: readonly string[];
}

export function memoryNetwork(): TestNetwork {
  const network = createMemoryNetwork(systemClock, seededRandom(1));
  return { ...network, addresses: Array.from({ length: SIZE }, (_, i) => `n${i + 1}:1`) };
}

export async function webSocketNetwork(): Promise<TestNetwork> {
  return {
    transport: createWebSocketTransport,
    dialer: createWebSocketDialer,
    addresses: await freeAddresses(SIZE),
  };
}

/** Three real nodes with memory stores, for clients to be tested with. */
export class ClientCluster {
  readonly nodes: readonly Node[];
  private readonly stopped = new Set<Node>();

  constructor(private readonly network: TestNetwork) {
    const peers = network.addresses.map((address, i) => ({ id: `n${i + 1}`, address }));
    this.nodes = peers.map(({ id, address }, i) => {
      const disk = new MemoryDisk();
      return createNode({
        config: {
          cluster: CLUSTER,
          id,
          address,
          peers,
          electionTimeoutMinMs: 150,
          electionTimeoutMaxMs: 300,
          heartbeatMs: 50,
          snapshotLogBytes: 67_108_864,
          snapshotLogEntries: 100_000,
          snapshotTailEntries: 1_000,
          sessionTimeoutMs: 60_000,
        },
        log: createMemoryLogStore(disk),
        state: createMemoryStateStore(disk),
        transport: network.transport({ cluster: CLUSTER, id, address, peers, report: () => {} }),
        clock: systemClock,
        random: seededRandom(i + 1),
        digest: (bytes, seed) => crc32(bytes, seed),
        diskSpace: async () => ({ totalBytes: 2 ** 40, freeBytes: 2 ** 39 }),
        version: '0',
        memoryBytes: () => 0,
        report: () => {},
      });
    });
  }

  async start(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()));
  }

  dialer(met = new MetCluster(CLUSTER)): Dialer {
    return this.network.dialer({ cluster: CLUSTER, name: 'client', met });
  }

  /** A client's in the process of that node. */
  dialerIn(node: Node): Dialer {
    const met = new MetCluster(CLUSTER);
    return createInProcessDialer(node, node.status().address, this.dialer(met), met);
  }

  /** The addresses, one of a node that does not lead first. */
  async addresses(): Promise<readonly string[]> {
    const leader = await this.leader();
    return [
      ...this.network.addresses.filter((_, i) => this.nodes[i] !== leader),
      leader.status().address,
    ];
  }

  async leader(): Promise<Node> {
    for (;;) {
      const leader = this.nodes.find(
        (node) => !this.stopped.has(node) && node.status().role === 'leader',
      );
      if (leader !== undefined) return leader;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async stop(node: Node): Promise<void> {
    this.stopped.add(node);
    await node.stop();
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.stop(node)));
  }
}
