import { describe, MootError } from '../base/errors.js';
import type { ClientRequest, ClientResponse, NodeStatus } from '../codec/client-messages.js';
import { seconds } from './call.js';
import type { Cluster } from './cluster.js';
import type { NodeReport } from './filesystem-client.js';
import type { Link } from './link.js';

/** How often to look whether a node can be reached by now. */
const LOOK_AGAIN_MS = 10;
const STATUS_TIMEOUT_MS = 5_000;

/** What is asked of each node by itself: status and snapshots. */
export class Administration {
  constructor(private readonly cluster: Cluster) {}

  /** Asks the known nodes, and then those that they name and we did not know. */
  async status(timeoutMs: number): Promise<readonly NodeReport[]> {
    const startedMs = this.cluster.clock.monotonicMs();
    const first = await this.report([...this.cluster.links], timeoutMs);
    for (const { status } of first) {
      for (const peer of status?.peers ?? []) this.cluster.learn(peer.id, peer.address);
    }
    const learned = this.cluster.links.slice(first.length);
    const leftMs = timeoutMs - (this.cluster.clock.monotonicMs() - startedMs);
    return [...first, ...(await this.report(learned, leftMs))];
  }

  /** Asks nodes one after the other: a snapshot costs each some work. */
  async snapshot(
    node: string | undefined,
    timeoutMs: number,
  ): Promise<readonly { readonly id: string; readonly index: number }[]> {
    const reports = await this.status(Math.min(timeoutMs, STATUS_TIMEOUT_MS));
    const chosen = reports.filter(
      ({ address, status }) => node === undefined || node === status?.id || node === address,
    );
    if (chosen.length === 0) {
      throw new MootError('BAD_ARGUMENT', `no node is called ${node}: ${this.cluster.describe()}`);
    }
    const taken: { id: string; index: number }[] = [];
    for (const { address, status, error } of chosen) {
      if (status === null) throw new MootError('UNREACHABLE', `${address}: ${error}`);
      taken.push({ id: status.id, index: await this.snapshotAt(address, timeoutMs) });
    }
    return taken;
  }

  private async snapshotAt(address: string, timeoutMs: number): Promise<number> {
    const link = this.cluster.links.find((known) => known.address === address);
    if (link === undefined) throw new MootError('UNREACHABLE', `${address} is not known any more`);
    const response = await this.ask(link, (id) => ({ type: 'snapshot', id }), timeoutMs);
    if (response.type === 'snapshot-reply') return response.index;
    throw unexpected(address, response);
  }

  private report(links: readonly Link[], timeoutMs: number): Promise<NodeReport[]> {
    return Promise.all(
      links.map(async (link): Promise<NodeReport> => {
        const { address } = link;
        try {
          return { address, status: await this.statusOf(link, timeoutMs), error: null };
        } catch (error) {
          return { address, status: null, error: describe(error) };
        }
      }),
    );
  }

  private async statusOf(link: Link, timeoutMs: number): Promise<NodeStatus> {
    const response = await this.ask(link, (id) => ({ type: 'status', id }), timeoutMs);
    if (response.type !== 'status-reply') throw unexpected(link.address, response);
    this.cluster.onStatus(link, response.status);
    return response.status;
  }

  /** Asks one node as soon as it can be reached. */
  private ask(
    link: Link,
    request: (id: number) => ClientRequest,
    timeoutMs: number,
  ): Promise<ClientResponse> {
    const { clock } = this.cluster;
    const endMs = clock.monotonicMs() + timeoutMs;
    return new Promise((resolve, reject) => {
      const expire = () => {
        const why = link.open
          ? `no answer within ${seconds(timeoutMs)}`
          : (link.trouble?.message ?? `no connection within ${seconds(timeoutMs)}`);
        reject(new MootError('UNREACHABLE', why));
      };
      const attempt = () => {
        const leftMs = endMs - clock.monotonicMs();
        if (leftMs <= 0 || link.closed) {
          expire();
          return;
        }
        if (!link.open) {
          clock.setTimer(Math.min(LOOK_AGAIN_MS, leftMs), attempt);
          return;
        }
        const timer = clock.setTimer(leftMs, () => {
          link.forget(id);
          expire();
        });
        const id = this.cluster.ask(link, request, (response) => {
          timer.cancel();
          if (response === undefined) attempt();
          else resolve(response);
        });
      };
      attempt();
    });
  }
}

function unexpected(address: string, response: ClientResponse): MootError {
  return response.type === 'refusal'
    ? new MootError(response.code, `${address}: ${response.message}`)
    : new MootError('BAD_MESSAGE', `${address} answered by ${response.type}`);
}
