import type { Timer } from '../base/clock.js';
import { isMootError } from '../base/errors.js';
import type { Random } from '../base/random.js';
import type { Report } from '../base/report.js';
import { FRAME_BYTES_MAX } from '../codec/limits.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import { encodePeerMessage } from '../codec/peer-wire.js';
import type { NodeId } from '../raft/types.js';
import { areAtOdds, checkCluster } from './check-greeting.js';
import { dial } from './dial.js';
import type { Link } from './link.js';
import type { Network } from './network.js';
import { CLOSE_CODE, PEER_QUEUE_BYTES_MAX, REDIAL_MAX_MS, REDIAL_MIN_MS } from './rules.js';

export interface OutgoingOptions {
  readonly id: NodeId;
  readonly cluster: string;
  /** Of the cluster, as far as this node knows now. */
  readonly incarnation: () => number;
  /** Where this node itself is reached. */
  readonly address: string;
  readonly peer: { readonly id: NodeId; readonly address: string };
  readonly random: Random;
  readonly report: Report;
  readonly onDown: () => void;
}

/** This node's own connection to one peer, made again whenever it is lost. Only sends; what the peer has to say comes over the peer's. */
export class Outgoing {
  private link: Link | null = null;
  /** What the peer said. */
  private peerIncarnation = 0;
  private failures = 0;
  private dialledMs = 0;
  private redial: Timer | undefined;
  private lastComplaint = '';
  private readonly closing = new AbortController();

  constructor(
    private readonly network: Network,
    private readonly options: OutgoingOptions,
  ) {}

  get address(): string {
    return this.options.peer.address;
  }

  get connected(): boolean {
    return this.link !== null;
  }

  get queuedBytes(): number {
    return this.link?.queuedBytes ?? 0;
  }

  send(message: PeerMessage): void {
    if (this.link === null || this.link.queuedBytes > PEER_QUEUE_BYTES_MAX) return;
    this.link.send(encodePeerMessage(message));
  }

  dial(): void {
    const { id, cluster, incarnation, address, peer } = this.options;
    this.redial = undefined;
    this.dialledMs = this.network.clock.monotonicMs();
    dial(this.network, {
      caller: id,
      address: peer.address,
      path: '/peer',
      greeting: {
        cluster,
        incarnation: incarnation(),
        role: { type: 'peer', id, to: peer.id, address },
      },
      expect: peer.id,
      queueBytesMax: PEER_QUEUE_BYTES_MAX + FRAME_BYTES_MAX,
      signal: this.closing.signal,
      onGreeted: (link, answer) => {
        // It may have become known since this node said its own.
        checkCluster(answer, { cluster, incarnation: incarnation() });
        this.peerIncarnation = answer.incarnation;
        this.onGreeted(link);
      },
    }).catch((error: unknown) => {
      if (!isMootError(error)) throw error;
      if (this.closing.signal.aborted) return;
      // That a peer is away is everyday; that it is the wrong one is for a person to repair.
      if (error.code !== 'UNREACHABLE') this.complain(error.message);
      this.onLost();
    });
  }

  /** The peer has just come in: it is there, so no more waiting. */
  nudge(): void {
    if (this.redial === undefined) return;
    this.redial.cancel();
    this.dial();
  }

  /** This node knows its cluster's incarnation now: who is of another one is left. */
  leaveOthers(incarnation: number): void {
    if (this.link === null || !areAtOdds(this.peerIncarnation, incarnation)) return;
    this.link.close(CLOSE_CODE.wrongCluster, 'another cluster of the same name');
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.redial?.cancel();
    await this.link?.shut(CLOSE_CODE.goingAway, 'the node stops');
  }

  private onGreeted(link: Link): void {
    this.link = link;
    this.lastComplaint = '';
    link.onEnd(({ refused }) => {
      if (refused !== null) this.complain(refused.message);
      this.link = null;
      this.onLost();
    });
  }

  private onLost(): void {
    if (this.closing.signal.aborted) return;
    // A connection that lasted says that all is well; one that is closed at once, again and again, does not.
    if (this.network.clock.monotonicMs() - this.dialledMs > REDIAL_MAX_MS) this.failures = 0;
    const { random, onDown } = this.options;
    const delayMs = Math.min(REDIAL_MAX_MS, REDIAL_MIN_MS * 2 ** Math.min(this.failures++, 10));
    this.redial = this.network.clock.setTimer(delayMs * (0.5 + random.next() / 2), () =>
      this.dial(),
    );
    onDown();
  }

  private complain(why: string): void {
    if (why === this.lastComplaint) return;
    this.lastComplaint = why;
    this.options.report('warn', `peer ${this.options.peer.id} at ${why}`);
  }
}
