import type { Clock } from '../base/clock.js';
import { isMootError, MootError } from '../base/errors.js';
import type { CallOptions, FilesystemClient, WatchListener } from '../client/filesystem-client.js';
import type { ReadLevel } from '../codec/client-messages.js';
import type { ChangedInode, Command, Rename } from '../filesystem/commands.js';
import { nameKey } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import { isDirectory } from '../filesystem/mode.js';
import { type Ino, type Inode, ROOT_INO } from '../filesystem/records.js';
import { AbsentNames } from './absent-names.js';
import type { Handles } from './handles.js';
import { KernelLease } from './kernel-lease.js';
import { type AskedName, KnownNames } from './known-names.js';
import type { Attributes, Caller, Handle, KernelNotifier } from './mount.js';
import { PageVersions } from './page-versions.js';
import type { WriteBehind } from './write-behind.js';

/**
 * For how long the kernel may believe names and attributes at the levels `session` and `local`.
 * Changes are told to it as they are seen; the time only bounds what a lost telling can do.
 */
const CACHE_TIMEOUT_SEC = 10;
/** More changes than this during one request, and it counts as touched by all of them. */
const TOUCHED_MAX = 1_000;

/** An inode that the kernel is about to take over is told of again after this, and then less often. */
const AGAIN_MIN_MS = 1;
const AGAIN_MAX_MS = 256;

/**
 * rename(2) looks two names up, one after the other. A thread that has looked up the first may be put
 * aside for so long before it asks for the second.
 */
const BETWEEN_NAMES_MS = 1_000;

/** After ESTALE the kernel looks the same path up once more, at once. */
const SECOND_WALK_MS = 100;
/** The stream of changes tells of an own call within so long of its end. */
const OWN_CHANGE_MS = 2_000;
/** Of more than these, or twice what was left the last time, those that are over are forgotten. */
const OWN_NAMES_MAX = 1_024;
/** Threads of which that is remembered. */
const REFUSED_THREADS_MAX = 1_024;

/**
 * A thread that walks again may lock the directory for reading before the one that forgets the name in
 * it, which wakes up later; but only as long as that has not waited for 4 ms (RWSEM_WAIT_TIMEOUT).
 */
const FORGETTING_MS_MAX = 50;

/** The moment at which a LOOKUP came. */
export interface LookupBegun {
  readonly atMs: number;
  /** The kernel has the name: it may only check that, and ask again when it is told no. */
  readonly isCheck: boolean;
}

/** A thread's rename(2) was told to walk again. */
interface Refused {
  readonly call: string | null;
  readonly atMs: number;
  /** What names meant that it has looked up since. */
  readonly told: Map<string, Ino>;
}

/**
 * What changed while a request was under way: its answer may be older than an invalidation that
 * the kernel has had already, so the kernel must not keep it.
 */
export interface Watched {
  readonly touched: Set<Ino | string>;
  all: boolean;
}

export interface KernelCachesParts {
  readonly client: FilesystemClient;
  readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>;
  readonly level: ReadLevel;
  readonly callOptions: CallOptions;
  readonly handles: Handles;
}

/**
 * What this mount's kernel may have cached, and how it learns of changes by others: pages of open
 * files at every level; names and attributes at the levels `session` and `local` for as long as
 * nobody tells otherwise. At `strong` the kernel believes names and attributes for as long as the
 * client's lease lasts, see KernelLease.
 */
export class KernelCaches implements WatchListener {
  /** By time and afterwards told, not under a lease. */
  readonly keepsAttributes: boolean;
  private readonly lease: KernelLease | null;
  private readonly known = new KnownNames();
  /** At the levels `session` and `local`. */
  private readonly absences = new AbsentNames();
  private readonly pages = new PageVersions();
  private readonly requests = new Set<Watched>();
  /** Inodes whose pages are being compared; true: there was another change meanwhile. */
  private readonly comparing = new Map<Ino, boolean>();
  /** When threads were last sent to look names up anew. */
  private readonly refused = new Map<number, Refused>();
  /** Until when a change of the name may be that of an own call. */
  private readonly ownNames = new Map<string, number>();
  private ownNamesMax = OWN_NAMES_MAX;
  /** By thread. */
  private readonly forgetting = new Map<number, Promise<void>>();
  /** Inodes of which the kernel was told for longer than for one question, since it last had to forget. */
  private readonly granted = new Set<Ino>();
  /** Inodes without extended attributes, and until when the kernel believes what it was told of them. */
  private readonly bare = new Map<Ino, number>();
  private notifier: KernelNotifier | null = null;
  private writeBehind: WriteBehind | null = null;

