import { compareIds } from '../control/cluster-link.js';
import type { NodeDocument } from '../control/document.js';
import type { MessagesEvent, NodeEvent } from '../control/events.js';
import { eventText } from '../control/wording.js';

/** How far back the slider goes. */
export const HISTORY_MS = 180_000;
/** Messages that are remembered: minutes of an idle cluster, seconds of a busy one. */
const MESSAGES_MAX = 20_000;
const WORDS_MAX = 400;
/** What another node says in the same words within this is told once, with the names of both. */
const SAME_MS = 3_000;
/** A document that says nothing new is kept this often. */
const KEEP_MS = 1_000;

/** All times are this browser's, when something arrived: nodes' clocks may differ. */
export interface Moment {
  readonly atMs: number;
  readonly document: NodeDocument;
  readonly up: boolean;
}

export interface Flight {
  readonly atMs: number;
  readonly from: string;
  readonly message: MessagesEvent;
}

/** What one node said, or what several did. */
export interface Word {
  readonly atMs: number;
  ids: readonly string[];
  readonly text: string;
}

/** What the page has seen in the last minutes, so that it can show any moment of them. */
export class History {
  /** In the order of their times. */
  readonly words: Word[] = [];
  private readonly moments = new Map<string, Moment[]>();
  private flights: Flight[] = [];

  saw(document: NodeDocument, up: boolean, atMs: number): void {
    const list = this.moments.get(document.id) ?? [];
    this.moments.set(document.id, list);
    const last = list.at(-1);
    if (last !== undefined && atMs - last.atMs < KEEP_MS && sameStory(last, document, up)) return;
    list.push({ atMs, document, up });
    while ((list[1]?.atMs ?? atMs) < atMs - HISTORY_MS) list.shift();
  }

  told(id: string, events: readonly NodeEvent[], atMs: number): void {
    for (const event of events) {
      if (event.type === 'messages') this.flights.push({ atMs, from: id, message: event });
      else this.say(id, event, atMs);
    }
    if (this.flights.length > MESSAGES_MAX) this.flights = this.flights.slice(-MESSAGES_MAX / 2);
  }

  /** What a node told before somebody watched it: `at` of its events is `awayMs` ahead of our time. */
  remembers(id: string, events: readonly NodeEvent[], awayMs: number): void {
    for (const event of events) this.say(id, event, event.at - awayMs);
  }

  /** The nodes as they were then. */
  at(atMs: number): readonly Moment[] {
    const found: Moment[] = [];
    for (const list of this.moments.values()) {
      const moment = list.findLast((one) => one.atMs <= atMs) ?? list[0];
      if (moment !== undefined) found.push(moment);
    }
    return found.sort((a, b) => compareIds(a.document.id, b.document.id));
  }

  private say(id: string, event: NodeEvent, atMs: number): void {
    if (event.type === 'commit') return;
    const { words } = this;
    const text = eventText(event);
    let place = words.length;
    while ((words[place - 1]?.atMs ?? Number.NEGATIVE_INFINITY) > atMs) place--;
    let [first, end] = [place, place];
    while ((words[first - 1]?.atMs ?? Number.NEGATIVE_INFINITY) > atMs - SAME_MS) first--;
    while ((words[end]?.atMs ?? Number.POSITIVE_INFINITY) < atMs + SAME_MS) end++;
    const same = words.slice(first, end).findLast((word) => {
      return word.text === text && !word.ids.includes(id);
    });
    if (same !== undefined) {
      same.ids = [...same.ids, id].sort(compareIds);
      return;
    }
    words.splice(place, 0, { atMs, ids: [id], text });
    if (words.length > WORDS_MAX) words.shift();
  }

  /** Messages that were sent within so long before that moment. */
  inFlight(atMs: number, flightMs: number): readonly Flight[] {
    const found: Flight[] = [];
    for (let i = this.flights.length - 1; i >= 0; i--) {
      const flight = this.flights[i];
      if (flight === undefined || flight.atMs < atMs - flightMs) break;
      if (flight.atMs <= atMs) found.push(flight);
    }
    return found;
  }
}

function sameStory(last: Moment, now: NodeDocument, up: boolean): boolean {
  const { document: before } = last;
  return (
    last.up === up &&
    before.role === now.role &&
    before.term === now.term &&
    before.leader === now.leader &&
    before.vote === now.vote &&
    before.lastIndex === now.lastIndex &&
    before.commitIndex === now.commitIndex &&
    before.appliedIndex === now.appliedIndex &&
    before.faults.slowMs === now.faults.slowMs &&
    before.faults.cutFrom.length === now.faults.cutFrom.length
  );
}
