import type { Clock } from '../base/clock.js';
import { reserveOf } from '../base/disk-space.js';
import type { DiskSpaceMessage } from '../codec/peer-messages.js';
import type { Command } from '../filesystem/commands.js';
import { spaceOf, takesSpace } from '../filesystem/quota.js';
import type { FollowerStatus, NodeId } from '../raft/types.js';
import type { NodeParts } from './node.js';

/** How often each node looks at its disk, and tells the leader. */
const REPORT_MS = 500;
/** A node that has said nothing for so long may be gone, and with it what its disk was like. */
const REPORT_VALID_MS = 10_000;
/** Who is not heard of, by Raft neither, gets nothing; for a shorter time anybody may be silent. */
const SILENT_MS = 2_000;
/**
 * Whose tree stands still for so long, as with a disk that hangs or while it takes a snapshot in, does not
 * keep the others from writing.
 */
const STUCK_MS = 5_000;
/** What a byte of a command may take on a disk before it is compacted: in the log, and in the tree. */
const COPIES = 2;
/** What has entered the log is counted in steps of so long. */
const MARK_MS = 20;
/**
 * So many steps are remembered. Of a node that is further behind, as one that a snapshot is sent to, nobody
 * knows what it needs.
 */
const MARKS_MAX = 1_024;

interface Report {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly atMs: number;
  /** All changes up to this index were in its tree before it looked at its disk ... */
  readonly written: number;
  /** ... and have been since then. */
  readonly writtenAtMs: number;
  /** As many bytes had entered the log up to there. */
  readonly writtenBytes: number;
}

/** When the log's last entry was `index`, as many bytes had entered it. */
interface Mark {
  readonly index: number;
  readonly bytes: number;
  readonly atMs: number;
}

/**
 * Whether all members' disks have room. A node whose disk is full must stop; so the leader refuses what
 * takes space while there is still enough to remove something. A report tells the past, however late the
 * other node's disk or the network are: what is not in the tree that it tells of counts as on its way.
 * What an earlier leader has left is not counted.
 */
export class DiskRoom {
  private readonly reports = new Map<NodeId, Report>();
  /** Of this office, the oldest first. */
  private readonly marks: Mark[] = [];
  private officeTerm = 0;
  private enteredBytes = 0;
  private lookedMs = Number.NEGATIVE_INFINITY;
  private toldLeader: NodeId | null = null;

  constructor(
    private readonly id: NodeId,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly diskSpace: NodeParts['diskSpace'],
    /** The last index whose changes are in this node's tree, on its disk. */
    private readonly written: () => number,
    private readonly send: (message: DiskSpaceMessage) => void,
    private readonly onFailed: (error: unknown) => void,
  ) {}

  /** Called often. A new leader hears at once. */
  tick(nowMs: number, { leader, term }: { leader: NodeId | null; term: number }): void {
    if (nowMs - this.lookedMs < REPORT_MS && leader === this.toldLeader) return;
    this.lookedMs = nowMs;
    this.toldLeader = leader;
    const written = this.written();
    this.diskSpace().then(({ totalBytes, freeBytes }) => {
      this.note(this.id, totalBytes, freeBytes, written);
      if (leader === null || leader === this.id) return;
      const space = { totalBytes, freeBytes, written };
      this.send({ type: 'disk-space', from: this.id, to: leader, term, ...space });
    }, this.onFailed);
  }

  heard({ from, totalBytes, freeBytes, written }: DiskSpaceMessage): void {
    this.note(from, totalBytes, freeBytes, written);
  }

  /** This node leads in `term`, and commands that may take so many bytes are in its log up to `last`. */
  entered(term: number, last: number, bytes: number): void {
    const { marks } = this;
    const atMs = this.clock.monotonicMs();
    if (term !== this.officeTerm) {
      this.officeTerm = term;
      marks.length = 0;
      // Whoever has written all but these is behind by their bytes, and others by at least as much.
      marks.push({ index: 0, bytes: this.enteredBytes, atMs });
    }
    this.enteredBytes += bytes;
    const before = marks.at(-1);
    // Of a step the end counts: less is taken for written than is.
    const goesOn = marks.length > 1 && before !== undefined && atMs - before.atMs < MARK_MS;
    if (goesOn) marks.pop();
    marks.push({ index: last, bytes: this.enteredBytes, atMs: goesOn ? before.atMs : atMs });
    if (marks.length > MARKS_MAX) marks.shift();
  }

  /** The command must not enter the log: a disk is nearly full. `waiting`: of commands that are to enter it. */
  refuses(
    command: Command,
    members: ReadonlySet<NodeId>,
    followers: readonly Pick<FollowerStatus, 'id' | 'recentlyActive'>[],
    waiting: number,
  ): boolean {
    if (!takesSpace(command)) return false;
    const away = followers.flatMap(({ id, recentlyActive }) => (recentlyActive ? [] : id));
    return this.roomBytes(members, COPIES, away) < COPIES * (waiting + spaceOf(command));
  }

  /** What a program may still write, as far as it is known here. */
  async shown(members: ReadonlySet<NodeId>): ReturnType<NodeParts['diskSpace']> {
    const { totalBytes, freeBytes } = await this.diskSpace();
    const own = freeBytes - reserveOf(totalBytes);
    return { totalBytes, freeBytes: Math.max(0, Math.min(own, this.roomBytes(members, 0, []))) };
  }

  /** `copies`: how often to count what may still be on its way; it is not to those who stay `away`. */
  private roomBytes(members: ReadonlySet<NodeId>, copies: number, away: readonly NodeId[]): number {
    const nowMs = this.clock.monotonicMs();
    let room = Number.POSITIVE_INFINITY;
    for (const [id, report] of this.reports) {
      const ageMs = nowMs - report.atMs;
      if (ageMs > REPORT_VALID_MS || !members.has(id)) continue;
      const { totalBytes, freeBytes, writtenBytes, writtenAtMs } = report;
      const isAway = away.includes(id) && ageMs > SILENT_MS;
      const isStuck = report.atMs - writtenAtMs > STUCK_MS;
      const unwritten = this.enteredBytes - Math.max(writtenBytes, this.forgottenBytes);
      const onItsWay = isAway || isStuck ? 0 : copies * unwritten;
      room = Math.min(room, freeBytes - reserveOf(totalBytes) - onItsWay);
    }
    return room;
  }

  /** Whoever is further behind than this: nobody knows by how much. */
  private get forgottenBytes(): number {
    return this.marks[0]?.bytes ?? 0;
  }

  private note(id: NodeId, totalBytes: number, freeBytes: number, written: number): void {
    const atMs = this.clock.monotonicMs();
    const before = this.reports.get(id);
    const mark = this.marks.findLast(({ index }) => index <= written);
    const writtenBytes = mark?.bytes ?? this.forgottenBytes;
    const stands = before?.written === written && writtenBytes < this.enteredBytes;
    const writtenAtMs = stands ? before.writtenAtMs : atMs;
    this.reports.set(id, { totalBytes, freeBytes, atMs, written, writtenAtMs, writtenBytes });
  }
}
