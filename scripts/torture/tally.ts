/** What was done to all worlds, and what came of it. */
export class Tally {
  worlds = 0;
  /** Each kind of fault, and how often it came. */
  readonly faults = new Map<string, number>();
  /** Kinds that this machine does not allow. */
  readonly impossible = new Set<string>();
  /** Processes ended with SIGKILL. */
  kills = 0;
  partitions = 0;
  fullDisks = 0;
  /** The node ended by itself, and was started again when there was room. */
  fullDisksFatal = 0;
  /** Times that bytes of a stopped node were turned over … */
  damageDone = 0;
  /** … that the node itself refused to go on with them … */
  damageFoundByNode = 0;
  /** … and that only a check of all that it has stored found them; otherwise nothing refers to them. */
  damageFoundByCheck = 0;
  operations = 0;
  unanswered = 0;
  acknowledgedBytes = 0;
  undecided = 0;
  violations = 0;

  came(fault: string): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }

  rows(): (readonly [string, string])[] {
    const damage = [
      `done ${this.damageDone} times`,
      `found by the node ${this.damageFoundByNode}`,
      `by a check ${this.damageFoundByCheck}`,
    ];
    return [
      ['worlds', String(this.worlds)],
      ['processes killed', String(this.kills)],
      ['partitions', String(this.partitions)],
      ['full disks', `${this.fullDisks}, which ended the node ${this.fullDisksFatal} times`],
      ['damage', damage.join(', ')],
      ['operations', `${this.operations}, ${this.unanswered} without an answer`],
      ['bytes acknowledged', String(this.acknowledgedBytes)],
      ['histories undecided', String(this.undecided)],
      ['violations', String(this.violations)],
    ];
  }
}
