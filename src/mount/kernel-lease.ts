import type { Clock } from '../base/clock.js';
import type { AnswerKeeper, FilesystemClient, KeptQuery } from '../client/filesystem-client.js';
import type { Command, CommandType, Rename } from '../filesystem/commands.js';
import { nameKey } from '../filesystem/facts.js';
import type { Ino, Inode } from '../filesystem/records.js';
import type { AskedName } from './known-names.js';
import type { Attributes, KernelNotifier } from './mount.js';

/**
 * The kernel counts in ticks of up to 10 ms, rounds up, and believes until the last tick is over
 * (time_to_jiffies and time_before64 in fs/fuse/dir.c).
 */
const TICKS_MS = 20;
/** Own commands whose names the kernel changes itself when it has their result; rename(2): see `moved`. */
const CHANGES_NAMES: ReadonlySet<CommandType> = new Set<CommandType>([
  'make-node',
  'make-symlink',
  'link',
  'unlink',
  'remove-directory',
]);
/** Below this it is not worth a promise. */
const TIMEOUT_MS_MIN = 10;
/** What was granted is looked through for what is over when there is that much more of it. */
const GRANTED_MORE = 1_024;
/**
 * The kernel counts the time from when the thread that asked takes the answer over. However busy the
 * machine is, that is not put off for longer.
 */
const TAKEN_OVER_MS_MAX = 10_000;
/** An inode that the kernel is about to take over is asked for again after this, and then less often. */
const AGAIN_MIN_MS = 1;
const AGAIN_MAX_MS = 16;

/**
 * Lets the kernel believe strong answers for as long as the client's lease lasts, and makes it
 * forget them before the client acknowledges a change. So a stat(2) that the kernel answers alone
 * is as strong as one that the leader answers.
 *
 * Why no older state is seen after a change: attributes are expired by a notification that also
 * raises the inode's attr_version, and names by one that starts a new epoch; an answer to a request
 * that the kernel sent before counts for nothing then (fuse_change_attributes, fuse_dentry_revalidate).
 * Neither takes the lock of a directory: operations that hold it wait for the leader, and the leader
 * waits for the acknowledgement. Kernels before 6.16 have no epoch; they ask for each name.
 *
 * Where the kernel does not compare versions, nothing is granted, or it is asked again:
 * - What SETATTR and LINK answer is taken over whatever has changed meanwhile (fuse_do_setattr,
 *   create_new_entry): no attributes are granted.
 * - A name of READDIRPLUS is of the epoch in which it is taken over (fuse_direntplus_link): no names
 *   are granted.
 * - An inode that the kernel does not have yet has no version. A notification says so, and is
 *   repeated until the kernel has taken the inode over, or has forgotten it.
 *
 * Changes by own commands reach the kernel with their results. It then changes names by itself,
 * but not what an answer on its way says of attributes: those are expired all the same. When the
 * caller has given up, there is no result, and names are expired, too.
 */
export class KernelLease implements AnswerKeeper {
  private notifier: KernelNotifier | null = null;
  private onNamesExpired: () => void = () => {};
  private readonly inodesUntilMs = new Granted<Ino>();
  private readonly namesUntilMs = new Granted<string>();
  private readonly expiringOf = new WeakMap<Command, Promise<void>>();
  private readonly steps = new WeakSet<Command>();

  constructor(
    private readonly client: FilesystemClient,
    private readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>,
    /** False: whatever the kernel was told of the inode, it has forgotten. */
    private readonly knows: (ino: Ino) => boolean,
  ) {}

  /** `onNamesExpired`: the kernel was made to drop all names. */
  setNotifier(notifier: KernelNotifier, onNamesExpired: () => void = () => {}): void {
    this.notifier = notifier;
    this.onNamesExpired = onNamesExpired;
  }

  /**
   * Resolves when the kernel believes nothing older than this own command, which was decided; null:
   * that is so already.
   */
  expired(own: Command): Promise<void> | null {
    return this.expiringOf.get(own) ?? null;
  }

  /** This own command is a step on the way: its result is no answer that the kernel gets. */
  unanswered(own: Command): void {
    this.steps.add(own);
  }

