import type { Clock } from '../base/clock.js';
import type { AnswerKeeper, FilesystemClient, KeptQuery } from '../client/filesystem-client.js';
import { nameKey } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import { isDirectory } from '../filesystem/mode.js';
import type { Ino, Inode } from '../filesystem/records.js';
import type { AskedName } from './known-names.js';
import type { Attributes, KernelNotifier } from './mount.js';

/**
 * The kernel counts in ticks of up to 10 ms, rounds up, and believes until the last tick is over
 * (time_to_jiffies and time_before64 in fs/fuse/dir.c).
 */
const TICKS_MS = 20;
/** Below this it is not worth a promise. */
const TIMEOUT_MS_MIN = 10;
/** What was granted is looked through for what is over when there is that much more of it. */
const GRANTED_MORE = 1_024;

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
 * Changes by own commands reach the kernel with their results. It then forgets names by itself,
 * but not what an answer on its way says of attributes: those are expired all the same.
 */
export class KernelLease implements AnswerKeeper {
  private notifier: KernelNotifier | null = null;
  private readonly directoriesUntilMs = new Granted<Ino>();
  private readonly filesUntilMs = new Granted<Ino>();
  private readonly namesUntilMs = new Granted<string>();
  private expiring = new Set<Promise<void>>();

  constructor(
    private readonly client: FilesystemClient,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
  ) {}

  setNotifier(notifier: KernelNotifier): void {
    this.notifier = notifier;
  }

  get expired(): Promise<unknown> | null {
    return this.expiring.size === 0 ? null : Promise.all(this.expiring);
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

  absenceTimeoutSec(asked: AskedName): number {
    const kept = this.kept({ type: 'lookup', ...asked });
    if (kept === null || kept.inode !== null) return 0;
    return this.grantName(asked, kept.forMs) ? kept.forMs / 1_000 : 0;
  }

  forget(change: {
    readonly reset: boolean;
    readonly effects: readonly Effect[];
    readonly own: boolean;
  }): Promise<void> | null {
    const nowMs = this.clock.monotonicMs();
    const { notifier, directoriesUntilMs, filesUntilMs, namesUntilMs } = this;
    if (notifier === null) return null;
    const directories = change.reset ? directoriesUntilMs.takeAll(nowMs) : [];
    const files = change.reset ? filesUntilMs.takeAll(nowMs) : [];
    let names = change.reset && namesUntilMs.takeAll(nowMs).length > 0;
    for (const effect of change.effects) {
      if (effect.type === 'entry') {
        const granted = namesUntilMs.take(nameKey(effect.parent, effect.name), nowMs);
        if (granted && !change.own) names = true;
      } else if (directoriesUntilMs.take(effect.ino, nowMs)) {
        directories.push(effect.ino);
      } else if (filesUntilMs.take(effect.ino, nowMs)) {
        files.push(effect.ino);
      }
    }
    if (names) notifier.expireNames?.();
    for (const ino of directories) notifier.expireDirectory(ino);
    return files.length === 0 ? null : this.expireFiles(notifier, files);
  }

  private expireFiles(notifier: KernelNotifier, files: readonly Ino[]): Promise<void> {
    const expired = Promise.all(files.map((ino) => notifier.expireFile(ino))).then(() => {
      this.expiring.delete(expired);
    });
    this.expiring.add(expired);
    return expired;
  }

  private kept(query: KeptQuery): { readonly inode: Inode | null; readonly forMs: number } | null {
    if (this.notifier === null) return null;
    const kept = this.client.kept(query);
    if (kept === null) return null;
    const forMs = kept.forMs - TICKS_MS;
    return forMs < TIMEOUT_MS_MIN ? null : { inode: kept.inode, forMs };
  }

  private grantAttributes(inode: Inode, forMs: number): void {
    const nowMs = this.clock.monotonicMs();
    const untilMs = isDirectory(inode) ? this.directoriesUntilMs : this.filesUntilMs;
    untilMs.grant(inode.ino, nowMs, nowMs + forMs + TICKS_MS);
  }

  private grantName({ parent, name }: AskedName, forMs: number): boolean {
    if (!this.notifier?.expireNames) return false;
    const nowMs = this.clock.monotonicMs();
    this.namesUntilMs.grant(nameKey(parent, name), nowMs, nowMs + forMs + TICKS_MS);
    return true;
  }
}

/** What the kernel may believe, and until when. What is over is dropped now and then. */
class Granted<K> {
  private readonly untilMs = new Map<K, number>();
  private lookAt = GRANTED_MORE;

  grant(key: K, nowMs: number, untilMs: number): void {
    this.untilMs.set(key, untilMs);
    if (this.untilMs.size < this.lookAt) return;
    for (const [old, endMs] of this.untilMs) if (endMs < nowMs) this.untilMs.delete(old);
    this.lookAt = 2 * this.untilMs.size + GRANTED_MORE;
  }

  /** True: the kernel may still believe it, and will be made to forget it now. */
  take(key: K, nowMs: number): boolean {
    const untilMs = this.untilMs.get(key);
    if (untilMs === undefined) return false;
    this.untilMs.delete(key);
    return untilMs >= nowMs;
  }

  takeAll(nowMs: number): K[] {
    const keys = [...this.untilMs].filter(([, endMs]) => endMs >= nowMs).map(([key]) => key);
    this.untilMs.clear();
    return keys;
  }
}
