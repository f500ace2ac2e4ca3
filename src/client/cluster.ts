import type { Clock } from '../base/clock.js';
import { type ErrorCode, isFilesystemErrorCode, MootError } from '../base/errors.js';
import type { Random } from '../base/random.js';
import type {
  Changes,
  ClientRequest,
  ClientResponse,
  NodeStatus,
  ReadLevel,
  Refusal,
} from '../codec/client-messages.js';
import type { Command } from '../filesystem/commands.js';
import type { Dialer } from '../transport/transport.js';
import { Link } from './link.js';

/** While the leader is sought, nodes are asked this often at first: an election takes a few hundred ms. */
const PROBE_EAGER_MS = 20;
const PROBE_EAGER_FOR_MS = 2_000;
/** And this often when there has been no leader for longer. */
const PROBE_PATIENT_MS = 250;
/** Members come and go much more slowly. */
const MEMBERS_MS = 2_000;
/** As in the node's settings, until one has said otherwise. */
const SESSION_TIMEOUT_MS_DEFAULT = 60_000;
/** Nodes beyond the given addresses, learned from the nodes themselves: as many as may be members. */
const LEARNED_LINKS_MAX = 64;

/** What is wrong with an address, not with the moment. */
const USELESS: ReadonlySet<ErrorCode> = new Set(['WRONG_CLUSTER', 'WRONG_NODE', 'BAD_ARGUMENT']);

export interface ClusterEvents {
  /** A leader was found, another one than before. */
  onLeader(leader: Link): void;
  onOpen(link: Link): void;
  onClosed(link: Link): void;
  onChanges(link: Link, changes: Changes, own: Command | null): void;
}

/**
 * The nodes as this client knows them, each with a warm connection, and which of them leads. Who
 * leads is asked, by small status requests to all nodes at once; commands go only to a node that
 * says it leads. A silent leader is left when another one says so in a later term, not before.
 */
export class Cluster {
  /** In the order of preference; learned ones last. */
  readonly links: Link[] = [];
  leader: Link | null = null;
  private closed = false;
  private leaderTerm = 0;
  /** When the present search began; null while a leader is known and answers. */
  private searchingSinceMs: number | null = null;
  /**
   * Who leads according to others. Followed, by a connection when there is none, only when that node
   * did not say so itself by the next question: it may be one of ours by another spelling.
   */
  private hint: { readonly id: string; readonly address: string } | null = null;
  /** The highest term whose leader was heard of: news of the node. */
  private heardTerm = 0;
  private probedAtMs = Number.NEGATIVE_INFINITY;
  private lastRequestId = 0;
  private readonly givenCount: number;

  /** After so long a silence the cluster forgets a client. What it says of that, or its default. */
  sessionTimeoutMs = SESSION_TIMEOUT_MS_DEFAULT;

  /** Nobody keeps answers under leases: then not only the leader may give strong ones. */
  private anyNodeReads = false;

  constructor(
    addresses: readonly string[],
    private readonly dialer: Dialer,
    readonly clock: Clock,
    private readonly random: Random,
    private readonly events: ClusterEvents,
  ) {
    for (const address of new Set(addresses)) this.links.push(this.linkTo(address));
    this.givenCount = this.links.length;
  }

  /** Connects to the given nodes. */
  start(): void {
    for (const link of this.links) link.start();
  }

  nextId(): number {
    this.lastRequestId++;
    return this.lastRequestId;
  }

  /** Open links in the order in which a read of this level tries them: silent and late ones last. */
  candidates(level: ReadLevel): readonly Link[] {
    const open = this.links.filter((link) => link.open);
    const leaderFirst = level === 'strong' && !this.anyNodeReads;
    const rank = (link: Link) =>
      (link.suspect ? 2 : 0) + ((leaderFirst ? link !== this.leader : link.lagging) ? 1 : 0);
    return open.sort((a, b) => rank(a) - rank(b));
  }

  /** Seeks a leader when there is none or it is silent. Called every few milliseconds while one is needed. */
  seekLeader(nowMs: number): void {
    if (this.leader !== null && !this.leader.suspect) {
      this.searchingSinceMs = null;
      return;
    }
    this.searchingSinceMs ??= nowMs;
    const eager = nowMs - this.searchingSinceMs < PROBE_EAGER_FOR_MS;
    const intervalMs = eager ? PROBE_EAGER_MS : PROBE_PATIENT_MS;
    if (nowMs - this.probedAtMs < intervalMs) return;
    this.probedAtMs = nowMs;
    if (this.hint !== null) this.learn(this.hint.id, this.hint.address);
    this.hint = null;
    for (const link of [...this.links]) this.probe(link);
  }

  /** A node more can be asked: do not wait for the next regular question. */
  onOpened(link: Link): void {
    if (this.leader === null || this.leader.suspect) this.probe(link);
  }

  checkSilence(nowMs: number): void {
    for (const link of [...this.links]) link.checkSilence(nowMs);
  }

  /** Called now and then: who is a member by now? */
  lookForMembers(nowMs: number): void {
    if (this.leader === null || nowMs - this.probedAtMs < MEMBERS_MS) return;
    this.probedAtMs = nowMs;
    this.probe(this.leader);
  }

