import { MootError } from '../../src/base/errors.js';
import { type Random, randomBetween } from '../../src/base/random.js';
import type {
  ConnectOptions,
  Door,
  DoorOptions,
  Network,
  Path,
  Wire,
  WireEnd,
  WireEvents,
} from '../../src/transport/network.js';
import { PING_INTERVAL_MS, SILENT_INTERVALS_MAX } from '../../src/transport/rules.js';
import type { Loop } from './loop.js';
import type { Machine } from './machine.js';

/** How frames fare from one machine to another. */
export interface Weather {
  readonly delayMinMicros: number;
  readonly delayMaxMicros: number;
  /** Of each frame. Between nodes the frame is lost, or doubled; to and from a client the connection breaks. */
  readonly loss: number;
  readonly duplication: number;
  /** Frames between nodes may overtake each other. */
  readonly reordering: boolean;
  /** How long a byte takes: a slow line. */
  readonly microsPerByte: number;
}

/** A connection that is silent is given up as the pings of a real one would. */
const SILENCE_MICROS = PING_INTERVAL_MS * SILENT_INTERVALS_MAX * 1_000;
/** Nobody answers a call to an address that swallows packets. */
const CONNECT_MICROS = PING_INTERVAL_MS * 1_000;
/** Code of RFC 6455 §7.4.1 for an end without a close frame. */
const CODE_LOST = 1006;

interface OpenDoor {
  readonly machine: Machine;
  readonly options: DoorOptions;
}

/** All lines between all machines, known by their names. */
export class SimNetwork {
  private readonly doors = new Map<string, OpenDoor>();
  private readonly cuts = new Set<string>();
  private readonly weathers = new Map<string, Weather>();
  readonly wires = new Set<SimWire>();
  frames = 0;

  constructor(
    readonly loop: Loop,
    readonly random: Random,
    private readonly usual: Weather,
  ) {}

  /** The network as one process sees it. What it sends comes from `machine.name`. */
  of(machine: Machine): Network {
    return {
      clock: machine.clock,
      open: async (options) => this.open(machine, options),
      connect: (options) => this.connect(machine, options),
    };
  }

  cut(from: string, to: string): void {
    this.cuts.add(road(from, to));
    this.loop.after(SILENCE_MICROS, 'silence', () => {
      for (const wire of [...this.wires]) {
        if (wire.isFrom(from, to) && this.isCut(from, to)) wire.lost('nothing was heard any more');
      }
    });
  }

  heal(from: string, to: string): void {
    if (!this.cuts.delete(road(from, to))) return;
    for (const wire of [...this.wires]) if (wire.isFrom(from, to)) wire.flush();
  }

  healAll(): void {
    this.weathers.clear();
    for (const one of [...this.cuts]) {
      const [from = '', to = ''] = one.split('\n');
      this.heal(from, to);
    }
  }

  isCut(from: string, to: string): boolean {
    return this.cuts.size > 0 && this.cuts.has(road(from, to));
  }

  weather(from: string, to: string): Weather {
    if (this.weathers.size === 0) return this.usual;
    return this.weathers.get(road(from, to)) ?? this.usual;
  }

  setWeather(from: string, to: string, weather: Weather | null): void {
    if (weather === null) this.weathers.delete(road(from, to));
    else this.weathers.set(road(from, to), weather);
  }

  /** Breaks every connection between the two. */
  reset(a: string, b: string): void {
    for (const wire of [...this.wires]) {
      if (wire.isFrom(a, b) || wire.isFrom(b, a)) wire.lost('connection reset');
    }
  }

  /** The process is no more. `silently`: its machine lost its power, and nobody is told. */
  died(machine: Machine, silently: boolean): void {
    for (const [address, door] of this.doors) {
      if (door.machine === machine) this.doors.delete(address);
    }
    for (const wire of [...this.wires]) {
      if (wire.owner === machine) wire.ownerDied(silently ? SILENCE_MICROS : 0);
    }
  }

  /** A process that answers no pings for so long is left by the others. */
  pausedFor(machine: Machine, micros: number): void {
    if (micros < SILENCE_MICROS) return;
    this.loop.after(SILENCE_MICROS, 'no pong', () => {
      for (const wire of [...this.wires]) {
        if (wire.owner === machine && machine.paused) wire.lost('no pong came');
      }
    });
  }

  private open(machine: Machine, options: DoorOptions): Door {
    const { address } = options;
    if (this.doors.has(address)) throw new MootError('PORT_TAKEN', `${address} is taken`);
    const door = { machine, options };
    this.doors.set(address, door);
    return {
      close: async () => {
        if (this.doors.get(address) === door) this.doors.delete(address);
        for (const wire of [...this.wires]) {
          if (wire.owner === machine && wire.accepted) wire.lost('the door was closed');
        }
      },
    };
  }