  constructor(private readonly parts: KernelCachesParts) {
    this.keepsAttributes = parts.level !== 'strong';
    this.lease = this.keepsAttributes
      ? null
      : new KernelLease(
          parts.client,
          parts.clock,
          (ino) => ino === ROOT_INO || this.known.has(ino),
        );
    if (this.lease !== null) parts.client.setKeeper(this.lease);
  }

  connect(writeBehind: WriteBehind): void {
    this.writeBehind = writeBehind;
  }

  setNotifier(notifier: KernelNotifier): void {
    this.notifier = notifier;
    this.lease?.setNotifier(notifier, () => this.known.nextEpoch());
  }

  /** See KernelLease. */
  unanswered(own: Command): void {
    this.lease?.unanswered(own);
  }

  /** See KernelLease. */
  expired(own: Command): Promise<void> | null {
    return this.lease?.expired(own) ?? null;
  }

  private get timeoutSec(): number {
    return this.keepsAttributes && this.parts.client.seesChanges ? CACHE_TIMEOUT_SEC : 0;
  }

  /** Runs a request and says afterwards what was touched meanwhile. */
  async watching<T>(
    request: (watched: Watched) => Promise<T>,
  ): Promise<{ value: T; watched: Watched }> {
    const watched: Watched = { touched: new Set(), all: false };
    if (!this.keepsAttributes) return { value: await request(watched), watched };
    this.requests.add(watched);
    try {
      return { value: await request(watched), watched };
    } finally {
      this.requests.delete(watched);
    }
  }

  /** The answer to a request for an inode's attributes. */
  attributes(inode: Inode, watched: Watched): Attributes {
    const leased = this.mayLease(inode.ino) ? this.lease?.attributes(inode) : undefined;
    if (leased !== undefined) return leased;
    const timeoutSec = this.isTouched(inode.ino, watched) ? 0 : this.timeoutSec;
    if (timeoutSec > 0) this.granted.add(inode.ino);
    if (timeoutSec > 0 && inode.xattrs === 0) {
      this.bare.set(inode.ino, this.parts.clock.monotonicMs() + timeoutSec * 1_000);
    } else this.bare.delete(inode.ino);
    return { inode, attrTimeoutSec: timeoutSec, entryTimeoutSec: 0 };
  }

  /**
   * The inode has no extended attributes, as surely as it has those that the kernel believes without
   * asking. The kernel itself keeps nothing of them, and `ls -l` asks for each file's.
   */
  isBare(ino: Ino): boolean {
    const untilMs = this.bare.get(ino);
    if (untilMs === undefined || !this.parts.client.seesChanges) return false;
    return this.parts.clock.monotonicMs() < untilMs;
  }

  /** This mount changes the inode's extended attributes: to be called before and afterwards. */
  dressed(ino: Ino): void {
    if (!this.keepsAttributes) return;
    this.touch(ino);
  }

  beginLookup(asked: AskedName): LookupBegun {
    this.absences.drop(asked);
    return { atMs: this.parts.clock.monotonicMs(), isCheck: this.known.hasName(asked) };
  }

