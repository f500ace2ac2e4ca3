import { assert } from '../base/assert.js';
import type { Log } from './log.js';
import type { AppendReply, HardState, RaftMessage, Save } from './types.js';

interface HeldMessage {
  readonly save: number;
  readonly message: RaftMessage;
}

/**
 * Term and vote, the numbering of saves, and the messages that wait for them. A message leaves
 * when all that it promises is durable (thesis §3.8, "persistent state").
 */
export class Outbox {
  private state: HardState;
  private dirty = false;
  /** The save that holds `state`, unless dirty. */
  private stateSave = 0;
  private lastSave = 0;
  private savedNumber = 0;

  private now: RaftMessage[] = [];
  /** For when the next save is durable. */
  private afterNext: RaftMessage[] = [];
  /** For when a save that was handed out before is durable; in the order of saves. */
  private held: HeldMessage[] = [];

  constructor(
    restored: HardState,
    private readonly log: Log,
  ) {
    this.state = restored;
  }

  get hardState(): HardState {
    return this.state;
  }

  setHardState(state: HardState): void {
    assert(state.term >= this.state.term, 'terms never go back');
    assert(
      state.term > this.state.term || this.state.vote === null || state.vote === this.state.vote,
      'one vote in a term',
    );
    this.state = state;
    this.dirty = true;
  }

  get hardStateDurable(): boolean {
    return !this.dirty && this.stateSave <= this.savedNumber;
  }

  get hasReady(): boolean {
    return this.now.length > 0 || this.dirty || this.log.hasUnsaved;
  }

  /** Sends what promises nothing that is not durable already. */
  send(message: RaftMessage): void {
    this.now.push(message);
  }

  /** Sends when term and vote, and the own log up to `index`, are durable. */
  sendDurably(message: RaftMessage, index: number): void {
    const next = this.lastSave + 1;
    const save = this.dirty ? next : Math.max(this.stateSave, this.log.saveOf(index, next));
    if (save <= this.savedNumber) this.now.push(message);
    else if (save === next) pushReply(this.afterNext, message);
    else this.hold({ save, message });
  }

  takeMessages(): RaftMessage[] {
    const messages = this.now;
    this.now = [];
    return messages;
  }

  /** Everything that changed since the last save, and the messages that wait for exactly that. */
  takeSave(): { readonly save: Save; readonly messages: readonly RaftMessage[] } | null {
    if (!this.dirty && !this.log.hasUnsaved) {
      assert(this.afterNext.length === 0, 'messages that wait for a save have one');
      return null;
    }
    const number = ++this.lastSave;
    const save: Save = {
      number,
      hardState: this.dirty ? this.state : null,
      ...this.log.takeUnsaved(number),
    };
    if (this.dirty) this.stateSave = number;
    this.dirty = false;
    const messages = this.afterNext;
    this.afterNext = [];
    return { save, messages };
  }

  saved(number: number): void {
    assert(number <= this.lastSave, 'only what was handed out is saved');
    if (number <= this.savedNumber) return;
    this.savedNumber = number;
    this.log.saved(number);
    let done = 0;
    for (const { save, message } of this.held) {
      if (save > number) break;
      this.now.push(message);
      done++;
    }
    if (done > 0) this.held.splice(0, done);
  }

  /** Takes back promises about log entries; a message that is never sent is like one that is lost. */
  dropAppendReplies(): void {
    const keep = (message: RaftMessage) => message.type !== 'append-reply';
    this.now = this.now.filter(keep);
    this.afterNext = this.afterNext.filter(keep);
    this.held = this.held.filter(({ message }) => keep(message));
  }

  private hold(held: HeldMessage): void {
    let at = this.held.length;
    while (at > 0 && (this.held[at - 1]?.save ?? 0) > held.save) at--;
    this.held.splice(at, 0, held);
  }
}

/** A success says "up to here": of several in one batch to one leader the last one is enough. */
function pushReply(messages: RaftMessage[], message: RaftMessage): void {
  const last = messages.at(-1);
  if (
    last !== undefined &&
    isSuccess(last) &&
    isSuccess(message) &&
    last.to === message.to &&
    last.term === message.term &&
    last.recovering === message.recovering &&
    message.match >= last.match
  ) {
    messages[messages.length - 1] = message;
  } else messages.push(message);
}

function isSuccess(message: RaftMessage): message is AppendReply {
  return message.type === 'append-reply' && message.success;
}
