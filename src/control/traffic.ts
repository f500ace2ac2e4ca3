import type { PeerMessage } from '../codec/peer-messages.js';
import type { NodeId } from '../raft/types.js';
import type { MessagesEvent } from './events.js';

export type MessageKind = PeerMessage['type'];

type Counts = Map<MessageKind, number>;

/** Counts the messages between this node and the others; for watchers also by peer. */
export class Traffic {
  readonly sent: Counts = new Map();
  readonly received: Counts = new Map();
  entriesSent = 0;
  entriesReceived = 0;
  bytesSent = 0;
  private readonly open = new Map<NodeId, Map<MessageKind, Summary>>();

  onSent(message: PeerMessage, watched: boolean): void {
    add(this.sent, message.type);
    const { entries, bytes } = load(message);
    this.entriesSent += entries;
    this.bytesSent += bytes;
    if (watched) this.summary(message).add(message, entries, bytes);
  }

  onReceived(message: PeerMessage): void {
    add(this.received, message.type);
    if (message.type === 'append') this.entriesReceived += message.entries.length;
  }

  /** What was sent since the last call, by peer and kind. */
  take(at: number): MessagesEvent[] {
    const events: MessagesEvent[] = [];
    for (const [to, kinds] of this.open) {
      for (const [kind, summary] of kinds) events.push(summary.event(at, to, kind));
    }
    this.open.clear();
    return events;
  }

  private summary({ to, type }: PeerMessage): Summary {
    let kinds = this.open.get(to);
    if (kinds === undefined) {
      kinds = new Map();
      this.open.set(to, kinds);
    }
    let summary = kinds.get(type);
    if (summary === undefined) {
      summary = new Summary();
      kinds.set(type, summary);
    }
    return summary;
  }
}

function add(counts: Counts, kind: MessageKind): void {
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
}

function load(message: PeerMessage): { readonly entries: number; readonly bytes: number } {
  if (message.type === 'snapshot-chunk') return { entries: 0, bytes: message.data.length };
  if (message.type !== 'append') return NO_LOAD;
  let bytes = 0;
  for (const entry of message.entries) bytes += entry.data.length;
  return { entries: message.entries.length, bytes };
}

const NO_LOAD = { entries: 0, bytes: 0 };

class Summary {
  private count = 0;
  private granted = 0;
  private entries = 0;
  private bytes = 0;
  private firstIndex = 0;
  private lastIndex = 0;

  add(message: PeerMessage, entries: number, bytes: number): void {
    this.count++;
    this.entries += entries;
    this.bytes += bytes;
    if ('granted' in message && message.granted) this.granted++;
    if (message.type !== 'append' || entries === 0) return;
    const first = message.prevIndex + 1;
    this.firstIndex = this.firstIndex === 0 ? first : Math.min(this.firstIndex, first);
    this.lastIndex = Math.max(this.lastIndex, message.prevIndex + entries);
  }

  event(at: number, to: NodeId, kind: MessageKind): MessagesEvent {
    const { count, granted, entries, bytes, firstIndex, lastIndex } = this;
    return {
      type: 'messages',
      ...{ at, to, kind, count, granted, entries, bytes, firstIndex, lastIndex },
    };
  }
}
