import type { Clock } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import { type Random, randomBetween } from '../base/random.js';
import { createDialer, type DialerOptions } from './dialer.js';
import { createTransport, type TransportOptions } from './member.js';
import type {
  ConnectOptions,
  Door,
  DoorOptions,
  Network,
  Path,
  Wire,
  WireEnd,
  WireEvents,
} from './network.js';
import { PING_INTERVAL_MS, SILENT_INTERVALS_MAX } from './rules.js';
import type { Dialer, Transport } from './transport.js';

/** How frames fare from one end to another. */
export interface Weather {
  /** Each frame takes a random time within these; none overtakes another on its connection. */
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
  /**
   * Probability that a frame is lost. Between peers the frame is lost; to and from a client the
   * connection breaks, as TCP loses nothing out of the middle.
   */
  readonly loss: number;
}

const FAIR: Weather = { delayMinMs: 0, delayMaxMs: 0, loss: 0 };

/** A connection over which nothing comes any more is given up as the pings of a real one would. */
const SILENCE_MS = PING_INTERVAL_MS * SILENT_INTERVALS_MAX;

/** Codes of RFC 6455 §7.4.1 for an end without a code, and for one without a close frame. */
const CODE_LOST = 1006;

/**
 * A network within the process, for tests and simulation. Ends are named by the ids of nodes and
 * the names of dialers; everything is encoded, greeted and decoded as on a real network.
 */
export interface MemoryNetwork {
  transport(options: TransportOptions): Transport;
  dialer(options: DialerOptions): Dialer;
  /** Nothing from `from` reaches `to` until it is healed; what was on its way waits, as TCP would send it again. */
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  setWeather(from: string, to: string, weather: Partial<Weather>): void;
  /** Breaks all connections between the two at once; they may be made again. */
  reset(a: string, b: string): void;
}

export function createMemoryNetwork(clock: Clock, random: Random): MemoryNetwork {
  const world = new World(clock, random);
  return {
    transport: (options) => createTransport(world, { random, ...options }),
    dialer: (options) => createDialer(world, options),
    cut: (from, to) => world.cut(from, to),
    heal: (from, to) => world.heal(from, to),
    setWeather: (from, to, weather) => world.weather.set(road(from, to), { ...FAIR, ...weather }),
    reset: (a, b) => {
      for (const wire of [...world.wires]) {
        if (wire.isFrom(a, b) || wire.isFrom(b, a)) wire.end(CODE_LOST, 'connection reset');
      }
    },
  };
}

/** Names have no line break. */
function road(from: string, to: string): string {
  return `${from}\n${to}`;
}

class World implements Network {
  readonly weather = new Map<string, Weather>();
  readonly wires = new Set<MemoryWire>();
  private readonly doors = new Map<string, DoorOptions>();
  private readonly closed = new Set<string>();

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  async open(options: DoorOptions): Promise<Door> {
    const { address, id } = options;
    if (this.doors.has(address)) {
      throw new MootError('PORT_TAKEN', `${address} is taken by ${this.doors.get(address)?.id}`);
    }
    this.doors.set(address, options);
    return {
      close: async () => {
        this.doors.delete(address);
        for (const wire of [...this.wires]) {
          if (wire.isOf(id, address)) wire.end(CODE_LOST, 'the door was closed');
        }
      },
    };
  }

