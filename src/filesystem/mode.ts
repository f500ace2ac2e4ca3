/** File types and permission bits of st_mode: inode(7). */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_IXGRP = 0o0010;
export const PERMISSION_BITS = 0o7777;

export function fileType(mode: number): number {
  return mode & S_IFMT;
}

export function isDirectory(inode: { readonly mode: number }): boolean {
  return fileType(inode.mode) === S_IFDIR;
}

export function isRegular(inode: { readonly mode: number }): boolean {
  return fileType(inode.mode) === S_IFREG;
}

export function isSymlink(inode: { readonly mode: number }): boolean {
  return fileType(inode.mode) === S_IFLNK;
}

/**
 * The mode after a change that takes privileges away: chown(2), of anything but a directory, and a
 * write or truncation by somebody without privilege. Set-group-ID without group execution is no
 * privilege but a mark of mandatory locking, and stays.
 */
export function withoutPrivileges(mode: number): number {
  if (fileType(mode) === S_IFDIR) return mode;
  return mode & ~(S_ISUID | ((mode & S_IXGRP) !== 0 ? S_ISGID : 0));
}