  /**
   * ESTALE, once for each thread in rename(2), when the kernel knows the inode that a LOOKUP found under another
   * name, too, and that one does not mean it any more: somebody else has moved it. rename(2) of the
   * one to the other would find both to be the same inode, and return success without asking
   * (vfs_rename): two mounts could each have renamed the same file to the same name. After ESTALE
   * the kernel looks the whole path up anew, and asks for every name in it (LOOKUP_REVAL).
   */
  async refuseMoved(
    asked: AskedName,
    inode: Inode,
    { atMs, isCheck }: LookupBegun,
    caller: Caller,
    meaningOf: (other: AskedName) => Promise<Ino | null>,
  ): Promise<void> {
    const { ino } = inode;
    if (isDirectory(inode)) await this.forgetElsewhere(asked, ino, caller);
    const used = this.known.othersUsed(ino, asked, atMs);
    // Between two directories the kernel itself finds that a directory was moved (__d_unalias).
    const others = isDirectory(inode) ? used.filter((one) => one.parent === asked.parent) : used;
    if (others.length === 0) return;
    const isAlone = inode.nlink === 1 || isDirectory(inode);
    const meanings = await Promise.all(isAlone ? [] : others.map(meaningOf));
    const moved = others.filter((_, i) => meanings[i] !== ino);
    if (moved.length === 0) return;
    const thread = caller.pid;
    if (!moved.some((other) => !this.known.isTold(ino, other, thread))) return;
    // Other calls would gain nothing, and not all of them try again: link(2) does not.
    const call = (await caller.renameCall?.()) ?? null;
    if (call === '') return;
    if (isCheck) {
      this.known.dropName(asked);
    } else {
      for (const other of moved) this.known.tell(ino, other, thread);
      const before = this.refusedBefore(thread, call);
      // In the second walk the kernel asks for both names: these are of one inode only if it was told so.
      const isSame = moved.some(
        ({ parent, name }) => before?.told.get(nameKey(parent, name)) === ino,
      );
      if (isSame) throw new MootError('ENOENT', `inode ${ino} came meanwhile`);
      if (before !== null) return;
      this.expireNames();
    }
    throw new MootError('ESTALE', `inode ${ino} was moved by somebody else`);
  }

  private expireNames(): void {
    const expireNames = this.notifier?.expireNames;
    if (!expireNames) return;
    expireNames();
    this.known.nextEpoch();
  }

  /**
   * The kernel has one name for a directory, and moves it when it finds another one; but not in
   * rename(2) between two directories, which has the lock that this takes: ESTALE (__d_unalias), and
   * once more in the second walk. So the old name goes before that, without anybody waiting for it:
   * its directory may be locked until the first walk is over.
   */
  private async forgetElsewhere(asked: AskedName, ino: Ino, caller: Caller): Promise<void> {
    const { notifier, known } = this;
    if (notifier === null || !known.isElsewhere(ino, asked)) return;
    const call = (await caller.renameCall?.()) ?? null;
    if (call === null || call === '') return;
    const { pid } = caller;
    const gone = known
      .takeElsewhere(ino, asked)
      .map(({ parent, name }) => notifier.invalidateEntry(parent, name));
    const forgetting = Promise.all(gone).then(() => {
      if (this.forgetting.get(pid) === forgetting) this.forgetting.delete(pid);
    });
    this.forgetting.set(pid, forgetting);
  }