  connect({ address, path, caller, signal }: ConnectOptions): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const give = (code: 'UNREACHABLE' | 'INTERRUPTED', why: string) => {
        signal.removeEventListener('abort', abort);
        timer.cancel();
        reject(new MootError(code, `${address}: ${why}`));
      };
      const abort = () => give('INTERRUPTED', 'dialling was given up');
      const knock = () => {
        const door = this.doors.get(address);
        if (door === undefined) return give('UNREACHABLE', 'nobody listens there');
        signal.removeEventListener('abort', abort);
        resolve(this.join(door, path, caller));
      };
      const id = this.doors.get(address)?.id;
      const reachable = id !== undefined && this.isOpen(caller, id) && this.isOpen(id, caller);
      const timer =
        id === undefined || reachable
          ? this.clock.setTimer(id === undefined ? 0 : this.delayMs(caller, id), knock)
          : this.clock.setTimer(PING_INTERVAL_MS, () => give('UNREACHABLE', 'timed out'));
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
    });
  }

  private join(door: DoorOptions, path: Path, caller: string): Wire {
    const near = new MemoryWire(this, path, caller, door.id, door.address);
    const far = new MemoryWire(this, path, door.id, caller, door.address);
    near.other = far;
    far.other = near;
    this.wires.add(near);
    this.wires.add(far);
    door.onWire[path](far);
    return near;
  }

  isOpen(from: string, to: string): boolean {
    return !this.closed.has(road(from, to));
  }

  delayMs(from: string, to: string): number {
    const { delayMinMs, delayMaxMs } = this.weather.get(road(from, to)) ?? FAIR;
    return randomBetween(this.random, delayMinMs, delayMaxMs + 1);
  }

  isLost(from: string, to: string): boolean {
    const { loss } = this.weather.get(road(from, to)) ?? FAIR;
    return loss > 0 && this.random.next() < loss;
  }

  cut(from: string, to: string): void {
    this.closed.add(road(from, to));
    for (const wire of this.wires) {
      if (wire.isFrom(from, to)) this.clock.setTimer(SILENCE_MS, () => wire.endIfCut());
    }
  }

  heal(from: string, to: string): void {
    this.closed.delete(road(from, to));
    for (const wire of [...this.wires]) if (wire.isFrom(from, to)) wire.flush();
  }
}

/** One end's half of a connection: what it sends is queued here until it arrives at the other. */
class MemoryWire implements Wire {
  readonly remote: string;
  queuedBytes = 0;
  other: MemoryWire | undefined;
  private events: WireEvents | null = null;
  private ended = false;
  /** In order; a goodbye is the last. Those up to `due` have travelled long enough. */
  private readonly queue: (Uint8Array | WireEnd)[] = [];
  private due = 0;

  constructor(
    private readonly world: World,
    private readonly path: Path,
    private readonly from: string,
    private readonly to: string,
    private readonly address: string,
  ) {
    this.remote = to;
  }

  isFrom(from: string, to: string): boolean {
    return this.from === from && this.to === to;
  }

  /** Whether it goes through the door of `id` at `address`. */
  isOf(id: string, address: string): boolean {
    return this.address === address && this.from === id;
  }

  listen(events: WireEvents): void {
    this.events = events;
  }

  send(frame: Uint8Array): void {
    if (this.ended) return;
    if (this.world.isLost(this.from, this.to)) {
      if (this.path === '/client') this.end(CODE_LOST, 'a frame was lost');
      return;
    }
    this.queuedBytes += frame.length;
    this.travel(frame);
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
  end(code: number, reason: string): void {
    this.endHere(code, reason);
    this.other?.endHere(code, reason);
  }

  endIfCut(): void {
    if (!this.world.isOpen(this.from, this.to)) this.end(CODE_LOST, 'nothing was heard any more');
  }

  /** What waited at a cut goes on. */
  flush(): void {
    while (this.due > 0 && this.world.isOpen(this.from, this.to)) {
      this.due--;
      const item = this.queue.shift();
      if (item === undefined) return;
      if (!(item instanceof Uint8Array)) {
        this.other?.endHere(item.code, item.reason);
        this.forgetWhenDone();
        return;
      }
      this.queuedBytes -= item.length;
      if (this.other !== undefined && !this.other.ended) this.other.events?.onFrame(item);
    }
  }

  private travel(item: Uint8Array | WireEnd): void {
    this.queue.push(item);
    this.world.clock.setTimer(this.world.delayMs(this.from, this.to), () => {
      this.due++;
      this.flush();
    });
  }

  private forgetWhenDone(): void {
    if (this.ended && this.queue.length === 0) this.world.wires.delete(this);
  }

  private endHere(code: number, reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.world.clock.setTimer(0, () => {
      this.forgetWhenDone();
      this.events?.onEnd({ code, reason, refused: null });
    });
  }
}
