import { describe, type MootError } from '../base/errors.js';
import { type Random, systemRandom } from '../base/random.js';
import type { Report } from '../base/report.js';
import type { ClientResponse } from '../codec/client-messages.js';
import { decodeClientRequest, encodeClientResponse } from '../codec/client-wire.js';
import { decodeGreeting, encodeGreeting, type Greeting } from '../codec/greeting.js';
import { FRAME_BYTES_MAX } from '../codec/limits.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import { decodePeerMessage } from '../codec/peer-wire.js';
import type { Member, NodeId } from '../raft/types.js';
import { parseAddress } from './address.js';
import { areAtOdds, checkClient, checkPeer, type Self } from './check-greeting.js';
import { Link } from './link.js';
import type { Door, Network, Wire } from './network.js';
import { Outgoing } from './outgoing.js';
import { boundedReporter } from './reporter.js';
import { CLIENT_QUEUE_BYTES_MAX, CLOSE_CODE, PEER_QUEUE_BYTES_MAX } from './rules.js';
import type { Transport, TransportHandlers } from './transport.js';

export interface TransportOptions {
  readonly cluster: string;
  readonly id: NodeId;
  /** Where this node listens. */
  readonly address: string;
  /** Where others reach it, when it listens elsewhere. */
  readonly reachedAt?: string;
  /** The members known at the start; this one among them or not. */
  readonly peers: readonly Member[];
  /** One line for the node's log. */
  readonly report: Report;
  readonly random?: Random;
}

/**
 * A node's connections: one address for peers and clients alike. A node sends to a peer over the
 * connection that it made itself, and hears it over the one that the peer made. Throws
 * BAD_ARGUMENT when an address is none.
 */
export function createTransport(network: Network, options: TransportOptions): Transport {
  return new NetworkTransport(network, options);
}

/** Nodes that are answered although this node does not know them as members. */
const STRANGERS_MAX = 64;

/** The connection that a peer made. */
interface Incoming {
  readonly link: Link;
  /** The incarnation of which it said that it is. */
  readonly greeted: number;
}

type Welcome = (this: NetworkTransport, link: Link, greeting: Greeting) => void;

class NetworkTransport implements Transport {
  private readonly report: Report;
  private readonly outgoing = new Map<NodeId, Outgoing>();
  private readonly incoming = new Map<NodeId, Incoming>();
  private incarnation = 0;
  private readonly links = new Set<Link>();
  /** Clients that came before this node knew its incarnation, and were told none. */
  private readonly untold = new Set<Link>();
  private door: Promise<Door> | null = null;
  /** The door is open, and peers are dialled. */
  private open = false;
  private closed = false;
  private members: ReadonlySet<NodeId> = new Set();
  private handlers: TransportHandlers | null = null;

  constructor(
    private readonly network: Network,
    private readonly options: TransportOptions,
  ) {
    parseAddress(options.address);
    this.report = boundedReporter(options.report, network.clock);
    if (options.reachedAt !== undefined) parseAddress(options.reachedAt);
    for (const { address } of options.peers) parseAddress(address);
    this.setPeers(options.peers);
  }

  setPeers(peers: readonly Member[]): void {
    const others = peers.filter(({ id }) => id !== this.options.id);
    this.members = new Set(others.map(({ id }) => id));
    for (const [id, outgoing] of [...this.outgoing]) {
      const member = others.find((other) => other.id === id);
      if (member !== undefined && member.address === outgoing.address) continue;
      if (member === undefined && this.incoming.has(id)) continue;
      this.drop(id, outgoing);
    }
    for (const peer of others) if (!this.outgoing.has(peer.id)) this.add(peer);
  }

  setIncarnation(incarnation: number): void {
    this.incarnation = incarnation;
    for (const outgoing of this.outgoing.values()) outgoing.leaveOthers(incarnation);
    for (const { link, greeted } of this.incoming.values()) {
      if (!areAtOdds(greeted, incarnation)) continue;
      link.close(CLOSE_CODE.wrongCluster, 'another cluster of the same name');
    }
    if (incarnation === 0) return;
    // They come again, and learn which cluster it is that they stay with from then on.
    for (const link of this.untold) link.close(CLOSE_CODE.closedByNode, 'the cluster has begun');
    this.untold.clear();
  }

  private add(peer: Member): void {
    try {
      parseAddress(peer.address);
    } catch (error) {
      // Agreed on, and not to be undone by ending: without it the others may still be a majority.
      this.report('error', `${peer.id} cannot be reached: ${describe(error)}`);
      return;
    }
    const { cluster, id, address, reachedAt, random } = this.options;
    const outgoing = new Outgoing(this.network, {
      peer,
      id,
      cluster,
      incarnation: () => this.incarnation,
      address: reachedAt ?? address,
      random: random ?? systemRandom,
      report: this.report,
      onDown: () => this.handlers?.onPeerDown(peer.id),
    });
    this.outgoing.set(peer.id, outgoing);
    if (this.open && !this.closed) outgoing.dial();
  }

  private drop(id: NodeId, outgoing: Outgoing): void {
    this.outgoing.delete(id);
    // It says goodbye by itself, and nobody waits for that.
    void outgoing.close();
  }

