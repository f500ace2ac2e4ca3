import { type ErrorCode, MootError } from '../../src/base/errors.js';
import { type Random, seededRandom } from '../../src/base/random.js';
import type {
  ClientRequest,
  ClientResponse,
  NodeStatus,
  Refusal,
  SubmitResponse,
} from '../../src/codec/client-messages.js';
import type { LogCommand } from '../../src/filesystem/commands.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import type {
  ChannelHandlers,
  ClientConnection,
  ClientHandlers,
  Dialer,
} from '../../src/transport/transport.js';
import { FilesystemWorld } from './filesystem-world.js';

/** How often things go wrong, each as a probability per request. */
export interface FakeFaults {
  /** The connection ends before the request arrives. */
  cutBefore: number;
  /** The connection ends after the request took effect and before the answer. */
  cutAfter: number;
  /** The node refuses with BUSY. */
  busy: number;
  /** The node cannot say what became of the command; one time in two it took effect. */
  unknown: number;
  /** A copy of the command takes effect later once more, or for the first time (an old leader's tail). */
  lateCopy: number;
  /** Another node leads from now on. */
  newLeader: number;
}

export const NO_FAULTS: FakeFaults = {
  cutBefore: 0,
  cutAfter: 0,
  busy: 0,
  unknown: 0,
  lateCopy: 0,
  newLeader: 0,
};

/** A command that took effect, in the order of the log. */
export interface Happened extends Pick<LogCommand, 'session' | 'sequence' | 'command'> {
  readonly index: number;
}

interface Connection {
  readonly node: FakeNode;
  readonly handlers: ChannelHandlers;
  readonly watches: Map<number, number>;
  closed: boolean;
}

/**
 * A cluster as a client sees it, with the real state machine and no consensus: all nodes share one
 * log that is always committed. Who leads, who answers and what gets lost is up to the test.
 */
export class FakeCluster {
  readonly world = new FilesystemWorld();
  readonly nodes: readonly FakeNode[];
  readonly happened: Happened[] = [];
  readonly requests: { readonly node: string; readonly request: ClientRequest }[] = [];
  readonly events: { readonly index: number; readonly effects: readonly Effect[] }[] = [];
  faults: FakeFaults = NO_FAULTS;
  leader: FakeNode | null;
  term = 1;
  /** Events up to here are forgotten: watchers that come from before get a reset. */
  forgottenIndex = 0;
  private readonly connections = new Set<Connection>();

  constructor(
    size = 3,
    private readonly random: Random = seededRandom(1),
  ) {
    this.nodes = Array.from(
      { length: size },
      (_, i) => new FakeNode(`n${i + 1}`, `host${i + 1}:1`),
    );
    this.leader = this.node(0);
  }

  node(i: number): FakeNode {
    const node = this.nodes[i];
    if (node === undefined) throw new Error(`no node ${i}`);
    return node;
  }

  get addresses(): readonly string[] {
    return this.nodes.map((node) => node.address);
  }