  private connect(machine: Machine, { address, path, signal }: ConnectOptions): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const refuse = (code: 'UNREACHABLE' | 'INTERRUPTED', why: string) => {
        signal.removeEventListener('abort', abort);
        attempt.cancelled = true;
        reject(new MootError(code, `${address}: ${why}`));
      };
      const abort = () => refuse('INTERRUPTED', 'dialling was given up');
      const host = hostOf(address);
      const there = this.travelMicros(machine.name, host, 0);
      const back = this.travelMicros(host, machine.name, 0);
      const blocked = this.isCut(machine.name, host) || this.isCut(host, machine.name);
      const attempt = machine.after(blocked ? CONNECT_MICROS : there + back, 'connect', () => {
        const door = this.doors.get(address);
        if (blocked || door === undefined || !door.machine.alive) {
          refuse('UNREACHABLE', blocked ? 'timed out' : 'nobody listens there');
          return;
        }
        signal.removeEventListener('abort', abort);
        resolve(this.join(machine, door, path));
      });
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
    });
  }

  private join(caller: Machine, door: OpenDoor, path: Path): Wire {
    const near = new SimWire(this, path, caller, door.machine, false);
    const far = new SimWire(this, path, door.machine, caller, true);
    near.other = far;
    far.other = near;
    this.wires.add(near);
    this.wires.add(far);
    // The kernel takes the connection; the process hears of it when it runs.
    door.machine.after(0, 'accept', () => door.options.onWire[path](far));
    return near;
  }

  travelMicros(from: string, to: string, bytes: number): number {
    const { delayMinMicros, delayMaxMicros, microsPerByte } = this.weather(from, to);
    return randomBetween(this.random, delayMinMicros, delayMaxMicros + 1) + bytes * microsPerByte;
  }
}

/** One end of a connection. What it sends is queued here until it arrives at the other. */
export class SimWire implements Wire {
  readonly remote: string;
  queuedBytes = 0;
  other: SimWire | undefined;
  private events: WireEvents | null = null;
  private ended = false;
  /** In order; a goodbye is the last. Those up to `due` have travelled long enough. */
  private readonly queue: (Uint8Array | WireEnd)[] = [];
  private due = 0;
  private sent = 0;

  constructor(
    private readonly network: SimNetwork,
    private readonly path: Path,
    readonly owner: Machine,
    private readonly peer: Machine,
    readonly accepted: boolean,
  ) {
    this.remote = peer.name;
  }

  isFrom(from: string, to: string): boolean {
    return this.owner.name === from && this.peer.name === to;
  }

  listen(events: WireEvents): void {
    this.events = events;
  }

  send(frame: Uint8Array): void {
    if (this.ended) return;
    const { network } = this;
    const { loss, duplication, reordering } = network.weather(this.owner.name, this.peer.name);
    network.frames++;
    // The greeting of a connection is its first frame: without it there is none.
    const greeting = this.sent++ === 0;
    if (!greeting && loss > 0 && network.random.next() < loss) {
      if (this.path === '/client') this.lost('a frame was lost');
      return;
    }
    this.queuedBytes += frame.length;
    if (greeting || this.path === '/client') {
      this.travel(frame);
      return;
    }
    if (reordering && network.random.next() < 0.3) this.stray(frame);
    else this.travel(frame);
    if (duplication > 0 && network.random.next() < duplication) {
      this.queuedBytes += frame.length;
      this.stray(frame);
    }
  }

  close(code: number, reason: string): void {
    this.travel({ code, reason, refused: null });
    this.endHere(code, reason);
  }

  destroy(reason: string): void {
    this.travel({ code: CODE_LOST, reason: '', refused: null });
    this.endHere(CODE_LOST, reason);
  }

  /** Both ends learn of it now. */
  lost(reason: string): void {
    this.endHere(CODE_LOST, reason);
    this.other?.endHere(CODE_LOST, reason);
  }

  ownerDied(afterMicros: number): void {
    this.ended = true;
    this.queue.length = 0;
    this.network.wires.delete(this);
    const { owner, peer, other, network } = this;
    const micros = afterMicros + network.travelMicros(owner.name, peer.name, 0);
    network.loop.after(micros, 'peer died', () => other?.endHere(CODE_LOST, 'connection reset'));
  }

  /** What waited at a cut goes on. */
  flush(): void {
    while (this.due > 0 && !this.network.isCut(this.owner.name, this.peer.name)) {
      this.due--;
      const item = this.queue.shift();
      if (item === undefined) return;
      if (!(item instanceof Uint8Array)) {
        this.other?.endHere(item.code, item.reason);
        this.forgetWhenDone();
        return;
      }
      this.queuedBytes -= item.length;
      this.arrive(item);
    }
  }

  private travel(item: Uint8Array | WireEnd): void {
    this.queue.push(item);
    const { network, owner, peer } = this;
    const bytes = item instanceof Uint8Array ? item.length : 0;
    network.loop.after(network.travelMicros(owner.name, peer.name, bytes), 'frame', () => {
      this.due++;
      this.flush();
    });
  }

  /** A frame between nodes that comes out of its order. */
  private stray(frame: Uint8Array): void {
    const { network, owner, peer } = this;
    const micros = 3 * network.travelMicros(owner.name, peer.name, frame.length);
    network.loop.after(micros, 'stray', () => {
      this.queuedBytes -= frame.length;
      if (!network.isCut(owner.name, peer.name)) this.arrive(frame);
    });
  }

  private arrive(frame: Uint8Array): void {
    const { other } = this;
    if (other === undefined || other.ended) return;
    this.network.loop.noteBytes(frame);
    this.peer.happen(() => {
      if (!other.ended) other.events?.onFrame(frame);
    }, other);
  }

  private forgetWhenDone(): void {
    if (this.ended && this.queue.length === 0) this.network.wires.delete(this);
  }

  private endHere(code: number, reason: string): void {
    if (this.ended) return;
    this.ended = true;
    const tell = () => {
      this.forgetWhenDone();
      this.events?.onEnd({ code, reason, refused: null });
    };
    // Behind what had arrived before.
    this.owner.after(0, 'end', tell, this);
  }
}

/** Addresses of the world are `host:1`. */
function hostOf(address: string): string {
  return address.slice(0, address.indexOf(':'));
}

/** Names have no line break. */
function road(from: string, to: string): string {
  return `${from}\n${to}`;
}
