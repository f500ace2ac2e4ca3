import { MootError } from '../base/errors.js';
import type { SnapshotMessage } from '../codec/peer-messages.js';
import type {
  ConfigurationAt,
  FollowerStatus,
  NodeId,
  Raft,
  RaftStatus,
  SnapshotMark,
} from '../raft/types.js';
import type { Laggard } from './compaction.js';
import type { Feed } from './feed.js';
import { storedMembers } from './members.js';
import type { NodeParts } from './node.js';
import type { Saver } from './saver.js';
import { type ArrivedSnapshot, SnapshotReceiver } from './snapshot-receiver.js';
import { SnapshotSender } from './snapshot-sender.js';
import type { Tree } from './tree.js';

/** The log is kept for a follower that was heard from within this: it may be restarting. */
const AWAY_MS = 5_000;

export interface SnapshotsParts {
  readonly node: NodeParts;
  readonly raft: Raft;
  readonly saver: Saver;
  readonly feed: Feed;
  readonly tree: Tree;
  readonly send: (message: SnapshotMessage) => void;
  /** This node's term, as of the last turn. */
  readonly term: () => number;
  /** Raft has something to do. */
  readonly onTurn: () => void;
  /** Log, tree and core stand at `mark` now. */
  readonly onInstalled: (mark: SnapshotMark) => void;
  readonly onFailed: (error: unknown) => void;
}

/** The snapshots of one node: those that it sends while it leads, and the one that it takes in. */
export class Snapshots {
  private readonly senders = new Map<NodeId, SnapshotSender>();
  /** Followers that took in a snapshot from this leader and are not at the log's end yet. */
  private readonly catchingUp = new Set<NodeId>();
  /** When this leader last knew each follower to be there. */
  private readonly heardMs = new Map<NodeId, number>();
  private readonly receiver: SnapshotReceiver;
  private isInstalling = false;
  /** It is in the store, and the core does not know yet. */
  private installed: (ArrivedSnapshot & { readonly configuration: ConfigurationAt }) | null = null;

  constructor(private readonly parts: SnapshotsParts) {
    const { config, state, clock, digest } = parts.node;
    this.receiver = new SnapshotReceiver({
      id: config.id,
      state,
      clock,
      digest,
      send: parts.send,
      present: () => ({ term: parts.term(), appliedIndex: parts.tree.applied.index }),
      install: (snapshot) => this.install(snapshot),
      onFailed: parts.onFailed,
    });
  }

  /** A snapshot takes the tree's place: until then the core must stand still. */
  get installing(): boolean {
    return this.isInstalling;
  }

  heard(message: SnapshotMessage): void {
    if (message.type === 'snapshot-chunk') this.receiver.onChunk(message);
    else this.senders.get(message.from)?.onAck(message);
  }

  tick(): void {
    for (const sender of this.senders.values()) sender.tick();
    this.receiver.tick();
  }

  send(to: NodeId): void {
    // The core asks again only when the stream before has become useless.
    this.senders.get(to)?.abort();
    const { raft, send, onTurn, onFailed } = this.parts;
    const { config, state, clock, digest, random, transport, report, observer } = this.parts.node;
    observer?.onSnapshot({ type: 'sending', to });
    report('info', `streams a snapshot to ${to}`);
    const sender: SnapshotSender = new SnapshotSender({
      id: config.id,
      to,
      term: raft.status().term,
      stream: Math.floor(random.next() * 2 ** 48),
      state,
      clock,
      digest,
      send,
      queuedBytes: () => transport.queuedBytes(to),
      delayMsMax: config.heartbeatMs,
      onEnd: (outcome) => {
        if (this.senders.get(to) === sender) this.senders.delete(to);
        if (outcome.ok) this.catchingUp.add(to);
        observer?.onSnapshot({ type: 'sent', to, ...outcome });
        raft.snapshotSent(to, outcome);
        onTurn();
      },
      onFailed,
    });
    this.senders.set(to, sender);
  }

