import type { Timer } from '../base/clock.js';
import type { ClientResponse, WatchEvent } from '../codec/client-messages.js';
import type { Effect } from '../filesystem/filesystem.js';
import type { Cluster } from './cluster.js';
import type { WatchListener } from './filesystem-client.js';
import type { Link } from './link.js';
import type { SeenChanges } from './submitter.js';

/** A quiet node is asked for a sign of life, so that a stream that ended unnoticed is noticed. */
const QUIET_MS = 1_000;

/**
 * The client knows of later changes, and the stream has not gone on for so long: its node is cut off
 * from the others, or far behind.
 */
const LAG_MS = 1_000;

/**
 * For so long an answer waits for the stream to come as far. Afterwards listeners must forget all: a
 * node that is stopped is found out only later. Nodes tell every 100 ms how far they are when nothing
 * changed that a listener could see (DUTIES_MS); several times that is no accident.
 */
const BEHIND_MS_MAX = 500;

/** The stream goes back to the preferred node when that has been there again for so long. */
const RETURN_MS = 5_000;

/**
 * The stream of changes, from one node at a time: the preferred one that answers. After a loss it
 * goes on at another node from where it stopped; a node that cannot do that says `reset`.
 */
export class Watcher implements SeenChanges {
  seenIndex = 0;
  changes = 0;
  gone = 0;
  private readonly listeners = new Set<WatchListener>();
  private wanted = false;
  private link: Link | null = null;
  private request = 0;
  /** The node that refused last: others are tried before it. */
  private refusedBy: Link | null = null;
  /** Events of the present stream up to here were passed on. */
  private streamIndex = 0;
  /** When the stream last went on, or had nothing to go on with. */
  private movedAtMs = 0;
  /** What `seenIndex` was at the last tick. */
  private seenBefore = 0;
  /** Runs until the stream has come to `behindIndex`, which the client has been told of. */
  private behindTimer: Timer | null = null;
  private behindIndex = 0;
  /** Listeners keep nothing before the stream has come so far. */
  private blindUntil = 0;
  /** Answers that wait for the stream. */
  private awaited: { readonly index: number; readonly reached: () => void }[] = [];

  constructor(
    private readonly cluster: Cluster,
    private readonly onIndex: (index: number) => void,
    /** The highest index that this client has heard of. */
    private readonly highestIndex: () => number,
    /** Hears of changes before any listener. */
    private readonly onEffects: (index: number, reset: boolean, effects: readonly Effect[]) => void,
    /** Answers come from the trees of nodes, and what listeners keep shall not be older than any. */
    private readonly keepsPace: boolean,
  ) {}

  /** False: the stream is behind what this client was told; what a listener keeps may be older. */
  get isAbreast(): boolean {
    return this.seenIndex >= this.blindUntil;
  }

  /** The client was told of the state at this index, by the answer to a command. */
  heard(index: number): void {
    if (!this.keepsPace || !this.wanted || index <= this.seenIndex) return;
    if (this.behindTimer !== null || !this.isAbreast) return;
    this.behindIndex = index;
    this.behindTimer = this.cluster.clock.setTimer(BEHIND_MS_MAX, () => this.fallBehind());
  }

  /** As `heard`, by an answer that waits until the promise resolves. null: it need not wait. */
  reached(index: number): Promise<void> | null {
    if (!this.keepsPace || !this.wanted || index <= this.seenIndex) return null;
    if (!this.isAbreast) {
      this.blindUntil = Math.max(this.blindUntil, index);
      return null;
    }
    this.heard(index);
    return new Promise((reached) => this.awaited.push({ index, reached }));
  }

  /** Once started the stream goes on until the client is closed: listeners come and go cheaply. */
  start(): void {
    this.wanted = true;
    this.subscribe();
  }

  add(listener: WatchListener): () => void {
    // An object of its own, so that a listener that is added twice is called twice and removed once.
    const own: WatchListener = {
      onChange: (event) => listener.onChange(event),
      onBehind: () => listener.onBehind?.(),
    };
    this.listeners.add(own);
    this.start();
    return () => this.listeners.delete(own);
  }

  /** A connection was made or could not be made. */
  onLinks(): void {
    this.subscribe();
  }

  /** Called about once a second, and when a link turned silent. */
  tick(nowMs: number): void {
    if (!this.wanted) return;
    if (this.seenIndex >= this.highestIndex()) this.movedAtMs = nowMs;
    // The connection goes too: otherwise the node, once awake, would feed two streams.
    if (this.link?.suspect && this.hasAlternative()) this.link.reset('silent');
    else if (this.lags(nowMs)) this.leaveLagging();
    else if (this.preferredIsBack(nowMs)) this.unsubscribe();
    this.subscribe();
    for (const link of this.cluster.links) {
      // As far as the stream was a moment ago: then it is no further behind than others.
      if (link.lagging && link.appliedIndex >= this.seenBefore) link.lagging = false;
      const isQuiet = link === this.link && link.quietMs(nowMs) >= QUIET_MS;
      if (link.suspect || link.lagging || isQuiet) this.cluster.probe(link);
    }
    this.seenBefore = this.seenIndex;
  }

