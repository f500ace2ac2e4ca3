import type { ListedEntry } from '../filesystem/queries.js';
import type { Ino } from '../filesystem/records.js';
import type { ClusterCalls } from './cluster-calls.js';
import type { Handles } from './handles.js';
import type { KernelCaches } from './kernel-caches.js';
import type { AskedName } from './known-names.js';
import { Listing } from './listing.js';
import type { Caller, DirectoryEntry, Handle } from './mount.js';
import type { WriteBehind } from './write-behind.js';

/** Open directories and what is listed from them. */
export class Directories {
  constructor(
    private readonly cluster: ClusterCalls,
    private readonly handles: Handles,
    private readonly caches: KernelCaches,
    private readonly writes: WriteBehind,
  ) {}

  open(ino: Ino): Handle {
    this.handles.hold(ino);
    return this.handles.addDirectory(ino, new Listing(ino, this.caches.keepsAnswers));
  }

  async read(
    ino: Ino,
    handle: Handle,
    cookie: number,
    bytesMax: number,
    plus: boolean,
    caller: Caller,
  ): Promise<readonly DirectoryEntry[]> {
    const { listing } = this.handles.directory(handle);
    const keptOf = (entry: ListedEntry) =>
      this.caches.kept({ parent: ino, name: entry.name }, entry.ino);
    const { value, watched } = await this.caches.watching(() =>
      listing.read(
        cookie,
        bytesMax,
        plus,
        (after, limit, withInodes) =>
          this.cluster.query(
            { type: 'read-directory', ino, cookie: after, limit, plus: withInodes },
            caller,
          ),
        (entry) => keptOf(entry) !== null,
      ),
    );
    return value.entries.map((listed) => {
      const { name, ino: listedIno, type, cookie: behind } = listed;
      const known = value.isNew ? listed.inode : keptOf(listed);
      // Of what a plain readdir names the kernel does not learn.
      const inode = plus ? known : null;
      const entry = { name, ino: listedIno, type, cookie: behind };
      const asked: AskedName = { parent: ino, name };
      const mayBeOld =
        inode === null ||
        this.writes.isPending(inode.ino) ||
        this.caches.isOld(inode) ||
        this.caches.isTouched(inode.ino, watched) ||
        this.caches.isNameTouched(asked, watched);
      return { ...entry, attributes: mayBeOld ? null : this.caches.listed(asked, inode, watched) };
    });
  }

  release(handle: Handle): void {
    this.handles.letGo(this.handles.removeDirectory(handle).ino);
  }

  /** Whatever changed a directory was committed before its call returned. */
  fsync(handle: Handle): void {
    this.handles.directory(handle);
  }
}
