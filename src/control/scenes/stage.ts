import { isMootError, MootError } from '../../base/errors.js';
import type { FilesystemClient } from '../../client/filesystem-client.js';
import { Paths } from '../../client/paths.js';
import type { ReadLevel } from '../../codec/client-messages.js';
import type { ClusterLink } from '../cluster-link.js';
import type { NodeDocument } from '../document.js';
import type { NodeEvent } from '../events.js';
import type { Operations } from '../operations.js';

/** An expectation that does not come true within this fails its scene; nothing waits longer than it must. */
const EXPECT_MS = 30_000;
/** How often an expectation is looked at. */
const LOOK_MS = 25;

/** Makes a client that begins with these nodes and reaches those that `reaches` allows. */
export type ClientFactory = (options: {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly deadlineMs: number;
  readonly reaches: (address: string) => boolean;
}) => FilesystemClient;

/** Far more than any scene makes. */
const EVENTS_MAX = 10_000;

/** What scenes look at: heartbeats and the like would bury it. */
function isTold(event: NodeEvent): boolean {
  switch (event.type) {
    case 'role':
    case 'vote':
    case 'truncated':
      return true;
    case 'messages':
      return event.entries > 0;
    default:
      return false;
  }
}

export interface SceneLine {
  /** What is said, what is waited for, what came true, and what did not. */
  readonly kind: 'say' | 'wait' | 'true' | 'false';
  readonly text: string;
}

/** How fast a scene goes. */
export interface Pace {
  /** Called between two steps; resolves when the next may begin. */
  next(): Promise<void>;
  readonly signal: AbortSignal;
}

/** Where a scene plays: a real cluster, and what the scene may do with it. */
export class Stage {
  private readonly clients: FilesystemClient[] = [];
  private readonly seen: { readonly id: string; readonly event: NodeEvent }[] = [];

  constructor(
    readonly cluster: ClusterLink,
    readonly operations: Operations,
    private readonly makeClient: ClientFactory,
    private readonly pace: Pace,
    private readonly onLine: (line: SceneLine) => void,
  ) {}

  /** What the nodes tell; the owner of the cluster's link hands it on. */
  onEvents(id: string, events: readonly NodeEvent[]): void {
    for (const event of events) if (isTold(event)) this.seen.push({ id, event });
    // A scene may be paused for hours.
    if (this.seen.length > EVENTS_MAX) this.seen.splice(0, this.seen.length - EVENTS_MAX / 2);
  }

  /** Roles, votes, truncations and entries on their way, since the scene began. */
  get events(): readonly { readonly id: string; readonly event: NodeEvent }[] {
    return this.seen;
  }

  /** One sentence for those who look on. */
  async say(text: string): Promise<void> {
    await this.pace.next();
    this.onLine({ kind: 'say', text });
  }

  /** Waits until `probe` gives something; the scene fails when it does not in time. */
  async expect<T>(
    text: string,
    probe: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  ): Promise<T> {
    this.onLine({ kind: 'wait', text });
    for (const endMs = performance.now() + EXPECT_MS; ; ) {
      this.pace.signal.throwIfAborted();
      const value = await probe();
      if (value !== null && value !== undefined && value !== false) {
        this.onLine({ kind: 'true', text });
        return value;
      }
      if (performance.now() > endMs) {
        this.onLine({ kind: 'false', text });
        throw new MootError('CLOSED', `it did not come true that ${text}; ${this.describe()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** What `probe` gives within so long; null: nothing. Nobody is told. */
  until<T>(probe: () => T | null | false, timeoutMs: number): Promise<T | null> {
    return this.cluster.until(probe, timeoutMs, this.pace.signal);
  }

  /** All well: nothing is dead, slow or cut, and one node leads all. */
  async prepare(nodesMin: number): Promise<NodeDocument> {
    const count = this.cluster.nodes.length;
    if (count < nodesMin) {
      throw new MootError(
        'BAD_ARGUMENT',
        `this scene needs ${nodesMin} nodes, and there are ${count}`,
      );
    }
    await this.operations.repair();
    const leader = await this.expect('all nodes are well and follow one leader', () =>
      this.settledLeader(),
    );
    this.seen.length = 0;
    return leader;
  }

  node(id: string): NodeDocument {
    return this.cluster.get(id).document;
  }

  /** The ids of all nodes but these, in order. */
  others(...ids: readonly string[]): readonly string[] {
    return this.operations.ids.filter((id) => !ids.includes(id));
  }

  /** The leader that all who can be reached follow, and that has committed something in its term. */
  settledLeader(): NodeDocument | null {
    const { leader, documents, nodes } = this.cluster;
    if (leader === null || documents.length < nodes.length) return null;
    const settled = documents.every(
      (document) =>
        document.leader === leader.id &&
        document.term === leader.term &&
        document.appliedIndex >= leader.lastIndex,
    );
    return settled ? leader : null;
  }

  /** All have applied the same commands with the same result. */
  equal(): boolean {
    const states = this.cluster.documents.map((d) => `${d.appliedIndex} ${d.stateHash}`);
    return new Set(states).size === 1 && states.length === this.cluster.nodes.length;
  }

  /** A client that reaches only these nodes. */
  client(name: string, ids: readonly string[], deadlineMs = EXPECT_MS): SceneClient {
    const addresses = ids.map((id) => this.node(id).address);
    const reach = { all: false };
    const reaches = (address: string) => reach.all || addresses.includes(address);
    const client = this.makeClient({ name, addresses, deadlineMs, reaches });
    this.clients.push(client);
    return new SceneClient(client, reach);
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
  }

  private describe(): string {
    return this.cluster.nodes
      .map(({ document: d, up }) => {
        if (!up) return `${d.id} is down`;
        return `${d.id} is ${d.role} in term ${d.term}, commit ${d.commitIndex}, last ${d.lastIndex}`;
      })
      .join('; ');
  }
}

const FILE = { mode: 0o644, uid: 0, gid: 0 };

/** A client with files to write to. */
export class SceneClient {
  constructor(
    private readonly client: FilesystemClient,
    private readonly reach: { all: boolean },
  ) {}

  /** Ends what it was asked to do, and does not wait for. */
  close(): Promise<void> {
    return this.client.close();
  }

  /** The network between it and the other nodes is whole again. */
  reachAll(): void {
    this.reach.all = true;
  }

  /** Makes the file, empty; resolves to its inode. */
  async make(path: string): Promise<number> {
    return (await new Paths(this.client).put(path, pieces(''), FILE)).ino;
  }

  /** One command: the file's first bytes are this text. */
  async set(ino: number, text: string): Promise<void> {
    await this.client.execute({ type: 'write', ino, offset: 0, data: bytes(text) });
  }

  async append(ino: number, text: string): Promise<void> {
    await this.client.execute({ type: 'write', ino, offset: 0, data: bytes(text), append: true });
  }

  /** The file's content; null when it is not there. */
  async read(path: string, level: ReadLevel): Promise<string | null> {
    try {
      const decoder = new TextDecoder();
      let text = '';
      for await (const part of new Paths(this.client, { level }).read(path)) {
        text += decoder.decode(part, { stream: true });
      }
      return text;
    } catch (error) {
      if (isMootError(error, 'ENOENT')) return null;
      throw error;
    }
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  yield bytes(text);
}
