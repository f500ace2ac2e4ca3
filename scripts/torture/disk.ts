import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Room for log, tree and a snapshot on its way in; small enough to be filled in a moment. */
const IMAGE_BYTES = 536_870_912;
/** What fills it is in memory. */
const TMPFS_BYTES = 268_435_456;

/** What such a disk can do depends on what the machine allows. */
export type DiskKind =
  /** A file mounted as a disk: it can be full, and hang. */
  | 'loop'
  /** In memory: it can be full. */
  | 'tmpfs'
  /** A mere directory. */
  | 'directory';

/** The files of log and tree that hold records: RocksDB's own, and those of large data beside them. */
export const RECORD_FILES = /\.(log|sst)$|\/(MANIFEST-\d+|CURRENT)$/;
export const DATA_FILES = /\.data$/;

/** A disk of its own for a node, so that it can be full, or hang. */
export class Disk {
  private readonly balloon: string;
  private frozen = false;
  private filled = false;
  readonly kind: DiskKind;

  constructor(
    private readonly image: string,
    readonly directory: string,
  ) {
    mkdirSync(directory, { recursive: true });
    this.balloon = join(directory, 'balloon');
    this.kind = this.mountLoop() ? 'loop' : this.mountTmpfs() ? 'tmpfs' : 'directory';
  }

  private mountLoop(): boolean {
    try {
      execFileSync('truncate', ['-s', String(IMAGE_BYTES), this.image]);
      execFileSync('mkfs.ext4', ['-q', '-m', '0', this.image], { stdio: 'ignore' });
      execFileSync('mount', ['-o', 'loop', this.image, this.directory], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }

  private mountTmpfs(): boolean {
    const args = ['-t', 'tmpfs', '-o', `size=${TMPFS_BYTES}`, 'mootfs-torture', this.directory];
    try {
      execFileSync('mount', args, { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }

  get data(): string {
    return join(this.directory, 'data');
  }

  get isFull(): boolean {
    return this.filled;
  }

  fill(): void {
    this.filled = true;
    // It ends with an error when the disk is full, as it should.
    const args = ['if=/dev/zero', `of=${this.balloon}`, 'bs=1M'];
    try {
      execFileSync('dd', args, { stdio: 'ignore' });
    } catch {}
  }

  makeRoom(): void {
    rmSync(this.balloon, { force: true });
    this.filled = false;
  }

  freeze(): void {
    execFileSync('fsfreeze', ['-f', this.directory]);
    this.frozen = true;
  }

  thaw(): void {
    if (this.frozen) execFileSync('fsfreeze', ['-u', this.directory]);
    this.frozen = false;
  }

  wipe(): void {
    rmSync(this.data, { recursive: true, force: true });
  }

  files(which: RegExp): string[] {
    return readdirSync(this.data, { recursive: true, encoding: 'utf8' })
      .filter((name) => which.test(name))
      .map((name) => join(this.data, name));
  }

  remove(): void {
    this.thaw();
    if (this.kind !== 'directory') execFileSync('umount', ['-l', this.directory]);
  }
}