  /** The attributes as they are known now; undefined: the kernel must ask each time. */
  attributes(inode: Inode): Attributes | undefined {
    const kept = this.kept({ type: 'get-inode', ino: inode.ino });
    if (kept === null || kept.inode === null) return undefined;
    this.grantAttributes(kept.inode, kept.forMs);
    return { inode: kept.inode, attrTimeoutSec: kept.forMs / 1_000, entryTimeoutSec: 0 };
  }

  entry(asked: AskedName, inode: Inode): Attributes | undefined {
    const kept = this.kept({ type: 'lookup', ...asked });
    // Another inode by now: the kernel was to be told of this one, and asks again.
    if (kept?.inode?.ino !== inode.ino) return this.attributes(inode);
    this.grantAttributes(kept.inode, kept.forMs);
    const timeoutSec = kept.forMs / 1_000;
    const entryTimeoutSec = this.grantName(asked, kept.forMs) ? timeoutSec : 0;
    return { inode: kept.inode, attrTimeoutSec: timeoutSec, entryTimeoutSec };
  }

  /** What the name means, as it is known now; null: that is not known, or nothing. */
  inodeOf(asked: AskedName): Inode | null {
    return this.kept({ type: 'lookup', ...asked })?.inode ?? null;
  }

  absenceTimeoutSec(asked: AskedName): number {
    const kept = this.kept({ type: 'lookup', ...asked });
    if (kept === null || kept.inode !== null) return 0;
    return this.grantName(asked, kept.forMs) ? kept.forMs / 1_000 : 0;
  }

  /** The kernel has forgotten the inode. */
  forgotten(ino: Ino): void {
    this.inodesUntilMs.take(ino);
  }

  forget({ reset, effects, own }: Parameters<AnswerKeeper['forget']>[0]): Promise<void> | null {
    const { notifier, inodesUntilMs, namesUntilMs } = this;
    if (notifier === null) return null;
    const inodes = reset ? inodesUntilMs.takeAll() : new Map<Ino, number>();
    let names = reset && namesUntilMs.takeAll().size > 0;
    const namesAreChanged = own !== null && CHANGES_NAMES.has(own.type);
    let movedUntilMs = Number.NEGATIVE_INFINITY;
    for (const effect of effects) {
      if (effect.type === 'entry') {
        const untilMs = namesUntilMs.take(nameKey(effect.parent, effect.name));
        if (untilMs === null || namesAreChanged) continue;
        if (own?.type === 'rename') movedUntilMs = Math.max(movedUntilMs, untilMs);
        else names = true;
      } else if (effect.type === 'inode') {
        const untilMs = inodesUntilMs.take(effect.ino);
        const isAnswered = changesItself(own, effect.ino) && !(own !== null && this.steps.has(own));
        if (untilMs !== null && !isAnswered) inodes.set(effect.ino, untilMs);
      }
    }
    if (own?.type === 'rename' && Number.isFinite(movedUntilMs)) {
      for (const { parent, name } of namesAfter(own)) {
        namesUntilMs.grant(nameKey(parent, name), this.clock.monotonicMs(), movedUntilMs);
      }
    }
    if (names) this.expireNames(notifier);
    if (inodes.size === 0) return null;
    const all = [...inodes].map(([ino, untilMs]) => this.expireInode(notifier, ino, untilMs));
    const expired = Promise.all(all).then(() => undefined);
    if (own !== null) this.expiringOf.set(own, expired);
    return expired;
  }

  /**
   * An own rename was decided, and its result is about to reach the kernel, which then believes the new
   * name for as long as it would have believed the old one (d_move). That is right where the leader has
   * promised to tell of the new name, too, with its answer; otherwise all names go. Only then: who works
   * in a directory may lose its path with them, and what is mounted in one is unmounted (d_invalidate).
   */
  moved(own: Rename): void {
    const nowMs = this.clock.monotonicMs();
    const isGranted = ({ parent, name }: AskedName) =>
      this.namesUntilMs.has(nameKey(parent, name), nowMs);
    const names = namesAfter(own);
    // A reply that was given before brings no effects: nobody has said what it changed.
    const isTold = names.length > 1 || !isGranted(own);
    const isVouchedFor =
      isTold &&
      names.every(
        (asked) => !isGranted(asked) || this.client.kept({ type: 'lookup', ...asked }) !== null,
      );
    if (!isVouchedFor && this.notifier !== null) this.expireNames(this.notifier);
  }

