import type { WriteConcern } from '../codec/client-messages.js';
import { ClusterLink } from '../control/cluster-link.js';
import type { DirectorDocument } from '../control/director-document.js';
import type { NodeDocument } from '../control/document.js';
import type { NodeEvent } from '../control/events.js';
import { ControlLink } from '../control/link.js';
import { Operations, type Processes } from '../control/operations.js';
import { History } from './history.js';
import { openSocket } from './socket.js';

/** Everything the page knows, and how it acts. */
export class Store {
  readonly history = new History();
  readonly cluster: ClusterLink;
  director: ControlLink<DirectorDocument, never> | null = null;
  directed: DirectorDocument | null = null;
  /** The slider: null is now. */
  lookingAtMs: number | null = null;
  selected: string | null = null;
  problem: string | null = null;
  /** Nodes that have told, or are asked, what was before. */
  private readonly known = new Set<string>();
  private readonly listeners = new Set<() => void>();

  constructor(controls: readonly string[], directorAddress: string | null) {
    this.cluster = new ClusterLink(controls, openSocket, {
      onDocument: (document) => {
        this.history.saw(document, true, performance.now());
        if (!this.known.has(document.id)) void this.askForThePast(document);
        if (document.director !== null) this.joinDirector(document.director);
        this.changed();
      },
      onEvents: (id, events) => {
        this.history.told(id, events, performance.now());
        this.changed();
      },
      onDown: (id) => {
        this.history.saw(this.cluster.get(id).document, false, performance.now());
        this.changed();
      },
    });
    if (directorAddress !== null) this.joinDirector(directorAddress);
  }

  get operations(): Operations {
    const { director } = this;
    const processes: Processes = {
      crash: async (id) => void (await director?.call('crash', { id })),
      recover: async (id) => void (await director?.call('recover', { id }, 60_000)),
    };
    return new Operations(this.cluster, director === null ? null : processes);
  }

  get atMs(): number {
    return this.lookingAtMs ?? performance.now();
  }

  /** Any node allows faults. */
  get allowsFaults(): boolean {
    return this.cluster.nodes.some(({ document }) => document.faults.allowed);
  }

  /** The cluster's; null: nobody has said it yet. */
  get writeConcern(): WriteConcern | null {
    return this.cluster.nodes[0]?.document.writeConcern ?? null;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed(): void {
    for (const listener of this.listeners) listener();
  }

  /** Does something and shows why it could not be done. */
  act(action: () => Promise<unknown>): void {
    this.problem = null;
    action().catch((error: unknown) => {
      this.problem = error instanceof Error ? error.message : String(error);
      this.changed();
    });
    this.changed();
  }

  private async askForThePast({ id, at }: NodeDocument): Promise<void> {
    this.known.add(id);
    const awayMs = at - performance.now();
    try {
      // The node is of the page's own version. What came after its document it told itself.
      const events = (await this.cluster.call(id, 'events')) as readonly NodeEvent[];
      const before = events.filter((event) => event.at < at);
      this.history.remembers(id, before, awayMs);
      this.changed();
    } catch {
      this.known.delete(id);
    }
  }

  private joinDirector(address: string): void {
    if (this.director !== null) return;
    this.director = new ControlLink<DirectorDocument, never>(address, openSocket, {
      onDocument: (document) => {
        this.directed = document;
        this.changed();
      },
      onEvents: () => undefined,
    });
  }
}

/** The page may come from a node or from whoever started the nodes. */
export async function openStore(): Promise<Store> {
  const response = await fetch('/api/status');
  const document = (await response.json()) as NodeDocument | DirectorDocument;
  if ('scenes' in document) {
    const controls = document.nodes.flatMap(({ control }) => (control === null ? [] : [control]));
    return new Store(controls, location.host);
  }
  return new Store([location.host], null);
}
