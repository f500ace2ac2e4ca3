import type { Clock } from '../base/clock.js';
import type { DiskSpaceMessage } from '../codec/peer-messages.js';
import type { Command } from '../filesystem/commands.js';
import { takesSpace } from '../filesystem/quota.js';
import type { FollowerStatus, NodeId } from '../raft/types.js';
import type { NodeParts } from './node.js';

/** How often each node looks at its disk, and tells the leader. */
const REPORT_MS = 500;
/** A node that has said nothing for so long may be gone, and with it what its disk was like. */
const REPORT_VALID_MS = 10_000;
/**
 * What is kept free on every disk: removing takes space, too, until the log is compacted. A part of
 * small disks, and no more than this of large ones.
 */
const RESERVE_PART = 1 / 20;
const RESERVE_BYTES_MAX = 512 * 1_048_576;
/** What a byte of a command may take on a disk before it is compacted: in the log, and in the tree. */
const COPIES = 2;

interface Report {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly atMs: number;
  /** Of all commands that were proposed by then; of the report before this one for what was on its way. */
  readonly proposedBytes: number;
  readonly proposedBytesBefore: number;
}

/**
 * Whether all members' disks have room. A node whose disk is full must stop; so the leader refuses what
 * takes space while there is still enough to remove something.
 */
export class DiskRoom {
  private readonly reports = new Map<NodeId, Report>();
  private proposedBytes = 0;
  private lookedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly id: NodeId,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly diskSpace: NodeParts['diskSpace'],
    private readonly send: (message: DiskSpaceMessage) => void,
    private readonly onFailed: (error: unknown) => void,
  ) {}

  /** Called often. */
  tick(nowMs: number, { leader, term }: { leader: NodeId | null; term: number }): void {
    if (nowMs - this.lookedMs < REPORT_MS) return;
    this.lookedMs = nowMs;
    this.diskSpace().then(({ totalBytes, freeBytes }) => {
      this.note(this.id, totalBytes, freeBytes);
      if (leader === null || leader === this.id) return;
      this.send({ type: 'disk-space', from: this.id, to: leader, term, totalBytes, freeBytes });
    }, this.onFailed);
  }

  heard({ from, totalBytes, freeBytes }: DiskSpaceMessage): void {
    this.note(from, totalBytes, freeBytes);
  }

  /** A command enters the log. */
  proposed(bytes: number): void {
    this.proposedBytes += bytes;
  }

  /** The command must not enter the log: a disk is nearly full. */
  refuses(
    command: Command,
    members: ReadonlySet<NodeId>,
    followers: readonly Pick<FollowerStatus, 'id' | 'recentlyActive'>[],
  ): boolean {
    if (!takesSpace(command)) return false;
    const away = followers.flatMap(({ id, recentlyActive }) => (recentlyActive ? [] : id));
    return this.roomBytes(members, COPIES, away) <= 0;
  }

  /** What a program may still write, as far as it is known here. */
  async shown(members: ReadonlySet<NodeId>): ReturnType<NodeParts['diskSpace']> {
    const { totalBytes, freeBytes } = await this.diskSpace();
    const own = freeBytes - reserveOf(totalBytes);
    return { totalBytes, freeBytes: Math.max(0, Math.min(own, this.roomBytes(members, 0, []))) };
  }

  /** `copies`: how often to count what may still be on its way; it is not to those who are `away`. */
  private roomBytes(members: ReadonlySet<NodeId>, copies: number, away: readonly NodeId[]): number {
    const nowMs = this.clock.monotonicMs();
    let room = Number.POSITIVE_INFINITY;
    for (const [id, report] of this.reports) {
      if (nowMs - report.atMs > REPORT_VALID_MS || !members.has(id)) continue;
      const { totalBytes, freeBytes, proposedBytesBefore } = report;
      const onItsWay = copies * (this.proposedBytes - proposedBytesBefore);
      const since = away.includes(id) ? 0 : onItsWay;
      room = Math.min(room, freeBytes - reserveOf(totalBytes) - since);
    }
    return room;
  }

  private note(id: NodeId, totalBytes: number, freeBytes: number): void {
    const { proposedBytes } = this;
    const proposedBytesBefore = this.reports.get(id)?.proposedBytes ?? proposedBytes;
    const atMs = this.clock.monotonicMs();
    this.reports.set(id, { totalBytes, freeBytes, atMs, proposedBytes, proposedBytesBefore });
  }
}

function reserveOf(totalBytes: number): number {
  return Math.min(RESERVE_BYTES_MAX, totalBytes * RESERVE_PART);
}