  /** The thread is about to lock directories: what is to be forgotten in them goes first, if it can. */
  forgettingOf({ pid }: Caller): Promise<void> | null {
    const forgetting = this.forgetting.get(pid);
    if (forgetting === undefined) return null;
    return new Promise((resolve) => {
      const timer = this.parts.clock.setTimer(FORGETTING_MS_MAX, resolve);
      void forgetting.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /**
   * The thread was refused a moment ago, in this call or one with the same arguments: a second ESTALE would
   * reach the program. null: it was not; it is refused now.
   */
  private refusedBefore(thread: number, call: string | null): Refused | null {
    const atMs = this.parts.clock.monotonicMs();
    const before = this.refused.get(thread);
    const isSame = before !== undefined && before.call === call;
    if (isSame && call !== null && atMs - before.atMs < SECOND_WALK_MS) return before;
    if (this.refused.size >= REFUSED_THREADS_MAX) this.refused.clear();
    this.refused.set(thread, { call, atMs, told: new Map() });
    return null;
  }

  /** A LOOKUP of the thread finds something. */
  found(asked: AskedName, ino: Ino, { pid }: Caller): void {
    const refused = this.refused.get(pid);
    if (refused === undefined) return;
    // That walk is over, though the kernel has said nothing of it.
    if (this.nowMs - refused.atMs > SECOND_WALK_MS) this.refused.delete(pid);
    else refused.told.set(nameKey(asked.parent, asked.name), ino);
  }

  /** Its rename(2) has found both names: the next one walks for the first time. */
  walked({ pid }: Caller): void {
    this.refused.delete(pid);
  }

  /** There is no such name, a LOOKUP found: a rename(2) ends, or has found both names. */
  absent(asked: AskedName, { pid }: Caller, watched: Watched): void {
    this.refused.delete(pid);
    this.known.dropName(asked);
    const { nowMs, timeoutSec } = this;
    if (timeoutSec === 0 || this.notifier === null || this.isNameTouched(asked, watched)) return;
    this.absences.add(asked, nowMs, nowMs + timeoutSec * 1_000);
  }

  /** A call of this mount took the name away. */
  removedName(asked: AskedName): void {
    this.known.removeName(asked);
  }

  /** A call of this mount was decided; its result is about to reach the kernel. */
  renamed(own: Rename): void {
    const { parent, name, newParent, newName, mode } = own;
    this.lease?.moved(own);
    const to = { parent: newParent, name: newName };
    this.known.rename({ parent, name }, to, mode === 'exchange');
  }

  /** The answer to a request for a name: the kernel knows the inode from now on. */
  entry(asked: AskedName, inode: Inode, watched: Watched): Attributes {
    this.known.add(inode.ino);
    return this.noted(asked, this.named(asked, inode, watched));
  }

  /** As `entry`, in a listing. */
  listed(asked: AskedName, inode: Inode, watched: Watched): Attributes {
    this.known.add(inode.ino);
    if (this.keepsAttributes) return this.noted(asked, this.named(asked, inode, watched));
    return this.noted(asked, this.attributes(inode, watched));
  }

  private noted(asked: AskedName, answer: Attributes): Attributes {
    if (this.notifier === null) return answer;
    const { inode } = answer;
    const nowMs = this.parts.clock.monotonicMs();
    const usedUntilMs = nowMs + answer.entryTimeoutSec * 1_000 + BETWEEN_NAMES_MS;
    this.known.setName(asked, inode.ino, usedUntilMs, isDirectory(inode));
    return answer;
  }

  private named(asked: AskedName, inode: Inode, watched: Watched): Attributes {
    const leased = this.mayLease(inode.ino) ? this.lease?.entry(asked, inode) : undefined;
    if (leased !== undefined) return leased;
    const entryTimeoutSec = this.isNameTouched(asked, watched) ? 0 : this.timeoutSec;
    return { ...this.attributes(inode, watched), entryTimeoutSec };
  }

  /** Answers of the cluster may be used again later, while it vouches for them. */
  get keepsAnswers(): boolean {
    return this.lease !== null;
  }

  /** What the name means, which is known without asking: this inode; null: that is not known. */
  kept(asked: AskedName, ino: Ino): Inode | null {
    const inode = this.lease?.inodeOf(asked) ?? null;
    return inode?.ino === ino ? inode : null;
  }

  /** The answer to a request that made an inode without a name: the kernel knows it, too. */
  unnamed(inode: Inode, watched: Watched): Attributes {
    this.known.add(inode.ino);
    return this.attributes(inode, watched);
  }

  /** For how long the kernel may believe that there is no such name. */
  absenceTimeoutSec(asked: AskedName): number {
    if (this.lease !== null) return this.lease.absenceTimeoutSec(asked);
    return this.absences.has(asked) ? this.timeoutSec : 0;
  }

  isTouched(ino: Ino, watched: Watched): boolean {
    return watched.all || watched.touched.has(ino);
  }

  isNameTouched(asked: AskedName, watched: Watched): boolean {
    if (!this.keepsAttributes) return false;
    return watched.all || watched.touched.has(nameKey(asked.parent, asked.name));
  }

  forget(ino: Ino, count: number): void {
    if (!this.known.forget(ino, count)) return;
    this.lease?.forgotten(ino);
    this.bare.delete(ino);
    this.granted.delete(ino);
    this.pages.forget(ino);
    this.parts.handles.forgotten(ino);
  }

  /** The kernel knows the inode, and will say when it does not any more. */
  knows(ino: Ino): boolean {
    return this.known.has(ino);
  }

  /** A file was opened at this dataVersion; returns whether the kernel may keep its pages. */
  opened(inode: Inode, handle: Handle): boolean {
    this.sized(inode);
    return this.pages.opened(inode.ino, inode.dataVersion, handle);
  }

  /** A request with this handle came. */
  used(ino: Ino, handle: Handle): void {
    this.pages.used(ino, handle);
  }

  /** The kernel asks for pages of the inode. */
  asked(ino: Ino): void {
    this.pages.asked(ino);
  }

  /**
   * Bytes were appended that are not in the kernel's pages, and their write(2) is about to return. Whatever
   * page was read before has zeros in their place, which count as content as soon as the kernel learns
   * that the file is longer: those pages go first. null: there are none.
   */
  appended(ino: Ino): Promise<void> | null {
    if (this.notifier === null || !this.pages.takeAsked(ino)) return null;
    this.pages.distrust(ino);
    return this.notifier.dropPages(ino);
  }

  /** Up to here the kernel's pages have what is, or will be, in the file: read, or written by this mount. */
  filled(ino: Ino, end: number): void {
    this.pages.filled(ino, end);
  }

  /** An answer says how long the file is; somebody else may have made it shorter. */
  private sized(inode: Inode): void {
    if (!this.writeBehind?.isPending(inode.ino)) this.pages.sized(inode.ino, inode);
  }

  /** An answer from before a change of the content that this mount has made and been told of. */
  isOld({ ino, dataVersion }: Inode): boolean {
    return dataVersion < this.pages.ownVersion(ino);
  }

  /** This mount has changed the content, and the node that tells of changes may not have come to that. */
  isAheadOfChanges(ino: Ino): boolean {
    return this.pages.ownVersion(ino) > this.parts.client.seenIndex;
  }

  /** This mount made the file end here. */
  resized(ino: Ino, size: number): void {
    this.pages.resized(ino, size);
  }

  /**
   * Of what the kernel writes back from its pages, that which was ever in them. Through a mapping no file
   * grows; but when another mount has made it longer, and the kernel has heard of that before its last
   * page was dropped, it writes the page to the new end: zeros over the other's bytes.
   */
  ofPages(ino: Ino, offset: number, data: Uint8Array): Uint8Array {
    const end = this.pages.end(ino);
    if (offset + data.length <= end) return data;
    this.dropPages(ino);
    return data.subarray(0, Math.max(0, end - offset));
  }

  /** An own change of the content took effect. `misplaced`: not where the kernel's pages have it. */
  changed(ino: Ino, value: ChangedInode, misplaced: boolean): void {
    this.pages.changed(ino, value);
    if (misplaced) this.dropPages(ino);
  }

  /** The kernel's pages may hold what is not in the file. */
  dropPages(ino: Ino): void {
    this.pages.distrust(ino);
    this.notifier?.invalidateInode(ino, true);
  }

  /** Somebody holds a lock now and may read: what others changed before must show. */
  async locked({ ino, dataVersion }: Inode): Promise<void> {
    if (this.notifier === null || this.pages.isRight(ino, dataVersion)) return;
    this.pages.distrust(ino);
    await this.notifier.dropPages(ino);
    this.pages.emptied(ino, dataVersion);
  }

  onChange(event: {
    readonly index: number;
    readonly reset: boolean;
    readonly effects: readonly Effect[];
  }): void {
    if (event.reset) this.reset();
    for (const effect of event.effects) {
      if (effect.type === 'entry') this.nameChanged(effect);
      else if (effect.type === 'inode') this.inodeChanged(effect, event.index);
    }
  }

  /** Bytes that are not committed change size and times without the cluster knowing. */
  private mayLease(ino: Ino): boolean {
    return this.lease !== null && !this.writeBehind?.isPending(ino);
  }

  private reset(): void {
    this.parts.handles.markAllUnlinked();
    this.onBehind();
  }

  /** All that the kernel keeps is in doubt. */
  onBehind(): void {
    for (const watched of this.requests) watched.all = true;
    const { inodes, names } = this.known.takeAll();
    const withPages = this.pages.distrustAll();
    for (const ino of withPages) this.notifier?.invalidateInode(ino, true);
    if (!this.keepsAttributes) return;
    this.bare.clear();
    this.granted.clear();
    for (const ino of [ROOT_INO, ...inodes]) this.notifier?.invalidateInode(ino, true);
    for (const { parent, name } of [...names, ...this.absences.takeAll()]) {
      void this.notifier?.invalidateEntry(parent, name);
    }
  }

  private nameChanged(effect: Extract<Effect, { type: 'entry' }>): void {
    if (!this.keepsAttributes) return;
    const { parent, name } = effect;
    this.touch(nameKey(parent, name));
    this.absences.drop({ parent, name });
    if (parent !== ROOT_INO && !this.known.has(parent)) return;
    this.known.dropName({ parent, name });
    // Whoever works in a directory that this mount has made or renamed must not lose its path.
    const ownUntilMs = this.ownNames.get(nameKey(parent, name)) ?? Number.NEGATIVE_INFINITY;
    const isOwn = this.parts.clock.monotonicMs() < ownUntilMs;
    void this.notifier?.invalidateEntry(parent, name, isOwn);
  }

  /** Runs a call of this mount that makes a name, or moves something to it. */
  async naming<T>(names: readonly AskedName[], call: () => Promise<T>): Promise<T> {
    if (!this.keepsAttributes) return call();
    const keys = names.map(({ parent, name }) => nameKey(parent, name));
    for (const key of keys) this.ownNames.set(key, Number.POSITIVE_INFINITY);
    try {
      return await call();
    } finally {
      const nowMs = this.parts.clock.monotonicMs();
      for (const key of keys) this.ownNames.set(key, nowMs + OWN_CHANGE_MS);
      if (this.ownNames.size > this.ownNamesMax) {
        for (const [key, untilMs] of this.ownNames) if (untilMs <= nowMs) this.ownNames.delete(key);
        this.ownNamesMax = OWN_NAMES_MAX + 2 * this.ownNames.size;
      }
    }
  }

  private inodeChanged(effect: Extract<Effect, { type: 'inode' }>, index: number): void {
    const { ino, gone, data } = effect;
    if (gone) this.parts.handles.markUnlinked(ino);
    if (this.keepsAttributes) {
      this.touch(ino);
      // Not more often than needed: an answer that is overtaken by one changes what stat(2) says, and not how
      // long the kernel takes the file to be (fuse_change_attributes).
      if (this.granted.delete(ino)) this.expireAttributes(ino);
    }
    if (data) this.contentChanged(ino, index);
  }

  /**
   * An answer that brings the kernel a new inode may have been overtaken by this: the kernel would believe
   * it, since it cannot compare. So it is told again until it has the inode, or has forgotten it.
   */
  private expireAttributes(ino: Ino, againMs = AGAIN_MIN_MS, sinceMs = this.nowMs): void {
    this.notifier?.invalidateInode(ino, false, () => {
      if (!this.known.has(ino) || this.nowMs - sinceMs > CACHE_TIMEOUT_SEC * 1_000) return;
      this.parts.clock.setTimer(againMs, () =>
        this.expireAttributes(ino, Math.min(2 * againMs, AGAIN_MAX_MS), sinceMs),
      );
    });
  }

  private get nowMs(): number {
    return this.parts.clock.monotonicMs();
  }

  private touch(what: Ino | string): void {
    if (typeof what === 'number') this.bare.delete(what);
    for (const watched of this.requests) {
      if (watched.touched.size < TOUCHED_MAX) watched.touched.add(what);
      else watched.all = true;
    }
  }

  /** Somebody changed the content, perhaps this mount: then the pages are right already. */
  private contentChanged(ino: Ino, index: number): void {
    const version = this.pages.version(ino);
    if (version === undefined) return;
    if (version === null) {
      this.dropPages(ino);
      return;
    }
    if (version >= index) return;
    if (this.comparing.has(ino)) {
      this.comparing.set(ino, true);
      return;
    }
    this.comparing.set(ino, false);
    void this.compareVersions(ino);
  }

  private async compareVersions(ino: Ino): Promise<void> {
    for (;;) {
      this.comparing.set(ino, false);
      // The reply to an own write says whether it was this mount's.
      await this.writeBehind?.decided(ino);
      const same = await this.isVersionRight(ino);
      if (!same && this.writeBehind?.isOnItsWay(ino)) continue;
      if (!same) this.dropPages(ino);
      if (!same || this.comparing.get(ino) === false) break;
    }
    this.comparing.delete(ino);
  }

  private async isVersionRight(ino: Ino): Promise<boolean> {
    try {
      // At `session`, whatever this mount's level: a tree that is older than the change would
      // answer with the version before it.
      const { inode } = await this.parts.client.query(
        { type: 'get-inode', ino },
        { ...this.parts.callOptions, level: 'session' },
      );
      this.sized(inode);
      return this.pages.version(ino) === inode.dataVersion;
    } catch (error) {
      if (!isMootError(error)) throw error;
      return false;
    }
  }
}
