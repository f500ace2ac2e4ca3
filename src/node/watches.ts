import type { WatchEvent } from '../codec/client-messages.js';
import type { Effect } from '../filesystem/filesystem.js';

/** Commands whose effects are remembered for watchers that come back after a broken connection. */
const REMEMBERED_COMMANDS_MAX = 65_536;
const REMEMBERED_BYTES_MAX = 8_388_608;
/** About what one effect takes in memory, beside its name. */
const EFFECT_BYTES = 96;
/** Effects in one event, unless one command has more. */
const EVENT_EFFECTS_MAX = 4_096;
/** A watcher that does not read gets nothing more until it has read; then, when it missed too much, a reset. */
const WATCHER_QUEUED_BYTES_MAX = 4_194_304;

const NO_EFFECTS: readonly Effect[] = [];

/** Where a watcher's events go. */
export interface Watcher {
  readonly id: number;
  readonly queuedBytes: number;
  send(event: WatchEvent): void;
}

interface Watch {
  readonly watcher: Watcher;
  /** All up to here was sent. */
  sentIndex: number;
}

interface Remembered {
  readonly index: number;
  readonly effects: readonly Effect[];
  readonly bytes: number;
}

/** The stream of effects to whoever watches: in order, each once, and a reset where some are gone. */
export class Watches {
  private readonly watches = new Map<Watcher, Watch>();
  private remembered: Remembered[] = [];
  private first = 0;
  private bytes = 0;
  /** Effects of commands up to here are gone. */
  private forgottenIndex: number;
  private appliedIndex: number;

  constructor(appliedIndex: number) {
    this.forgottenIndex = appliedIndex;
    this.appliedIndex = appliedIndex;
  }

  /** One command was applied. */
  remember(index: number, effects: readonly Effect[]): void {
    if (effects.length === 0) return;
    let bytes = 0;
    for (const effect of effects) {
      bytes += EFFECT_BYTES + (effect.type === 'entry' ? effect.name.length : 0);
    }
    this.remembered.push({ index, effects, bytes });
    this.bytes += bytes;
    this.forgetSurplus();
  }

  /** A batch of commands ended: those with effects are told of at once. */
  applied(index: number): void {
    this.appliedIndex = index;
    const lastWithEffects = this.remembered.at(-1)?.index ?? 0;
    for (const watch of this.watches.values()) {
      if (watch.sentIndex < lastWithEffects) this.send(watch);
    }
  }

  /** Tells all how far the tree is, also where nothing changed that they could see. */
  tick(): void {
    for (const watch of this.watches.values()) {
      if (watch.sentIndex < this.appliedIndex) this.send(watch);
    }
  }

  /** The tree was replaced: what happened in between is unknown. */
  reset(index: number): void {
    this.remembered = [];
    this.first = 0;
    this.bytes = 0;
    this.forgottenIndex = index;
    this.appliedIndex = index;
    for (const watch of this.watches.values()) this.send(watch);
  }

  /** Events of indexes above `fromIndex`, and a reset first where they are gone. */
  add(watcher: Watcher, fromIndex: number): void {
    const watch = { watcher, sentIndex: fromIndex };
    this.watches.set(watcher, watch);
    if (fromIndex < this.appliedIndex) this.send(watch);
  }

  /** What comes next on this watcher's connection is no newer than what it has been told. */
  bringUp(watcher: Watcher): void {
    const watch = this.watches.get(watcher);
    if (watch !== undefined && watch.sentIndex < this.appliedIndex) this.send(watch);
  }

  remove(watcher: Watcher): void {
    this.watches.delete(watcher);
  }

  private send(watch: Watch): void {
    const { watcher } = watch;
    while (watch.sentIndex < this.appliedIndex) {
      if (watcher.queuedBytes > WATCHER_QUEUED_BYTES_MAX) return;
      const event = this.eventAfter(watch.sentIndex);
      watch.sentIndex = event.index;
      watcher.send({ type: 'watch-event', id: watcher.id, ...event });
    }
  }

  private eventAfter(sentIndex: number): Omit<WatchEvent, 'type' | 'id'> {
    if (sentIndex < this.forgottenIndex) {
      return { index: this.appliedIndex, reset: true, effects: [] };
    }
    const effects: Effect[] = [];
    for (let i = this.find(sentIndex); i < this.remembered.length; i++) {
      const one = this.remembered[i];
      if (one === undefined || one.index > this.appliedIndex) break;
      if (effects.length > 0 && effects.length + one.effects.length > EVENT_EFFECTS_MAX) {
        return { index: one.index - 1, reset: false, effects };
      }
      effects.push(...one.effects);
    }
    return { index: this.appliedIndex, reset: false, effects };
  }

  /** Position of the first command behind `index`. */
  private find(index: number): number {
    let low = this.first;
    let high = this.remembered.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.remembered[middle]?.index ?? 0) <= index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private forgetSurplus(): void {
    while (
      this.bytes > REMEMBERED_BYTES_MAX ||
      this.remembered.length - this.first > REMEMBERED_COMMANDS_MAX
    ) {
      const one = this.remembered[this.first];
      if (one === undefined) return;
      this.remembered[this.first++] = { ...one, effects: NO_EFFECTS };
      this.bytes -= one.bytes;
      this.forgottenIndex = one.index;
    }
    // Cut off in large pieces: every cut copies what stays.
    if (this.first > REMEMBERED_COMMANDS_MAX / 4) {
      this.remembered = this.remembered.slice(this.first);
      this.first = 0;
    }
  }
}
