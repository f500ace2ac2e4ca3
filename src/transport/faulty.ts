import type { Clock, Timer } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import type { Member, NodeId } from '../raft/types.js';
import type {
  ClientConnection,
  ClientHandlers,
  Dialer,
  Transport,
  TransportHandlers,
} from './transport.js';

/** Longer would look like a dead node to everybody. */
export const SLOW_MS_MAX = 60_000;
/** Messages that wait for their time, to or from one peer; more are lost, as Raft allows. */
const WAITING_PEER_MAX = 4_096;
/** Requests or responses that wait for their time, of one client, which is left beyond it. Twice what a client may ask for at once. */
const WAITING_CLIENT_MAX = 16_384;

/** What is made worse on purpose: for those who teach, learn and test. */
export interface Faults {
  readonly slowMs: number;
  readonly cutFrom: readonly NodeId[];
  /**
   * All that this node does is so much later: what comes from peers and clients reaches it so much
   * later, and what it sends them leaves so much later. Throws BAD_ARGUMENT.
   */
  setSlow(slowMs: number): void;
  /** Nothing goes to these peers or comes from them; from and to all others everything does. */
  setCut(peers: readonly NodeId[]): void;
}

/** A transport that does what `inner` does, but for the faults that are set. */
export function createFaultyTransport(
  inner: Transport,
  clock: Clock,
): { readonly transport: Transport; readonly faults: Faults } {
  const faulty = new FaultyTransport(inner, clock);
  return { transport: faulty, faults: faulty };
}

class FaultyTransport implements Transport, Faults {
  slowMs = 0;
  private cut: ReadonlySet<NodeId> = new Set();
  private readonly lanesTo = new Map<NodeId, Lane>();
  private readonly lanesFrom = new Map<NodeId, Lane>();
  private handlers: TransportHandlers | null = null;

  constructor(
    private readonly inner: Transport,
    private readonly clock: Clock,
  ) {}

  get cutFrom(): readonly NodeId[] {
    return [...this.cut];
  }

  setSlow(slowMs: number): void {
    if (!(slowMs >= 0 && slowMs <= SLOW_MS_MAX)) {
      throw new MootError('BAD_ARGUMENT', `a delay is from 0 to ${SLOW_MS_MAX} ms, not ${slowMs}`);
    }
    this.slowMs = slowMs;
  }

  setCut(peers: readonly NodeId[]): void {
    const before = this.cut;
    this.cut = new Set(peers);
    for (const peer of peers) if (!before.has(peer)) this.handlers?.onPeerDown(peer);
  }

  start(handlers: TransportHandlers): Promise<void> {
    this.handlers = handlers;
    return this.inner.start({
      onPeerMessage: (message) => {
        const { from } = message;
        if (this.cut.has(from)) return;
        this.lane(this.lanesFrom, from).add(this.slowMs, () => {
          if (!this.cut.has(from)) handlers.onPeerMessage(message);
        });
      },
      onPeerDown: (peer) => handlers.onPeerDown(peer),
      onClient: (client) => this.onClient(client, handlers),
    });
  }

  setPeers(peers: readonly Member[]): void {
    this.inner.setPeers(peers);
  }

  setIncarnation(incarnation: number): void {
    this.inner.setIncarnation(incarnation);
  }

  send(message: PeerMessage): void {
    if (this.cut.has(message.to)) return;
    this.lane(this.lanesTo, message.to).add(this.slowMs, () => {
      // Whoever was cut off meanwhile does not get what was on its way.
      if (!this.cut.has(message.to)) this.inner.send(message);
    });
  }

  connected(peer: NodeId): boolean {
    return !this.cut.has(peer) && this.inner.connected(peer);
  }

  queuedBytes(peer: NodeId): number {
    return this.inner.queuedBytes(peer);
  }

  close(): Promise<void> {
    for (const lane of [...this.lanesTo.values(), ...this.lanesFrom.values()]) lane.end();
    return this.inner.close();
  }

  private lane(lanes: Map<NodeId, Lane>, peer: NodeId): Lane {
    let lane = lanes.get(peer);
    if (lane === undefined) {
      lane = new Lane(this.clock, WAITING_PEER_MAX, () => undefined);
      lanes.set(peer, lane);
    }
    return lane;
  }

  private onClient(client: ClientConnection, handlers: TransportHandlers): ClientHandlers {
    const leave = (reason: string) => {
      requests.end();
      responses.end();
      client.close(reason);
    };
    const requests = new Lane(this.clock, WAITING_CLIENT_MAX, () => leave('it asks too much'));
    const responses = new Lane(this.clock, WAITING_CLIENT_MAX, () =>
      leave('it does not read fast enough'),
    );
    const served = handlers.onClient({
      send: (response) => responses.add(this.slowMs, () => client.send(response)),
      get queuedBytes() {
        return client.queuedBytes;
      },
      close: (reason) => responses.add(this.slowMs, () => client.close(reason)),
    });
    return {
      onRequest: (request) => requests.add(this.slowMs, () => served.onRequest(request)),
      onClose: () => {
        requests.end();
        responses.end();
        served.onClose();
      },
    };
  }
}

/** A way to some nodes only; `reaches` may say something else later. */
export function createLimitedDialer(inner: Dialer, reaches: (address: string) => boolean): Dialer {
  return {
    async dial(address, handlers, signal) {
      if (reaches(address)) return inner.dial(address, handlers, signal);
      throw new MootError('UNREACHABLE', `${address}: out of reach from here`);
    },
  };
}

/** Actions in the order in which they were added, each after its delay and never before an earlier one. */
class Lane {
  private readonly waiting: { readonly dueMs: number; readonly action: () => void }[] = [];
  private timer: Timer | null = null;
  private ended = false;

  constructor(
    private readonly clock: Clock,
    private readonly max: number,
    private readonly onFull: () => void,
  ) {}

  add(delayMs: number, action: () => void): void {
    if (this.ended) return;
    if (delayMs === 0 && this.waiting.length === 0) {
      action();
    } else if (this.waiting.length >= this.max) {
      this.onFull();
    } else {
      this.waiting.push({ dueMs: this.clock.monotonicMs() + delayMs, action });
      this.wait();
    }
  }

  end(): void {
    this.ended = true;
    this.timer?.cancel();
    this.waiting.length = 0;
  }

  private wait(): void {
    const [next] = this.waiting;
    if (next === undefined || this.timer !== null) return;
    const delayMs = Math.max(0, next.dueMs - this.clock.monotonicMs());
    this.timer = this.clock.setTimer(delayMs, () => {
      this.timer = null;
      this.runDue();
    });
  }

  private runDue(): void {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      if (this.ended || next.dueMs > this.clock.monotonicMs()) break;
      this.waiting.shift();
      next.action();
    }
    if (!this.ended) this.wait();
  }
}
