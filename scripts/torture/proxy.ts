import { createServer, connect as dial, type Server, type Socket } from 'node:net';

/** How bytes fare from one process to another. Nothing is lost out of the middle: this is TCP. */
export interface Weather {
  /** Nothing arrives; what is sent waits, as behind a cut cable. */
  readonly cut: boolean;
  readonly delayMs: number;
  /** Bytes that pass in a second. */
  readonly bytesPerSecond: number;
}

export const FAIR: Weather = { cut: false, delayMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY };

/** Weathers by direction: from one name to another. */
export class Roads {
  private readonly weathers = new Map<string, Weather>();

  set(from: string, to: string, weather: Partial<Weather>): void {
    this.weathers.set(`${from} ${to}`, { ...FAIR, ...weather });
  }

  get(from: string, to: string): Weather {
    return this.weathers.get(`${from} ${to}`) ?? FAIR;
  }

  heal(): void {
    this.weathers.clear();
  }
}

/** What is held back in one direction of one connection, before its sender is made to wait. */
const HELD_BYTES_MAX = 1_048_576;
/** How often what is held back is looked at. */
const STEP_MS = 5;

/**
 * Stands before one node: the address under which everybody knows it. Who dials is known from the
 * first frames, which name the caller; so each pair of processes has weather of its own, each way.
 */
export class NodeProxy {
  private readonly connections = new Set<Connection>();
  private server: Server | null = null;

  constructor(
    private readonly roads: Roads,
    private readonly node: string,
    private readonly listenPort: number,
    private readonly nodePort: number,
    /** The name of a process, out of the first bytes that it sends. */
    private readonly nameOf: (head: string) => string | null,
  ) {}

  listen(): Promise<void> {
    // Half-open connections are not of interest: either end's end is both ends'.
    this.server = createServer({ noDelay: true }, (near) => this.accept(near));
    return new Promise((resolve) => {
      this.server?.listen(this.listenPort, '127.0.0.1', resolve);
    });
  }

  /** Breaks connections at once, with a reset; of everybody, or of one. */
  reset(caller: string | null = null): void {
    for (const connection of this.connections) {
      if (caller === null || connection.caller === caller) connection.end();
    }
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.server?.close(resolve));
  }

  private accept(near: Socket): void {
    const far = dial({ port: this.nodePort, host: '127.0.0.1', noDelay: true });
    const connection = new Connection(near, far, () => this.connections.delete(connection));
    this.connections.add(connection);
    connection.carry(near, far, (head) => {
      connection.caller ??= this.nameOf(head);
      return connection.caller === null ? FAIR : this.roads.get(connection.caller, this.node);
    });
    connection.carry(far, near, () =>
      connection.caller === null ? FAIR : this.roads.get(this.node, connection.caller),
    );
  }
}

/** Enough for an HTTP upgrade and a greeting. */
const HEAD_CHARS_MAX = 4096;

class Connection {
  caller: string | null = null;
  private ended = false;

  constructor(
    private readonly near: Socket,
    private readonly far: Socket,
    private readonly onEnd: () => void,
  ) {
    for (const socket of [near, far]) {
      socket.on('error', () => this.end());
      socket.on('close', () => this.end());
    }
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.near.resetAndDestroy();
    this.far.resetAndDestroy();
    this.onEnd();
  }

  carry(from: Socket, to: Socket, weatherNow: (head: string) => Weather): void {
    const held: { readonly data: Buffer; readonly dueMs: number }[] = [];
    let heldBytes = 0;
    let head = '';
    let budgetMs = 0;
    let timer: NodeJS.Timeout | null = null;
    let over = false;
    const pass = () => {
      timer = null;
      const nowMs = performance.now();
      for (let first = held[0]; first !== undefined && !this.ended; first = held[0]) {
        const { cut, bytesPerSecond } = weatherNow(head);
        if (cut || first.dueMs > nowMs || budgetMs > nowMs) break;
        budgetMs = Math.max(budgetMs, nowMs) + (first.data.length / bytesPerSecond) * 1000;
        held.shift();
        heldBytes -= first.data.length;
        to.write(first.data);
      }
      if (heldBytes < HELD_BYTES_MAX) from.resume();
      if (held.length > 0 && !this.ended) timer = setTimeout(pass, STEP_MS);
      else if (over) to.end();
    };
    from.on('data', (data: Buffer) => {
      if (head.length < HEAD_CHARS_MAX) head += data.toString('latin1');
      const { delayMs } = weatherNow(head);
      held.push({ data, dueMs: performance.now() + delayMs });
      heldBytes += data.length;
      if (heldBytes >= HELD_BYTES_MAX) from.pause();
      if (timer === null) pass();
    });
    from.on('end', () => {
      over = true;
      if (held.length === 0) to.end();
    });
  }
}
