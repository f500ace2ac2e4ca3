import type { MessagesEvent } from '../control/events.js';
import type { MessageKind } from '../control/traffic.js';
import type { Moment } from './history.js';
import { NODE_RADIUS, type Place, placesOf, SIZE } from './ring.js';
import type { Store } from './store.js';

/** How long a message is seen on its way; a slowed one is seen for as long as it takes. */
const FLIGHT_MS = 450;
const FLIGHT_MS_MAX = 4_000;
/** For those who want no motion: where on its way a message is shown while it travels. */
const STILL_SHARE = 0.42;

type Shape = 'ring' | 'dot' | 'square' | 'triangle' | 'diamond';

const SHAPES: Readonly<Record<MessageKind, readonly [Shape, string, number]>> = {
  heartbeat: ['ring', '#bb7712', 4],
  'heartbeat-reply': ['dot', '#b08a4a', 2.5],
  append: ['square', '#2f9e5b', 6],
  'append-reply': ['dot', '#2f9e5b', 3.5],
  'pre-vote': ['triangle', '#9768d8', 5],
  'pre-vote-reply': ['dot', '#9768d8', 4],
  vote: ['triangle', '#d6409f', 7],
  'vote-reply': ['dot', '#d6409f', 5],
  'read-index': ['ring', '#3b82c4', 3],
  'read-index-reply': ['dot', '#3b82c4', 3],
  'read-lease': ['ring', '#3b82c4', 3],
  'read-lease-reply': ['dot', '#3b82c4', 3],
  'snapshot-chunk': ['diamond', '#d0543a', 9],
  'snapshot-ack': ['dot', '#d0543a', 4],
  'timeout-now': ['diamond', '#9768d8', 6],
  removed: ['dot', '#888888', 4],
  bootstrap: ['ring', '#888888', 3],
  'bootstrap-reply': ['dot', '#888888', 3],
  'disk-space': ['ring', '#888888', 2],
  'state-hash': ['ring', '#888888', 2],
  'state-hash-reply': ['ring', '#888888', 2],
};

/** One frame: messages on their way, and the election timers around the nodes. `still`: nothing moves. */
export function paint(canvas: HTMLCanvasElement, store: Store, still: boolean): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const pixels = Math.round(canvas.clientWidth * devicePixelRatio);
  if (canvas.width !== pixels) {
    canvas.width = pixels;
    canvas.height = pixels;
  }
  const scale = pixels / SIZE;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, SIZE, SIZE);
  const { atMs } = store;
  const moments = store.history.at(atMs);
  const places = placesOf(moments);
  const byId = new Map(moments.map((moment) => [moment.document.id, moment]));
  for (const moment of moments) {
    const place = places.get(moment.document.id);
    if (place !== undefined) paintTimer(context, moment, place, atMs, store);
  }
  const slowest = Math.max(0, ...moments.map(({ document }) => document.faults.slowMs));
  for (const flight of store.history.inFlight(atMs, flightMs(2 * slowest))) {
    const [from, to] = [byId.get(flight.from), byId.get(flight.message.to)];
    const [a, b] = [places.get(flight.from), places.get(flight.message.to)];
    if (from === undefined || to === undefined || a === undefined || b === undefined) continue;
    const cut = from.document.faults.cutFrom.includes(flight.message.to);
    const lateMs = from.document.faults.slowMs + to.document.faults.slowMs;
    const share = (atMs - flight.atMs) / flightMs(lateMs);
    // At a cut it gets half the way.
    if (share > (cut ? 0.5 : 1)) continue;
    context.globalAlpha = cut ? 1 - share * 2 : 1;
    paintMessage(context, flight.message, a, b, still ? STILL_SHARE : share);
    context.globalAlpha = 1;
  }
}

function flightMs(lateMs: number): number {
  return Math.max(FLIGHT_MS, Math.min(lateMs, FLIGHT_MS_MAX));
}

/** A message that has come so far on its way. */
function paintMessage(
  context: CanvasRenderingContext2D,
  message: MessagesEvent,
  from: Place,
  to: Place,
  share: number,
): void {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const way = NODE_RADIUS / length + share * (1 - (2 * NODE_RADIUS) / length);
  // Each direction keeps to its right.
  const x = from.x + dx * way - (dy / length) * 5;
  const y = from.y + dy * way + (dx / length) * 5;
  const [shape, colour, size] = SHAPES[message.kind];
  const empty = message.kind === 'append' && message.entries === 0;
  context.fillStyle = message.kind === 'vote-reply' && message.granted === 0 ? '#888888' : colour;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  trace(context, empty ? 'ring' : shape, x, y, size);
}

function trace(c: CanvasRenderingContext2D, shape: Shape, x: number, y: number, r: number): void {
  c.beginPath();
  if (shape === 'square') c.rect(x - r, y - r, 2 * r, 2 * r);
  else if (shape === 'triangle') {
    c.moveTo(x, y - r);
    c.lineTo(x + r, y + r);
    c.lineTo(x - r, y + r);
  } else if (shape === 'diamond') {
    c.moveTo(x, y - r);
    c.lineTo(x + r, y);
    c.lineTo(x, y + r);
    c.lineTo(x - r, y);
  } else c.arc(x, y, r, 0, 2 * Math.PI);
  c.closePath();
  if (shape === 'ring') c.stroke();
  else c.fill();
}

/** What is left of the time-out, as an arc. A leader has none. */
function paintTimer(
  context: CanvasRenderingContext2D,
  { document, up, atMs: seenMs }: Moment,
  place: Place,
  atMs: number,
  store: Store,
): void {
  if (!up || document.role === 'leader') return;
  const { elapsedMs, timeoutMs, heartbeatMs } = document.election;
  // Between two documents a live leader's heartbeats set it anew.
  const since = Math.min(atMs - seenMs, 1_000);
  const heard = document.leader !== null && store.lookingAtMs === null;
  const elapsed = heard ? (elapsedMs + since) % heartbeatMs : elapsedMs + since;
  const left = Math.max(0, 1 - elapsed / timeoutMs);
  context.beginPath();
  context.lineWidth = 4;
  context.strokeStyle = '#7aa7d8';
  const top = -Math.PI / 2;
  context.arc(place.x, place.y, NODE_RADIUS + 6, top, top + 2 * Math.PI * left);
  context.stroke();
}
