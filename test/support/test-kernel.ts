import type { OpenFlags } from '../../src/mount/mount.js';
import { caller, name, PLAIN, ROOT, type TestMount, text } from './mount-world.js';

/** Bytes of a page: small, so that a short file has several, and writes cover them in part. */
const PAGE_BYTES = 4;

export interface Fd {
  readonly ino: number;
  readonly handle: number;
  readonly flags: OpenFlags;
}

/**
 * What Linux does with the pages of a FUSE filesystem without a write-back cache: reads fill them,
 * writes change them and go on to the filesystem, an open without FOPEN_KEEP_CACHE empties them.
 * Notifications are obeyed when the test says so: nothing promises when they arrive.
 */
export class TestKernel {
  readonly fds: Fd[] = [];
  readonly #pages = new Map<number, Map<number, string>>();
  readonly #sizes = new Map<number, number>();
  readonly #notified: number[] = [];

  constructor(readonly mount: TestMount) {
    mount.notifier = {
      ...mount.notifier,
      invalidateInode: (ino, data) => data && this.#notified.push(ino),
      invalidateEntry: async () => undefined,
    };
  }

  obeyNotifications(): void {
    for (const ino of this.#notified.splice(0)) this.#pages.delete(ino);
  }

  async open(file: string, flags: OpenFlags): Promise<Fd> {
    const { inode } = await this.mount.ops.lookup(ROOT, name(file), caller);
    const { handle, keepCache } = await this.mount.ops.open(inode.ino, flags, caller);
    this.#sizes.set(inode.ino, inode.size);
    if (!keepCache) this.#pages.delete(inode.ino);
    const fd = { ino: inode.ino, handle, flags };
    this.fds.push(fd);
    return fd;
  }

  /** All of the file, from the pages as far as they are there. */
  async readAll(fd: Fd): Promise<string> {
    const { ino, handle } = fd;
    const { size } = (await this.mount.ops.getAttributes(ino, caller)).inode;
    this.#sizes.set(ino, size);
    const pages = this.#pagesOf(ino);
    let content = '';
    for (let page = 0; page * PAGE_BYTES < size; page++) {
      if (!pages.has(page)) {
        const at = page * PAGE_BYTES;
        const data = text(await this.mount.ops.read(ino, handle, at, PAGE_BYTES, caller));
        pages.set(page, data.padEnd(PAGE_BYTES, '\0'));
      }
      content += pages.get(page);
    }
    return content.slice(0, size);
  }

  async write(fd: Fd, offset: number, data: string): Promise<void> {
    const { ino, handle } = fd;
    const size = this.#sizes.get(ino) ?? 0;
    const at = fd.flags.append ? size : offset;
    await this.mount.ops.write(
      ino,
      handle,
      at,
      name(data),
      { ...PLAIN, append: fd.flags.append },
      caller,
    );
    const pages = this.#pagesOf(ino);
    for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < at + data.length; page++) {
      const start = page * PAGE_BYTES;
      const covered = start >= at && start + PAGE_BYTES <= at + data.length;
      const old = covered ? '' : pages.get(page);
      if (old === undefined) continue;
      const byte = (i: number) => data[start + i - at] ?? old[i] ?? '\0';
      pages.set(page, Array.from({ length: PAGE_BYTES }, (_, i) => byte(i)).join(''));
    }
    this.#sizes.set(ino, Math.max(size, at + data.length));
  }

  async truncate(fd: Fd, size: number): Promise<void> {
    await this.mount.ops.setAttributes(fd.ino, { size }, caller);
    this.#sizes.set(fd.ino, size);
    const pages = this.#pagesOf(fd.ino);
    for (const [page, data] of [...pages]) {
      const kept = Math.max(0, size - page * PAGE_BYTES);
      if (kept === 0) pages.delete(page);
      else pages.set(page, data.slice(0, kept).padEnd(PAGE_BYTES, '\0'));
    }
  }

  async flush(fd: Fd): Promise<void> {
    await this.mount.ops.flush(fd.ino, fd.handle, caller);
  }

  async close(fd: Fd): Promise<void> {
    this.fds.splice(this.fds.indexOf(fd), 1);
    try {
      await this.flush(fd);
    } finally {
      await this.mount.ops.release(fd.ino, fd.handle);
    }
  }

  #pagesOf(ino: number): Map<number, string> {
    const pages = this.#pages.get(ino) ?? new Map<number, string>();
    this.#pages.set(ino, pages);
    return pages;
  }
}
