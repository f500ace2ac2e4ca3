import type { Clock } from '../base/clock.js';
import type { Link } from './link.js';

/**
 * The result of an own command is with the kernel in a fraction of this, when it comes. Acknowledging
 * all of that time's commands at once also saves a message for each.
 */
const OWN_RESULT_MS = 1;

/** Own changes that are acknowledged by one message. */
interface Group {
  readonly over: Promise<void>;
  readonly link: Link;
  readonly connection: number;
  lastId: number;
}

/**
 * Tells nodes that what they pushed is forgotten here, in the order of the pushes: an acknowledgement
 * stands for all pushes before it, too.
 */
export class Acknowledgements {
  private waiting = 0;
  private last: Promise<unknown> = Promise.resolve();
  private group: Group | null = null;

  constructor(private readonly clock: Pick<Clock, 'setTimer'>) {}

  /** `forgotten`: when that is so; null: now. `own`: by a command whose result is still to be told. */
  add(link: Link, id: number, forgotten: Promise<void> | null, own: boolean): void {
    const { connection } = link;
    if (!own && forgotten === null && this.waiting === 0) {
      link.tell(connection, { type: 'change-ack', id });
      return;
    }
    const group = own ? this.groupOf(link, id) : null;
    this.waiting++;
    // The result of an own command is told when that is so (KernelLease.expired).
    const told = own && forgotten !== null ? forgotten.then(() => this.pause()) : forgotten;
    this.last = Promise.all([this.last, told, group?.over]).then(() => {
      this.waiting--;
      if (group === null || group.lastId === id) link.tell(connection, { type: 'change-ack', id });
    });
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => this.clock.setTimer(OWN_RESULT_MS, resolve));
  }

  /** Each waits for its time at least, and twice that at most. */
  private groupOf(link: Link, id: number): Group {
    const { connection } = link;
    if (this.group?.link === link && this.group.connection === connection) {
      this.group.lastId = id;
      return this.group;
    }
    const over = new Promise<void>((resolve) => {
      this.clock.setTimer(OWN_RESULT_MS, () => {
        if (this.group === group) this.group = null;
        // Those that came last have not had their time.
        this.clock.setTimer(OWN_RESULT_MS, resolve);
      });
    });
    const group: Group = { over, link, connection, lastId: id };
    this.group = group;
    return group;
  }
}
