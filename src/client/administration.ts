import { describe, type ErrorCode, isMootError, MootError } from '../base/errors.js';
import type { ClientRequest, ClientResponse, NodeStatus } from '../codec/client-messages.js';
import type { Configuration, MemberChange } from '../raft/types.js';
import { seconds } from './call.js';
import type { Cluster } from './cluster.js';
import type { NodeReport, SnapshotReport } from './filesystem-client.js';
import type { Link } from './link.js';

/** How often to look whether a node can be reached by now. */
const LOOK_AGAIN_MS = 10;
const STATUS_TIMEOUT_MS = 5_000;
/** A node that does not answer must not keep a question from the leader, which may be another one. */
const LEADER_STATUS_MS = 1_000;
/** A leader that does not answer for so long is looked for anew, however long the caller waits. */
const ANSWER_MS_MAX = 30_000;
const ASK_AGAIN_MS = 100;
/** Refusals after which the same question may be answered, by this leader or the next one. */
const AGAIN: ReadonlySet<ErrorCode> = new Set([
  'NOT_LEADER',
  'NO_LEADER',
  'BUSY',
  'OUTCOME_UNKNOWN',
  'CLOSED',
  'REMOVED',
]);

/** What is asked of each node by itself: status and snapshots. */
export class Administration {
  constructor(private readonly cluster: Cluster) {}

  /** Asks the known nodes, and then those that they name and we did not know. */
  async status(timeoutMs: number): Promise<readonly NodeReport[]> {
    const startedMs = this.cluster.clock.monotonicMs();
    const known = [...this.cluster.links];
    const first = await this.report(known, timeoutMs);
    for (const { status } of first) {
      for (const peer of status?.peers ?? []) this.cluster.learn(peer.id, peer.address);
    }
    const learned = this.cluster.links.filter((link) => !known.includes(link));
    const leftMs = timeoutMs - (this.cluster.clock.monotonicMs() - startedMs);
    return [...first, ...(await this.report(learned, leftMs))];
  }

  /**
   * Asks nodes one after the other: a snapshot costs each some work. One that takes none keeps nobody behind
   * it from taking one.
   */
  async snapshot(node: string | undefined, timeoutMs: number): Promise<readonly SnapshotReport[]> {
    const reports = await this.status(Math.min(timeoutMs, STATUS_TIMEOUT_MS));
    const chosen = reports.filter(
      ({ address, status }) => node === undefined || node === status?.id || node === address,
    );
    if (chosen.length === 0) {
      throw new MootError('BAD_ARGUMENT', `no node is called ${node}: ${this.cluster.describe()}`);
    }
    const taken: SnapshotReport[] = [];
    for (const { address, status, error } of chosen) {
      const about = { address, id: status?.id ?? null };
      try {
        if (status === null) throw new MootError('UNREACHABLE', `${address}: ${error}`);
        taken.push({ ...about, index: await this.snapshotAt(address, timeoutMs), error: null });
      } catch (error) {
        if (!isMootError(error)) throw error;
        taken.push({ ...about, index: null, error });
      }
    }
    return taken;
  }

  /** Asked again until a leader decides: what was done already is no change. */
  async changeMembers(change: MemberChange, timeoutMs: number): Promise<Configuration> {
    const response = await this.askLeader((id) => ({ type: 'members', id, change }), timeoutMs);
    if (response.type === 'members-reply') return response.configuration;
    throw unexpected('the leader', response);
  }

  async transfer(to: string | null, timeoutMs: number): Promise<string> {
    const response = await this.askLeader((id) => ({ type: 'transfer', id, to }), timeoutMs);
    if (response.type === 'transfer-reply') return response.leader;
    throw unexpected('the leader', response);
  }

  /** The answer of a leader; a refusal is one that asking again does not change. */
  private async askLeader(
    request: (id: number) => ClientRequest,
    timeoutMs: number,
  ): Promise<ClientResponse> {
    const { clock } = this.cluster;
    const endMs = clock.monotonicMs() + timeoutMs;
    let trouble: MootError | null = null;
    for (;;) {
      const { hopeless } = this.cluster;
      if (hopeless !== null) throw hopeless;
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0) {
        throw (
          trouble ??
          new MootError('NO_LEADER', `no node says that it leads: ${this.cluster.describe()}`)
        );
      }
      if (this.cluster.links.every(({ closed }) => closed)) {
        throw new MootError('CLOSED', 'the client was closed');
      }
      const reports = await this.status(Math.min(leftMs, LEADER_STATUS_MS));
      const leader = leaderOf(reports);
      const link = this.cluster.links.find(({ address }) => address === leader?.address);
      if (link !== undefined) {
        try {
          const answerMs = Math.min(endMs - clock.monotonicMs(), ANSWER_MS_MAX);
          const response = await this.ask(link, request, answerMs);
          if (response.type !== 'refusal' || !AGAIN.has(response.code)) return response;
          trouble = new MootError(response.code, response.message);
        } catch (error) {
          if (!isMootError(error, 'UNREACHABLE')) throw error;
          trouble = error;
        }
      }
      await new Promise<void>((resolve) => clock.setTimer(ASK_AGAIN_MS, resolve));
    }
  }

  private async snapshotAt(address: string, timeoutMs: number): Promise<number> {
    const link = this.cluster.links.find((known) => known.address === address);
    if (link === undefined) throw new MootError('UNREACHABLE', `${address} is not known any more`);
    const asked = this.ask(link, (id) => ({ type: 'snapshot', id }), timeoutMs);
    const response = await asked.catch((error: unknown) => {
      throw new MootError('UNREACHABLE', `${address}: ${describe(error)}`);
    });
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

/** Who leads in the newest term. */
function leaderOf(reports: readonly NodeReport[]): NodeReport | null {
  let newest: NodeReport | null = null;
  for (const report of reports) {
    if (report.status?.role !== 'leader') continue;
    if (report.status.term > (newest?.status?.term ?? 0)) newest = report;
  }
  return newest;
}

function unexpected(address: string, response: ClientResponse): MootError {
  return response.type === 'refusal'
    ? new MootError(response.code, `${address}: ${response.message}`)
    : new MootError('BAD_MESSAGE', `${address} answered by ${response.type}`);
}
