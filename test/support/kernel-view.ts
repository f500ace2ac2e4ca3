import type { Clock } from '../../src/base/clock.js';
import { isMootError, MootError } from '../../src/base/errors.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import type { Command, CommandType, CommandValues } from '../../src/filesystem/commands.js';
import { nameKey } from '../../src/filesystem/facts.js';
import type { Ino, Inode } from '../../src/filesystem/records.js';
import { KernelLease } from '../../src/mount/kernel-lease.js';

interface Believed<T> {
  readonly value: T;
  readonly untilMs: number;
}

/**
 * A kernel's caches of attributes and names over one client, as far as their rules matter here
 * (fs/fuse/dir.c and inode.c): what is believed until when, which answers on their way count, and
 * what own operations end. Notifications about inodes take a while.
 */
export class KernelView {
  private readonly lease: KernelLease;
  private readonly attributes = new Map<Ino, Believed<Inode>>();
  private readonly attributeVersions = new Map<Ino, number>();
  private readonly names = new Map<string, Believed<Ino | null>>();
  private epoch = 0;
  /** Questions that the kernel answered alone. */
  alone = 0;

  constructor(
    readonly client: FilesystemClient,
    private readonly clock: Pick<Clock, 'monotonicMs' | 'setTimer'>,
    pause: () => Promise<unknown>,
  ) {
    this.lease = new KernelLease(client, clock, () => true);
    client.setKeeper(this.lease);
    this.lease.setNotifier({
      invalidateInode: () => {},
      invalidateEntry: async () => {},
      dropPages: async () => {},
      expireInode: async (ino) => {
        await pause();
        this.expire(ino);
        return true;
      },
      expireNames: () => {
        this.epoch++;
        this.names.clear();
      },
    });
  }

  async inode(ino: Ino): Promise<Inode> {
    const believed = this.attributes.get(ino);
    if (believed !== undefined && believed.untilMs > this.clock.monotonicMs()) {
      this.alone++;
      return believed.value;
    }
    const version = this.attributeVersions.get(ino);
    const { inode } = await this.client.query({ type: 'get-inode', ino });
    return this.keepAttributes(version, this.lease.attributes(inode)) ?? inode;
  }

  async lookup(parent: Ino, name: Uint8Array): Promise<Inode> {
    const key = nameKey(parent, name);
    const believed = this.names.get(key);
    if (believed !== undefined && believed.untilMs > this.clock.monotonicMs()) {
      this.alone++;
      if (believed.value === null) throw new MootError('ENOENT', 'believed');
      return this.inode(believed.value);
    }
    const { epoch } = this;
    const versions = new Map(this.attributeVersions);
    try {
      const { inode } = await this.client.query({ type: 'lookup', parent, name });
      const entry = this.lease.entry({ parent, name }, inode);
      if (entry !== undefined && epoch === this.epoch) {
        this.names.set(key, this.until(entry.inode.ino, entry.entryTimeoutSec));
      }
      return this.keepAttributes(versions.get(inode.ino), entry) ?? inode;
    } catch (error) {
      if (isMootError(error, 'ENOENT') && epoch === this.epoch) {
        const timeoutSec = this.lease.absenceTimeoutSec({ parent, name });
        if (timeoutSec > 0) this.names.set(key, this.until(null, timeoutSec));
      }
      throw error;
    }
  }

  async execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
  ): Promise<CommandValues[T]> {
    const value = await this.client.execute(command);
    await this.lease.expired(command);
    if ('parent' in command && 'name' in command) {
      this.names.delete(nameKey(command.parent, command.name));
      this.attributes.delete(command.parent);
    }
    if ('ino' in command) this.expire(command.ino);
    return value;
  }

  private keepAttributes(
    version: number | undefined,
    answer: { readonly inode: Inode; readonly attrTimeoutSec: number } | undefined,
  ): Inode | undefined {
    if (answer === undefined) return undefined;
    const { inode, attrTimeoutSec } = answer;
    if (this.attributeVersions.get(inode.ino) === version) {
      this.attributes.set(inode.ino, this.until(inode, attrTimeoutSec));
    }
    return inode;
  }

  private until<V>(value: V, timeoutSec: number): Believed<V> {
    return { value, untilMs: this.clock.monotonicMs() + timeoutSec * 1_000 };
  }

  private expire(ino: Ino): void {
    this.attributes.delete(ino);
    this.attributeVersions.set(ino, (this.attributeVersions.get(ino) ?? 0) + 1);
  }
}
