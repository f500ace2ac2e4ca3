import type { Ino } from '../filesystem/records.js';

interface KnownName {
  readonly parent: Ino;
  readonly name: Uint8Array;
  readonly ino: Ino;
}

interface KnownInode {
  /** How often the kernel was told of it, less what it has forgotten (nlookup of FUSE). */
  lookups: number;
  /** Under which names. */
  readonly names: Set<string>;
}

/** The inodes that the kernel knows, and the names under which it learnt of them. */
export class KnownNames {
  private readonly inodes = new Map<Ino, KnownInode>();
  private readonly names = new Map<string, KnownName>();

  /** The kernel is told of the inode; `name` when it may keep the name. */
  add(ino: Ino, name: { readonly parent: Ino; readonly name: Uint8Array } | null): void {
    let known = this.inodes.get(ino);
    if (known === undefined) {
      known = { lookups: 0, names: new Set() };
      this.inodes.set(ino, known);
    }
    known.lookups++;
    if (name === null) return;
    const key = nameKey(name.parent, name.name);
    this.removeName(key);
    this.names.set(key, { parent: name.parent, name: name.name.slice(), ino });
    known.names.add(key);
  }

  /** Returns whether the kernel does not know the inode any more. */
  forget(ino: Ino, count: number): boolean {
    const known = this.inodes.get(ino);
    if (known === undefined) return true;
    known.lookups -= count;
    if (known.lookups > 0) return false;
    for (const key of known.names) this.names.delete(key);
    this.inodes.delete(ino);
    return true;
  }

  has(ino: Ino): boolean {
    return this.inodes.has(ino);
  }

  /** The name means something else now, or nothing. */
  dropName(parent: Ino, name: Uint8Array): void {
    this.removeName(nameKey(parent, name));
  }

  /** Everything known; the names are not, from now on. */
  takeAll(): { readonly inodes: readonly Ino[]; readonly names: readonly KnownName[] } {
    const names = [...this.names.values()];
    this.names.clear();
    for (const known of this.inodes.values()) known.names.clear();
    return { inodes: [...this.inodes.keys()], names };
  }

  private removeName(key: string): void {
    const old = this.names.get(key);
    if (old === undefined) return;
    this.names.delete(key);
    this.inodes.get(old.ino)?.names.delete(key);
  }
}

export function nameKey(parent: Ino, name: Uint8Array): string {
  return `${parent}/${Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1')}`;
}