  /** These are the members now: nobody else gets anything. */
  keepMembers(members: readonly { readonly id: NodeId }[]): void {
    this.abortUnless((to) => members.some(({ id }) => id === to));
  }

  /** This node led, and leads on or not: a stream is of one term. */
  keepOffice({ role, term }: RaftStatus): void {
    const leads = role === 'leader';
    this.abortUnless((_, sender) => leads && sender.term === term);
    if (leads) return;
    this.catchingUp.clear();
    this.heardMs.clear();
  }

  /** At a leader. */
  hearFollowers(nowMs: number, followers: readonly FollowerStatus[]): void {
    for (const { id, recentlyActive } of followers) {
      if (recentlyActive) this.heardMs.set(id, nowMs);
    }
  }

  /** Followers for whom the log is kept, within bounds. */
  laggards(): readonly Laggard[] {
    const { config, clock } = this.parts.node;
    const { followers, lastIndex } = this.parts.raft.status();
    const heardFrom = clock.monotonicMs() - AWAY_MS;
    return followers.flatMap(({ id, match, next, state }) => {
      const sender = this.senders.get(id);
      if (sender !== undefined) return [{ index: sender.index, bySnapshot: true }];
      // In a probe what it has is not known; `next` is where it goes on.
      const index = state === 'replicate' ? match : next - 1;
      if (match >= lastIndex - config.snapshotTailEntries) this.catchingUp.delete(id);
      const isThere = (this.heardMs.get(id) ?? 0) > heardFrom;
      return isThere ? [{ index, bySnapshot: this.catchingUp.has(id) }] : [];
    });
  }

  /** The tree goes on from `mark`: that of a snapshot, if one was being installed. */
  replaced(mark: SnapshotMark): void {
    const { raft, onInstalled, onTurn, node } = this.parts;
    if (this.installed === null) return;
    const { from, term, configuration } = this.installed;
    this.installed = null;
    raft.snapshotInstalled(from, term, mark, configuration);
    onInstalled(mark);
    node.observer?.onSnapshot({ type: 'installed', from, index: mark.index });
    node.report('info', `took in a snapshot from ${from} at index ${mark.index}`);
    onTurn();
  }

  /** Nothing more is sent. */
  halt(): void {
    this.abortUnless(() => false);
  }

  /** Drops what has arrived; resolves when nothing is under way. */
  close(): Promise<void> {
    return this.receiver.close();
  }

  /**
   * Puts a snapshot in the tree's place, in the order that Raft.snapshotInstalled asks for. See
   * recovery.ts for what a crash between the steps leaves behind. False: its leader is of the past.
   */
  private async install(snapshot: ArrivedSnapshot): Promise<boolean> {
    const { saver, raft, feed, tree, onTurn } = this.parts;
    const { log, state } = this.parts.node;
    const { mark, source } = snapshot;
    if (snapshot.term < raft.status().term) return false;
    if (!raft.wantsSnapshot(mark)) {
      await source.abort();
      return true;
    }
    this.isInstalling = true;
    try {
      await saver.exclusive(async () => {
        await log.prepareReset(mark);
        await tree.replace(mark, async () => {
          await source.finish();
          const configuration = await storedMembers(state);
          if (configuration === null) {
            throw new MootError('DATA_CORRUPT', 'a snapshot came without the members');
          }
          // What was being read from the log is not in it any more.
          feed.reset(mark.index);
          await log.reset(mark);
          this.installed = { ...snapshot, configuration };
        });
      });
    } finally {
      this.isInstalling = false;
      onTurn();
    }
    return true;
  }

  private abortUnless(keeps: (to: NodeId, sender: SnapshotSender) => boolean): void {
    for (const [to, sender] of this.senders) {
      if (keeps(to, sender)) continue;
      sender.abort();
      this.senders.delete(to);
    }
  }
}
