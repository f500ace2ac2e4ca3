import type { ClientRequest, ClientResponse } from '../codec/client-messages.js';
import type { PeerMessage } from '../codec/peer-messages.js';
import type { Member, NodeId } from '../raft/types.js';

/**
 * A node's way to its peers and its door for clients. Peers: messages may be lost, delayed or
 * repeated, as Raft allows; over one connection they arrive in order. Frames that cannot be read
 * end their connection and nothing else.
 */
export interface Transport {
  /** Opens the door, then dials every peer and keeps dialling. Fails with a sentence; PORT_TAKEN when the port is. */
  start(handlers: TransportHandlers): Promise<void>;
  /**
   * From now on these are the other members. Who is none any more is left, but for who is connected:
   * it may be asking, and is answered as long as it stays.
   */
  setPeers(peers: readonly Member[]): void;
  /**
   * The incarnation of the cluster that this node is of (raft's Configuration); 0: not known yet, as
   * at first. Who is of another one is refused from now on, and left.
   */
  setIncarnation(incarnation: number): void;
  /** Never waits and never fails: dropped when the peer is away or its queue is full. */
  send(message: PeerMessage): void;
  /** True when messages to this peer have a connection to go over. */
  connected(peer: NodeId): boolean;
  /** Bytes accepted for this peer and not yet given to the network. Senders of bulk wait for it to fall. */
  queuedBytes(peer: NodeId): number;
  close(): Promise<void>;
}

export interface TransportHandlers {
  onPeerMessage(message: PeerMessage): void;
  /** The connection to a peer was lost or could not be made. */
  onPeerDown(peer: NodeId): void;
  /** A client came in; the returned handlers are called until it goes. */
  onClient(client: ClientConnection): ClientHandlers;
}

/** One connected client, as the node sees it. */
export interface ClientConnection {
  send(response: ClientResponse): void;
  /** Bytes not yet given to the network: a client that does not read is closed beyond a bound. */
  readonly queuedBytes: number;
  close(reason: string): void;
}

export interface ClientHandlers {
  onRequest(request: ClientRequest): void;
  /** Called once, whoever closed it, and never from within a call of the connection's. */
  onClose(): void;
}

/** A client's way to one node. */
export interface Dialer {
  /** Fails with UNREACHABLE, WRONG_CLUSTER, BAD_MESSAGE, BAD_ARGUMENT (the address) or INTERRUPTED (`signal`). `handlers` are called until the channel closes. */
  dial(address: string, handlers: ChannelHandlers, signal: AbortSignal): Promise<Channel>;
}

export interface Channel {
  send(request: ClientRequest): void;
  readonly queuedBytes: number;
  close(): void;
}

export interface ChannelHandlers {
  onResponse(response: ClientResponse): void;
  /** Called once, whoever closed it, and never from within a call of the channel's. */
  onClose(): void;
}