  /** Asks for the node's status unless that question is on its way. */
  probe(link: Link): void {
    if (!link.open || link.probing) return;
    link.probing = true;
    this.ask(
      link,
      (id) => ({ type: 'status', id }),
      (response) => {
        link.probing = false;
        if (response?.type === 'status-reply') this.onStatus(link, response.status);
      },
    );
  }

  /** One question, one answer; `undefined` when the connection ended first. Returns the question's id. */
  ask(
    link: Link,
    request: (id: number) => ClientRequest,
    onAnswer: (response: ClientResponse | undefined) => void,
    awaited?: () => Command | null,
  ): number {
    const id = this.nextId();
    link.request(request(id), {
      onResponse: (response) => onAnswer(response),
      onLost: () => onAnswer(undefined),
      ...(awaited === undefined ? {} : { awaited }),
    });
    return id;
  }

  /** Takes notice of a refusal: a node that does not lead is not our leader. */
  onRefusal(link: Link, refusal: Refusal): void {
    link.trouble = new MootError(refusal.code, refusal.message);
    if (refusal.leader !== null) this.hint = refusal.leader;
    if (refusal.code !== 'BUSY' && link === this.leader) this.leader = null;
  }

  onStatus(link: Link, status: NodeStatus): void {
    link.nodeId = status.id;
    link.appliedIndex = status.appliedIndex;
    this.anyNodeReads = status.leaseMs === 0;
    this.sessionTimeoutMs = status.sessionTimeoutMs;
    if (this.leader === null) link.trouble = null;
    for (const peer of status.peers) {
      if (peer.id === status.leader) this.hintAt(peer, status.term);
    }
    if (status.role === 'leader') {
      this.onClaim(link, status.term);
      // Whoever was given may leave the cluster one day.
      this.learnAll(status.peers);
      this.forgetAllBut(status.peers);
    } else if (link === this.leader) this.leader = null;
    // Who knew one that left, and no other, learns from whom it can.
    if (this.leader === null) this.learnAll(status.peers);
  }

  /** Which nodes were tried and what is the matter with each. */
  describe(): string {
    const nowMs = this.clock.monotonicMs();
    return this.links.map((link) => link.describe(nowMs)).join(', ');
  }

  /** No address can ever serve: waiting does not help. Says what is wrong with each. */
  get hopeless(): MootError | null {
    const code = this.links[0]?.trouble?.code;
    if (code === undefined) return null;
    const all = this.links.every(
      ({ open, trouble }) => !open && trouble !== null && USELESS.has(trouble.code),
    );
    return all ? new MootError(code, `no node of the cluster: ${this.describe()}`) : null;
  }

  /** The link to a node that is not among the given addresses. */
  learn(id: string, address: string): void {
    if (this.closed) return;
    // Where its node was met before says nothing once that is over: members may move.
    const isMet = (link: Link) => link.nodeId === id && link.open;
    if (this.links.some((link) => isMet(link) || link.address === address)) return;
    if (this.links.length >= this.givenCount + LEARNED_LINKS_MAX) return;
    const link = this.linkTo(address);
    this.links.push(link);
    link.start();
  }

  /** Not before it is known who the given ones are: they may be the same under other addresses. */
  private learnAll(members: NodeStatus['peers']): void {
    const given = this.links.slice(0, this.givenCount);
    if (!given.every((link) => link.nodeId !== null || link.suspect || link.trouble !== null))
      return;
    for (const { id, address } of members) this.learn(id, address);
  }

  /** Of the learned nodes those that left: a client may outlive many. */
  private forgetAllBut(members: NodeStatus['peers']): void {
    for (const link of this.links.slice(this.givenCount)) {
      if (link.open || members.some(({ address }) => address === link.address)) continue;
      this.links.splice(this.links.indexOf(link), 1);
      link.close();
    }
  }

  close(): void {
    this.closed = true;
    for (const link of this.links) link.close();
  }

  private linkTo(address: string): Link {
    return new Link(address, this.dialer, this.clock, this.random, {
      onOpen: (link) => this.events.onOpen(link),
      onClosed: (link) => {
        if (link === this.leader) this.leader = null;
        this.events.onClosed(link);
      },
      onChanges: (link, changes, own) => this.events.onChanges(link, changes, own),
    });
  }

  private hintAt(leader: NodeStatus['peers'][number], term: number): void {
    this.hint = leader;
    if (term <= this.heardTerm) return;
    const link = this.links.find(({ address }) => address === leader.address);
    if (link?.dialNow() !== false) this.heardTerm = term;
  }

  private onClaim(link: Link, term: number): void {
    // A node that leads again may have forgotten what it was asked before.
    if (this.leader !== null && term <= this.leaderTerm) return;
    this.leader = link;
    this.leaderTerm = term;
    this.searchingSinceMs = null;
    this.events.onLeader(link);
  }
}

/** Refusals that say something about the request, not about the node or the moment. */
export function isFinal(refusal: Refusal): boolean {
  return (
    isFilesystemErrorCode(refusal.code) ||
    refusal.code === 'BAD_ARGUMENT' ||
    refusal.code === 'BAD_MESSAGE'
  );
}

/** The error of a request that the node will never take. */
export function rejection(refusal: Refusal): MootError {
  return new MootError(refusal.code, refusal.message);
}