  stop(): void {
    this.wanted = false;
    this.listeners.clear();
    this.behindTimer?.cancel();
    this.release(Number.POSITIVE_INFINITY);
  }

  /** What listeners keep may be older than what the client has been told, or is told now. */
  private fallBehind(): void {
    this.behindTimer = null;
    this.blindUntil = this.highestIndex();
    for (const listener of [...this.listeners]) listener.onBehind?.();
    this.release(Number.POSITIVE_INFINITY);
  }

  private release(index: number): void {
    if (this.awaited.length === 0) return;
    const waiting = this.awaited;
    this.awaited = waiting.filter((one) => one.index > index);
    for (const one of waiting) if (one.index <= index) one.reached();
  }

  /**
   * Local reads are answered by the preferred node. When it is behind the node that the changes come
   * from, a reader may hear of a change and then still read, and keep, what was there before.
   */
  private preferredIsBack(nowMs: number): boolean {
    const [preferred] = this.cluster.links;
    return (
      preferred !== undefined &&
      this.link !== preferred &&
      !preferred.suspect &&
      !preferred.lagging &&
      preferred.openMs(nowMs) >= RETURN_MS
    );
  }

  private hasAlternative(): boolean {
    const { link: present } = this;
    return this.cluster.links.some(
      (link) => link !== present && link.open && !link.suspect && !link.lagging,
    );
  }

  private lags(nowMs: number): boolean {
    return this.link !== null && nowMs - this.movedAtMs >= LAG_MS && this.hasAlternative();
  }

  private leaveLagging(): void {
    const { link } = this;
    if (link === null) return;
    link.lagging = true;
    // It has to say anew how far it is.
    link.appliedIndex = -1;
    link.reset('it lags behind');
  }

  private subscribe(): void {
    if (!this.wanted || this.link !== null || this.cluster.links[0]?.fresh) return;
    const candidates = this.cluster.candidates('local');
    const link = candidates.find((candidate) => candidate !== this.refusedBy) ?? candidates[0];
    if (link === undefined) return;
    const id = this.cluster.nextId();
    this.link = link;
    this.request = id;
    this.streamIndex = this.seenIndex;
    this.movedAtMs = this.cluster.clock.monotonicMs();
    link.request(
      { type: 'watch', id, fromIndex: this.seenIndex },
      {
        onResponse: (response) => this.onResponse(link, id, response),
        onLost: () => this.onLost(id),
      },
      true,
    );
  }

  /** Leaves a node that is well, and keeps the connection: a lease may hang on it. */
  private unsubscribe(): void {
    const { link, request } = this;
    if (link === null) return;
    this.link = null;
    this.request = 0;
    link.forget(request);
    link.tell(link.connection, { type: 'unwatch', id: request });
  }

  private onResponse(link: Link, id: number, response: ClientResponse): void {
    if (id !== this.request) return;
    if (response.type === 'watch-event') {
      this.refusedBy = null;
      this.onEvent(response);
      return;
    }
    // Refused, or nonsense: the next tick tries again, at another node when this one is not well.
    this.link = null;
    this.refusedBy = link;
    if (response.type === 'refusal') this.cluster.onRefusal(link, response);
    else link.reset(`a watch was answered by ${response.type}`);
  }

  private onLost(id: number): void {
    if (id !== this.request) return;
    this.link = null;
    this.subscribe();
  }

  private onEvent({ index, reset, effects }: WatchEvent): void {
    // After a reset a listener may have read an older tree: what follows must reach it again.
    if (!reset && index <= this.streamIndex) return;
    this.movedAtMs = this.cluster.clock.monotonicMs();
    this.streamIndex = index;
    this.onEffects(index, reset, effects);
    for (const listener of [...this.listeners]) listener.onChange({ index, reset, effects });
    for (const effect of effects) if (effect.type === 'inode' && effect.gone) this.gone++;
    if (reset || effects.length > 0) this.changes++;
    this.seenIndex = Math.max(this.seenIndex, index);
    this.onIndex(index);
    this.catchUp();
  }

  private catchUp(): void {
    this.release(this.seenIndex);
    if (this.seenIndex < this.behindIndex) return;
    this.behindTimer?.cancel();
    this.behindTimer = null;
    this.heard(this.highestIndex());
  }
}