  async start(handlers: TransportHandlers): Promise<void> {
    this.handlers = handlers;
    const { cluster, id, address } = this.options;
    this.door = this.network.open({
      address,
      id,
      sign: `This is node ${id} of the mootfs cluster ${cluster}; the mootfs command talks to it.`,
      report: this.report,
      onWire: {
        '/peer': (wire) => this.greet(wire, PEER_QUEUE_BYTES_MAX, this.welcomePeer),
        '/client': (wire) => this.greet(wire, CLIENT_QUEUE_BYTES_MAX, this.welcomeClient),
      },
    });
    await this.door;
    if (this.closed) return;
    this.open = true;
    for (const outgoing of this.outgoing.values()) outgoing.dial();
  }

  send(message: PeerMessage): void {
    this.outgoing.get(message.to)?.send(message);
  }

  connected(peer: NodeId): boolean {
    return this.outgoing.get(peer)?.connected ?? false;
  }

  queuedBytes(peer: NodeId): number {
    return this.outgoing.get(peer)?.queuedBytes ?? 0;
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([
      ...[...this.outgoing.values()].map((outgoing) => outgoing.close()),
      ...[...this.links].map((link) => link.shut(CLOSE_CODE.goingAway, 'the node stops')),
      this.door?.then(
        (door) => door.close(),
        () => undefined, // it never opened, and start has said so
      ),
    ]);
  }

  /** The first frame of whoever came in, and the one line when what it sends cannot be. */
  private greet(wire: Wire, queueBytesMax: number, welcome: Welcome): void {
    const link = new Link(wire, this.network.clock, queueBytesMax);
    this.links.add(link);
    link.onEnd((end) => this.forget(link, end.refused));
    link.expectGreeting(decodeGreeting, (greeting) => welcome.call(this, link, greeting));
  }

  private get self(): Self {
    const { cluster, id } = this.options;
    return { cluster, id, incarnation: this.incarnation };
  }

  /** What this node says first to whoever comes in. */
  private get answer(): Uint8Array {
    const { cluster, id, incarnation } = this.self;
    return encodeGreeting({ cluster, incarnation, role: { type: 'node', id } });
  }

  private forget(link: Link, refused: MootError | null): void {
    this.links.delete(link);
    this.untold.delete(link);
    if (refused !== null)
      this.report('warn', `a connection from ${link.remote} was closed: ${refused.message}`);
  }

  private welcomePeer(link: Link, greeting: Greeting): void {
    const { id, address } = checkPeer(greeting, this.self);
    // The older connection is a dead one that nobody has noticed yet.
    this.incoming.get(id)?.link.close(CLOSE_CODE.replaced, 'a newer connection took its place');
    this.incoming.set(id, { link, greeted: greeting.incarnation });
    link.onEnd((end) => {
      this.forget(link, end.refused);
      if (this.incoming.get(id)?.link === link) this.left(id);
    });
    link.send(this.answer);
    link.listen(
      (frame) => decodePeerMessage(frame, id, this.options.id),
      (message) => this.handlers?.onPeerMessage(message),
    );
    const outgoing = this.outgoing.get(id);
    if (outgoing !== undefined) outgoing.nudge();
    else if (this.outgoing.size < this.members.size + STRANGERS_MAX) this.add({ id, address });
  }

  private left(id: NodeId): void {
    this.incoming.delete(id);
    const outgoing = this.outgoing.get(id);
    if (outgoing !== undefined && !this.members.has(id)) this.drop(id, outgoing);
  }

  private welcomeClient(link: Link, greeting: Greeting): void {
    checkClient(greeting, this.self);
    link.send(this.answer);
    if (this.incarnation === 0) this.untold.add(link);
    const handlers = this.handlers?.onClient({
      send: (response) => this.respond(link, response),
      get queuedBytes() {
        return link.queuedBytes;
      },
      close: (reason) => link.close(CLOSE_CODE.closedByNode, reason),
    });
    link.onEnd((end) => {
      this.forget(link, end.refused);
      handlers?.onClose();
    });
    link.listen(decodeClientRequest, (request) => handlers?.onRequest(request));
  }

  /** An answer that is too large becomes a refusal; what nobody asked for ends the connection (Link.send). */
  private respond(link: Link, response: ClientResponse): void {
    const frame = encodeClientResponse(response);
    const isAnswer = response.type !== 'watch-event' && response.type !== 'changes';
    if (frame.length <= FRAME_BYTES_MAX || !isAnswer) {
      link.send(frame);
      return;
    }
    const what = `a ${response.type} of ${frame.length} bytes is too large to be sent`;
    this.report('error', `${what} to ${link.remote}`);
    // A command has had its effect. Asked for again, its reply comes without what surrounds it.
    const code = response.type === 'submit-reply' ? 'OUTCOME_UNKNOWN' : 'BAD_MESSAGE';
    const refusal = {
      type: 'refusal',
      id: response.id,
      code,
      message: what,
      leader: null,
    } as const;
    link.send(encodeClientResponse(refusal));
  }
}
