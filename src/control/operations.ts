import { MootError } from '../base/errors.js';
import type { ClusterLink } from './cluster-link.js';

/** Who owns the nodes' processes: kills them and starts them again. */
export interface Processes {
  crash(id: string): Promise<void>;
  recover(id: string): Promise<void>;
}

/** A node that was started must say so within this. */
const RECOVER_MS = 30_000;
const DOWN_MS = 10_000;

/** Faults on a whole cluster, by its nodes' control ports and by whoever owns their processes. */
export class Operations {
  constructor(
    readonly cluster: ClusterLink,
    /** null: nobody here can start a node again. */
    private readonly processes: Processes | null,
  ) {}

  get ids(): readonly string[] {
    return this.cluster.nodes.map(({ document }) => document.id);
  }

  async slow(id: string, ms: number): Promise<void> {
    await this.cluster.call(id, 'slow', { ms });
  }

  /** Each group hears only itself; nodes that are in none are alone. Links within a group are whole. */
  async partition(groups: readonly (readonly string[])[]): Promise<void> {
    const named = groups.flat();
    for (const id of named) this.cluster.get(id);
    if (new Set(named).size !== named.length) {
      throw new MootError('BAD_ARGUMENT', 'a node is in one part only');
    }
    const groupOf = (id: string) => groups.find((group) => group.includes(id)) ?? [id];
    await this.cutAll((id) => this.ids.filter((other) => !groupOf(id).includes(other)));
  }

  isolate(id: string): Promise<void> {
    return this.partition([[id], this.ids.filter((other) => other !== id)]);
  }

  /** Cuts one link more. */
  async cut(a: string, b: string): Promise<void> {
    if (a === b) throw new MootError('BAD_ARGUMENT', 'a node cannot be cut from itself');
    this.cluster.get(a);
    this.cluster.get(b);
    const other = (id: string) => (id === a ? [b] : id === b ? [a] : []);
    await this.cutAll((id) => [...new Set([...this.cutFrom(id), ...other(id)])]);
  }

  async heal(): Promise<void> {
    await this.cutAll(() => []);
  }

  async elect(id: string): Promise<void> {
    await this.cluster.call(id, 'elect');
  }

  /** The process is killed; resolves when its control port is gone. */
  async crash(id: string): Promise<void> {
    const node = this.cluster.get(id);
    if (!node.document.faults.allowed) {
      throw new MootError('NOT_ALLOWED', `node ${id} was not started with --allow-faults`);
    }
    if (this.processes !== null) await this.processes.crash(id);
    // It dies before it can answer.
    else await this.cluster.call(id, 'crash').catch(() => undefined);
    const down = await this.cluster.until(() => !node.up, DOWN_MS);
    if (down === null) throw new MootError('CLOSED', `node ${id} is still there`);
  }

  /** Its process is started again on its own disk; resolves when it answers. */
  async recover(id: string): Promise<void> {
    const { document } = this.cluster.get(id);
    if (this.processes === null) {
      throw new MootError(
        'NOT_ALLOWED',
        `nobody here has started node ${id}: start it again where it runs`,
      );
    }
    await this.processes.recover(id);
    const since = document.at;
    const up = await this.cluster.until(() => {
      const node = this.cluster.get(id);
      return node.up && node.document.at > since;
    }, RECOVER_MS);
    if (up === null) throw new MootError('UNREACHABLE', `node ${id} does not answer`);
  }

  /** Nothing is slow, cut or dead any more. */
  async repair(): Promise<void> {
    for (const { document, up } of this.cluster.nodes) if (!up) await this.recover(document.id);
    await this.heal();
    for (const { id, faults } of this.cluster.documents) {
      if (faults.slowMs > 0) await this.slow(id, 0);
    }
  }

  private cutFrom(id: string): readonly string[] {
    return this.cluster.get(id).document.faults.cutFrom;
  }

  /** At all nodes that can be reached; each end alone holds back both directions. */
  private async cutAll(from: (id: string) => readonly string[]): Promise<void> {
    const wanted = this.cluster.documents.map(({ id }) => [id, from(id)] as const);
    await Promise.all(wanted.map(([id, ids]) => this.cluster.call(id, 'cut', { from: ids })));
    await this.cluster.until(
      () => wanted.every(([id, ids]) => sameIds(this.cutFrom(id), ids) || !this.cluster.get(id).up),
      DOWN_MS,
    );
  }
}

function sameIds(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}
