import { MootError } from '../base/errors.js';
import type { NodeDocument } from './document.js';
import type { NodeEvent } from './events.js';
import { ControlLink, type Socket } from './link.js';

/** How often a condition is looked at. */
const LOOK_MS = 20;

export interface ClusterListener {
  onEvents?(id: string, events: readonly NodeEvent[], lost: number): void;
  onDocument?(document: NodeDocument): void;
  /** The node's control server is not reached any more. */
  onDown?(id: string): void;
}

/** One node, as it is seen over its control port. */
export interface SeenNode {
  readonly address: string;
  readonly link: ControlLink<NodeDocument, NodeEvent>;
  /** The last it said of itself. */
  document: NodeDocument | null;
  readonly up: boolean;
}

/** Watches every node of a cluster, starting from those whose control addresses are given. */
export class ClusterLink {
  private readonly byAddress = new Map<string, SeenNode>();

  constructor(
    addresses: readonly string[],
    private readonly open: (url: string) => Socket,
    private readonly listener: ClusterListener = {},
  ) {
    for (const address of addresses) this.add(address);
  }

  /** Those that have said who they are, in the order of their names. */
  get nodes(): readonly (SeenNode & { readonly document: NodeDocument })[] {
    const known = [...this.byAddress.values()].filter(isKnown);
    const byId = new Map(known.map((node) => [node.document.id, node]));
    // The same node by two addresses counts once; the one that is up.
    for (const node of known) if (node.up) byId.set(node.document.id, node);
    return [...byId.values()].sort((a, b) => compareIds(a.document.id, b.document.id));
  }

  /** What those say that can be reached. */
  get documents(): readonly NodeDocument[] {
    return this.nodes.filter((node) => node.up).map((node) => node.document);
  }

  /** Of the highest term, among those that can be reached. */
  get leader(): NodeDocument | null {
    const leaders = this.documents.filter((document) => document.role === 'leader');
    return leaders.sort((a, b) => b.term - a.term)[0] ?? null;
  }

  get(id: string): SeenNode & { readonly document: NodeDocument } {
    const node = this.nodes.find(({ document }) => document.id === id);
    if (node !== undefined) return node;
    const ids = this.nodes.map(({ document }) => document.id).join(', ') || 'none';
    throw new MootError('BAD_ARGUMENT', `there is no node ${id}; there are: ${ids}`);
  }

  call(id: string, call: string, params: object = {}): Promise<unknown> {
    return this.get(id).link.call(call, params);
  }

  /** The first value of `probe` that is not null or false, looked at again and again; null when there was none in time. */
  async until<T>(
    probe: () => T | null | false,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<T | null> {
    for (const endMs = performance.now() + timeoutMs; ; ) {
      signal?.throwIfAborted();
      const value = probe();
      if (value !== null && value !== false) return value;
      if (performance.now() > endMs) return null;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  close(): void {
    for (const { link } of this.byAddress.values()) link.close();
  }

  private add(address: string): void {
    if (this.byAddress.has(address)) return;
    const link: ControlLink<NodeDocument, NodeEvent> = new ControlLink(address, this.open, {
      onDocument: (document) => {
        node.document = document;
        for (const { control } of document.members) if (control !== null) this.add(control);
        this.listener.onDocument?.(document);
      },
      onEvents: (events, lost) => {
        if (node.document !== null) this.listener.onEvents?.(node.document.id, events, lost);
      },
      onDown: () => {
        if (node.document !== null) this.listener.onDown?.(node.document.id);
      },
    });
    const node: SeenNode = {
      address,
      link,
      document: null,
      get up() {
        return link.up;
      },
    };
    this.byAddress.set(address, node);
  }
}

function isKnown(node: SeenNode): node is SeenNode & { readonly document: NodeDocument } {
  return node.document !== null;
}

const COLLATOR = new Intl.Collator('en', { numeric: true });

/** n2 before n10. */
export function compareIds(a: string, b: string): number {
  return COLLATOR.compare(a, b);
}
