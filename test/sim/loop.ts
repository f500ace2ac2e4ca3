/** Whole microseconds since the world began. */
export type Micros = number;

/** Something that will happen, unless it is cancelled before. */
export interface Happening {
  cancelled: boolean;
}

interface Scheduled extends Happening {
  readonly at: Micros;
  readonly order: number;
  /** Becomes a part of the trace, so that two runs of one seed can be compared. */
  readonly what: string;
  run: () => void;
}

/** Of each frame: the numbers in it that differ come last. */
const NOTED_BYTES = 16;

/** A loop that has run for so many steps at one moment is stuck in it. */
const STEPS_PER_MOMENT_MAX = 200_000;

/**
 * The world's one sequence of events, in virtual time. Between two events all that promises have
 * to do is done, so that code with promises is as deterministic as code without. Nothing here, and
 * nothing that runs here, may wait for anything of the real world.
 */
export class Loop {
  private readonly heap: Scheduled[] = [];
  private nowMicros: Micros = 0;
  private orders = 0;
  private stepsAtOnce = 0;
  private hash = 0;
  private readonly afterwards: (() => void)[] = [];
  steps = 0;

  get now(): Micros {
    return this.nowMicros;
  }

  get nowMs(): number {
    return this.nowMicros / 1_000;
  }

  /** A digest of everything that has happened so far, and when. */
  get trace(): string {
    return (this.hash >>> 0).toString(16).padStart(8, '0');
  }

  after(delayMicros: number, what: string, run: () => void): Happening {
    const at = this.nowMicros + Math.max(0, Math.ceil(delayMicros));
    const scheduled = { at, order: this.orders++, what, run, cancelled: false };
    this.push(scheduled);
    return scheduled;
  }

  /** Once, when this event and all promises of it are done. */
  afterStep(action: () => void): void {
    if (!this.afterwards.includes(action)) this.afterwards.push(action);
  }

  /** Mixes a number into the trace. */
  note(value: number): void {
    this.hash = Math.imul(this.hash ^ value, 0x9e3779b1);
    this.hash ^= this.hash >>> 15;
  }

  /** Enough of them that another frame would show. */
  noteBytes(bytes: Uint8Array): void {
    this.note(bytes.length);
    for (let i = Math.max(0, bytes.length - NOTED_BYTES); i < bytes.length; i++) {
      this.note(bytes[i] as number);
    }
  }

  noteText(text: string): void {
    for (let i = 0; i < text.length; i++) this.note(text.charCodeAt(i));
  }

  /** Lets happen what happens until then, or until `done` says so. */
  run(untilMicros: Micros, done: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        try {
          for (const action of this.afterwards) action();
          if (this.afterwards.length > 0) this.afterwards.length = 0;
          if (!done() && this.step(untilMicros)) whenPromisesAreDone(turn);
          else resolve();
        } catch (error) {
          reject(error);
        }
      };
      whenPromisesAreDone(turn);
    });
  }

  /** The next event; false: nothing more happens until then, and it is then. */
  private step(untilMicros: Micros): boolean {
    let next = this.heap[0];
    while (next?.cancelled) {
      this.pop();
      next = this.heap[0];
    }
    if (next === undefined || next.at > untilMicros) {
      this.nowMicros = untilMicros;
      return false;
    }
    this.pop();
    this.stepsAtOnce = next.at === this.nowMicros ? this.stepsAtOnce + 1 : 0;
    if (this.stepsAtOnce > STEPS_PER_MOMENT_MAX) {
      throw new Error(`time stands still: ${next.what} again and again`);
    }
    this.nowMicros = next.at;
    this.steps++;
    this.note(next.at);
    this.note(next.what.length + next.what.charCodeAt(0));
    next.run();
    return true;
  }

  private push(one: Scheduled): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(one);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as Scheduled;
      if (!before(one, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = one;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = at * 2 + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const smaller =
        right < heap.length && before(heap[right] as Scheduled, heap[left] as Scheduled)
          ? right
          : left;
      if (!before(heap[smaller] as Scheduled, last)) break;
      heap[at] = heap[smaller] as Scheduled;
      at = smaller;
    }
    heap[at] = last;
  }
}

function before(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

const DONE = Promise.resolve();

/**
 * Calls it when no promise has anything to do any more: Node runs what nextTick was given only when
 * its queue of microtasks is empty, if that was asked for from within a microtask (see
 * processTicksAndRejections in node:internal/process/task_queues). A promise is a microtask that
 * costs less than queueMicrotask, which notes who asked.
 */
function whenPromisesAreDone(action: () => void): void {
  void DONE.then(() => process.nextTick(action));
}