  readonly dialer: Dialer = {
    dial: async (address, handlers, signal) => {
      await turn();
      const node = this.nodes.find((known) => known.address === address);
      if (node === undefined || node.down) throw new MootError('UNREACHABLE', 'refused');
      if (node.wrongCluster) throw new MootError('WRONG_CLUSTER', 'this is another cluster');
      if (node.frozen) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        throw new MootError('UNREACHABLE', 'given up');
      }
      const connection: Connection = { node, handlers, watches: new Map(), closed: false };
      this.connections.add(connection);
      return {
        queuedBytes: 0,
        send: (request) => setImmediate(() => this.receive(connection, request)),
        close: () => this.forget(connection),
      };
    },
  };

  /** The door of one node, as a process that runs the node has it. */
  connect(node: FakeNode, client: ClientConnection): ClientHandlers {
    const connection: Connection = {
      node,
      handlers: {
        onResponse: (response) => client.send(response),
        onClose: () => client.close('closed'),
      },
      watches: new Map(),
      closed: false,
    };
    this.connections.add(connection);
    return {
      onRequest: (request) => this.receive(connection, request),
      onClose: () => this.forget(connection),
    };
  }

  /** `node` leads in a later term; null: nobody does. */
  elect(node: FakeNode | null): void {
    this.leader = node;
    if (node !== null) this.term++;
  }

  /** The process is gone: its connections end and nobody listens. */
  kill(node: FakeNode): void {
    node.down = true;
    if (this.leader === node) this.elect(null);
    for (const connection of [...this.connections]) {
      if (connection.node === node) this.cut(connection);
    }
  }

  /** The process stops (SIGSTOP): connections stay, nothing is answered. */
  freeze(node: FakeNode): void {
    node.frozen = true;
    if (this.leader === node) this.elect(null);
  }

  /** Commands of any session that took effect, without sessions' own. */
  effective(): Happened[] {
    return this.happened.filter(
      ({ command }) => command.type === 'write' || command.type === 'make-node',
    );
  }

  private receive(connection: Connection, request: ClientRequest): void {
    const { node } = connection;
    if (connection.closed || node.frozen || node.down) return;
    this.requests.push({ node: node.id, request });
    if (this.chance(this.faults.newLeader)) {
      this.elect(this.node(Math.floor(this.random.next() * this.nodes.length)));
    }
    if (this.chance(this.faults.cutBefore)) {
      this.cut(connection);
      return;
    }
    const answer = this.answer(connection, request);
    if (this.chance(this.faults.cutAfter)) this.cut(connection);
    else if (answer !== null) this.respond(connection, answer);
  }

  private answer(connection: Connection, request: ClientRequest): ClientResponse | null {
    const { node } = connection;
    const { id } = request;
    switch (request.type) {
      case 'status':
        return { type: 'status-reply', id, status: this.statusOf(node) };
      case 'snapshot':
        return { type: 'snapshot-reply', id, index: this.world.index };
      case 'watch':
        connection.watches.set(id, request.fromIndex);
        setImmediate(() => this.feed(connection));
        return null;
      case 'query':
        if (request.level !== 'local' && this.leader === null) return this.refuse(id, 'NO_LEADER');
        return {
          type: 'query-reply',
          id,
          index: this.world.index,
          result: this.world.query(request.query),
        };
      case 'submit':
        if (this.leader !== node) return this.refuse(id, 'NOT_LEADER');
        if (node.forgetful) return null;
        if (this.chance(this.faults.busy)) return this.refuse(id, 'BUSY');
        if (this.chance(this.faults.unknown)) {
          if (this.chance(0.5)) this.apply(request);
          return this.refuse(id, 'OUTCOME_UNKNOWN');
        }
        if (this.chance(this.faults.lateCopy)) setTimeout(() => this.apply(request), 5);
        return {
          type: 'submit-reply',
          id,
          ...this.apply(request),
          index: this.world.index,
          traces: [],
          changes: null,
        };
      case 'unwatch':
        connection.watches.delete(id);
        return null;
      case 'lease':
        return { type: 'lease-reply', id, index: this.world.index, durationMs: 0 };
      case 'change-ack':
        return null;
      case 'members':
      case 'transfer':
        return this.refuse(id, 'BUSY');
    }
  }

  private apply(
    entry: Pick<LogCommand, 'session' | 'sequence' | 'acknowledged' | 'command'>,
  ): Pick<SubmitResponse, 'outcome' | 'repeated'> {
    const { session, sequence, acknowledged, command } = entry;
    const { outcome, effects } = this.world.apply(session, sequence, command, acknowledged);
    const { index } = this.world;
    this.events.push({ index, effects });
    for (const connection of this.connections) this.feed(connection);
    if (outcome.type === 'reply') this.happened.push({ session, sequence, command, index });
    const repeated = outcome.type === 'repeated';
    return 'reply' in outcome
      ? { outcome: { type: 'reply', reply: outcome.reply }, repeated }
      : { outcome, repeated };
  }

  /** Sends each watcher of the connection what it has not got. */
  private feed(connection: Connection): void {
    if (connection.closed || connection.node.frozen) return;
    for (const [id, fromIndex] of connection.watches) {
      const reset = fromIndex < this.forgottenIndex;
      if (reset) {
        const index = this.forgottenIndex;
        this.respond(connection, { type: 'watch-event', id, index, reset, effects: [] });
      }
      for (const event of this.events) {
        if (event.index <= Math.max(fromIndex, this.forgottenIndex)) continue;
        this.respond(connection, { type: 'watch-event', id, reset: false, ...event });
      }
      connection.watches.set(id, this.world.index);
    }
  }

  private respond(connection: Connection, response: ClientResponse): void {
    setImmediate(() => {
      if (!connection.closed && !connection.node.frozen) connection.handlers.onResponse(response);
    });
  }

  private refuse(id: number, code: ErrorCode): Refusal {
    const { leader } = this;
    return {
      type: 'refusal',
      id,
      code,
      message: code,
      leader: leader === null ? null : { id: leader.id, address: leader.address },
    };
  }

  private cut(connection: Connection): void {
    if (this.forget(connection)) setImmediate(() => connection.handlers.onClose());
  }

  private forget(connection: Connection): boolean {
    connection.closed = true;
    return this.connections.delete(connection);
  }

  private chance(probability: number): boolean {
    return probability > 0 && this.random.next() < probability;
  }

  private statusOf(node: FakeNode): NodeStatus {
    return {
      version: '0',
      cluster: 'fake',
      id: node.id,
      address: node.address,
      role: this.leader === node ? 'leader' : 'follower',
      term: this.term,
      leader: this.leader?.id ?? null,
      recovering: false,
      commitIndex: this.world.index,
      appliedIndex: this.world.index,
      lastIndex: this.world.index,
      snapshotIndex: 0,
      stateHash: '00000000',
      inodes: 1,
      bytes: 0,
      sessions: this.world.counters.sessions.map((id) => ({ id, name: '' })),
      sessionCount: this.world.counters.sessions.length,
      peers: this.nodes
        .filter((peer) => peer !== node)
        .map(({ id, address, down }) => ({ id, address, connected: !down })),
      followers: [],
      control: null,
      uptimeMs: 0,
      memoryBytes: 0,
      configuration: {
        voters: this.nodes.map(({ id, address }) => ({ id, address })),
        outgoing: [],
        learners: [],
        removed: [],
        incarnation: 1,
      },
      leaseMs: 200,
      sessionTimeoutMs: 60_000,
      writeConcern: 'majority',
      liveVoters: [],
    };
  }
}

export class FakeNode {
  down = false;
  frozen = false;
  wrongCluster = false;
  /** Commands are taken, and nobody ever hears of them again. */
  forgetful = false;

  constructor(
    readonly id: string,
    readonly address: string,
  ) {}
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
