/** What is used of the package fuse-native 2.2, which has no types of its own. */
declare module 'fuse-native' {
  /** A negative errno, or what the operation returns. */
  export type Callback<T = undefined> = (result: number, value?: T) => void;

  export interface Stat {
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
    readonly size: number;
    readonly nlink: number;
    readonly rdev: number;
    readonly blksize: number;
    readonly blocks: number;
    readonly atime: Date;
    readonly mtime: Date;
    readonly ctime: Date;
  }

  export interface StatFs {
    readonly bsize: number;
    readonly frsize: number;
    readonly blocks: number;
    readonly bfree: number;
    readonly bavail: number;
    readonly files: number;
    readonly ffree: number;
    readonly favail: number;
    readonly namemax: number;
  }

  export interface Operations {
    getattr(path: string, done: Callback<Stat>): void;
    readlink(path: string, done: Callback<string>): void;
    mknod(path: string, mode: number, rdev: number, done: Callback): void;
    mkdir(path: string, mode: number, done: Callback): void;
    symlink(target: string, path: string, done: Callback): void;
    link(existing: string, path: string, done: Callback): void;
    unlink(path: string, done: Callback): void;
    rmdir(path: string, done: Callback): void;
    rename(path: string, newPath: string, done: Callback): void;
    chmod(path: string, mode: number, done: Callback): void;
    chown(path: string, uid: number, gid: number, done: Callback): void;
    truncate(path: string, size: number, done: Callback): void;
    utimens(path: string, atimeMs: number, mtimeMs: number, done: Callback): void;
    create(path: string, mode: number, done: Callback<number>): void;
    open(path: string, flags: number, done: Callback<number>): void;
    read(
      path: string,
      handle: number,
      buffer: Buffer,
      size: number,
      offset: number,
      done: Callback,
    ): void;
    write(
      path: string,
      handle: number,
      buffer: Buffer,
      size: number,
      offset: number,
      done: Callback,
    ): void;
    ftruncate(path: string, handle: number, size: number, done: Callback): void;
    flush(path: string, handle: number, done: Callback): void;
    fsync(path: string, dataOnly: number, handle: number, done: Callback): void;
    release(path: string, handle: number, done: Callback): void;
    opendir(path: string, flags: number, done: Callback<number>): void;
    readdir(path: string, done: Callback<string[]>): void;
    releasedir(path: string, handle: number, done: Callback): void;
    fsyncdir(path: string, dataOnly: number, handle: number, done: Callback): void;
    statfs(path: string, done: Callback<StatFs>): void;
  }

  export interface Options {
    readonly allowOther?: boolean;
    readonly defaultPermissions?: boolean;
    readonly fsname?: string;
    readonly subtype?: string;
    readonly timeout?: false;
  }

  export default class Fuse {
    constructor(directory: string, operations: Operations, options: Options);
    mount(done: (error: Error | null | undefined) => void): void;
    unmount(done: (error: Error | null | undefined) => void): void;
    /** What the method `unmount` takes the mount away with, by fusermount. */
    static unmount: (directory: string, done: (error: Error | null) => void) => void;
  }
}