  private expireNames(notifier: KernelNotifier): void {
    if (notifier.expireNames === null) return;
    notifier.expireNames();
    this.onNamesExpired();
  }

  private async expireInode(notifier: KernelNotifier, ino: Ino, untilMs: number): Promise<void> {
    for (let againMs = AGAIN_MIN_MS; ; againMs = Math.min(2 * againMs, AGAIN_MAX_MS)) {
      if (await notifier.expireInode(ino)) return;
      if (!this.knows(ino) || this.clock.monotonicMs() > untilMs) return;
      await new Promise<void>((resolve) => this.clock.setTimer(againMs, resolve));
    }
  }

  private kept(query: KeptQuery): { readonly inode: Inode | null; readonly forMs: number } | null {
    if (this.notifier === null) return null;
    const kept = this.client.kept(query);
    if (kept === null) return null;
    const forMs = kept.forMs - TICKS_MS;
    return forMs < TIMEOUT_MS_MIN ? null : { inode: kept.inode, forMs };
  }

  private grantAttributes({ ino }: Inode, forMs: number): void {
    const nowMs = this.clock.monotonicMs();
    this.inodesUntilMs.grant(ino, nowMs, nowMs + forMs + TICKS_MS);
  }

  private grantName({ parent, name }: AskedName, forMs: number): boolean {
    if (!this.notifier?.expireNames) return false;
    const nowMs = this.clock.monotonicMs();
    this.namesUntilMs.grant(nameKey(parent, name), nowMs, nowMs + forMs + TICKS_MS);
    return true;
  }
}

/** The names at which the kernel has what was at others before. */
function namesAfter({ parent, name, newParent, newName, mode }: Rename): readonly AskedName[] {
  const to = { parent: newParent, name: newName };
  return mode === 'exchange' ? [to, { parent, name }] : [to];
}

/**
 * With the result of these the kernel itself sees to it that no older attributes count that are on
 * their way: of what has lost a name (fuse_entry_unlinked), and of what SETATTR has changed
 * (fuse_do_setattr; open(2) with O_TRUNC tells it nothing of the mode, ioctl(2) nothing at all).
 */
function changesItself(own: Command | null, ino: Ino): boolean {
  switch (own?.type) {
    case 'unlink':
    case 'remove-directory':
      return own.parent !== ino;
    case 'set-attributes':
      return own.ino === ino && own.flags === undefined && own.killPrivileges !== true;
    default:
      return false;
  }
}

/** What the kernel may believe, and until when. What is over for long is dropped now and then. */
class Granted<K> {
  private untilMs = new Map<K, number>();
  private lookAt = GRANTED_MORE;

  grant(key: K, nowMs: number, untilMs: number): void {
    this.untilMs.set(key, untilMs);
    if (this.untilMs.size < this.lookAt) return;
    for (const [old, endMs] of this.untilMs) {
      if (endMs + TAKEN_OVER_MS_MAX < nowMs) this.untilMs.delete(old);
    }
    this.lookAt = 2 * this.untilMs.size + GRANTED_MORE;
  }

  /** Until when the kernel was to believe it; it may do so for longer, and will be made to forget it now. */
  take(key: K): number | null {
    const untilMs = this.untilMs.get(key);
    if (untilMs === undefined) return null;
    this.untilMs.delete(key);
    return untilMs;
  }

  /** The kernel may believe it now. */
  has(key: K, nowMs: number): boolean {
    const untilMs = this.untilMs.get(key);
    return untilMs !== undefined && untilMs + TAKEN_OVER_MS_MAX >= nowMs;
  }

  takeAll(): Map<K, number> {
    const all = this.untilMs;
    this.untilMs = new Map();
    return all;
  }
}
