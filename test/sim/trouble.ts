import { seededRandom } from '../../src/base/random.js';
import type { SnapshotMessage } from '../../src/codec/peer-messages.js';
import { tableOf } from '../../src/filesystem/keys.js';
import type { Table } from '../../src/filesystem/records.js';
import type { SimDisk } from './disk.js';
import type { Fault, FaultKind, Who } from './faults.js';
import type { Machine } from './machine.js';
import type { Weather } from './network.js';
import { isWhole, Operator } from './operator.js';
import { Orderly } from './orderly.js';
import type { Server } from './server.js';
import { apart, nth } from './shapes.js';
import type { World } from './world.js';

type Handler<T extends FaultKind['type']> = (fault: Extract<FaultKind, { type: T }>) => void;

interface Fatal {
  voters: number;
  readonly afterMicros: number;
  readonly backMs: number;
}

type BrokenSnapshot = Extract<FaultKind, { type: 'broken-snapshot' }>;
type Chunk = Extract<SnapshotMessage, { type: 'snapshot-chunk' }>;
type Ack = Extract<SnapshotMessage, { type: 'snapshot-ack' }>;

/** How long an operator takes to see that a node needs help. */
const OPERATOR_MS = 700;
/** A supervisor starts what has stopped again, after so long. */
const RESTART_MS = 500;
/** So often in vain, until a person looks at the disk. */
const FAILED_STARTS = 3;
/** What nodes read of their trees when they start. */
const READ_AT_START: ReadonlySet<Table | undefined> = new Set(['counters', 'session', 'members']);
/** How often an operator waits for others to be whole: one may have damage that it has not noticed. */
const MENDS_MAX = 15;

const WEATHERS: Record<'slow' | 'lossy' | 'wild' | 'narrow', Weather> = {
  slow: weather({ delayMinMicros: 20_000, delayMaxMicros: 120_000 }),
  lossy: weather({ loss: 0.2 }),
  wild: weather({ delayMaxMicros: 30_000, loss: 0.05, duplication: 0.2, reordering: true }),
  narrow: weather({ microsPerByte: 5 }),
};

function weather(given: Partial<Weather>): Weather {
  return {
    delayMinMicros: 100,
    delayMaxMicros: 1_000,
    loss: 0,
    duplication: 0,
    reordering: false,
    microsPerByte: 0.001,
    ...given,
  };
}

/** Does to the world what the plan says, and ends it all when told to. */
export class Trouble {
  readonly counts: Record<string, number> = {};
  private ended = false;
  /** How often a node was started in vain since its disk broke. */
  private readonly failedStarts = new Map<SimDisk, number>();
  /** The next who vote, and who hear of a change, and what becomes of each. */
  private fatalElection: Fatal | null = null;
  private fatalChange: Fatal | null = null;

  /** What becomes of the next streams, in order. */
  private readonly brokenSnapshots: BrokenSnapshot[] = [];
  /** Chunks whose connection was reset when they were sent, and which have not come any other way. */
  private readonly resetChunks = new Set<Chunk>();

  readonly operator: Operator;
  readonly orderly: Orderly;

  constructor(private readonly world: World) {
    this.operator = new Operator(world);
    this.orderly = new Orderly(world);
  }

  get hasEnded(): boolean {
    return this.ended;
  }

  plan(fault: Fault): void {
    this.world.loop.after(fault.atMs * 1_000, 'fault', () => {
      if (this.ended) return;
      const { atMs: _, ...what } = fault;
      this.world.tell(JSON.stringify(what));
      this.counts[fault.type] = (this.counts[fault.type] ?? 0) + 1;
      // The record has a handler for exactly this type of fault.
      (this.handlers[fault.type] as (fault: FaultKind) => void)(fault);
    });
  }

  /** This server has a new vote on its disk. */
  voted(server: Server): void {
    this.strike(this.fatalElection, server);
  }

  /** This server has a configuration of two sets of voters on its disk. */
  changes(server: Server): void {
    this.strike(this.fatalChange, server);
  }

  private strike(fatal: Fatal | null, server: Server): void {
    if (fatal === null || this.ended || fatal.voters === 0) return;
    fatal.voters--;
    const { machine } = server;
    this.world.loop.after(fatal.afterMicros, 'a voter dies', () => {
      if (this.ended || machine === null || server.machine !== machine) return;
      this.down(server, true);
      this.later(fatal.backMs, () => server.start(), true);
    });
  }

  /** It sends a part of its tree. */
  streams(sender: Server, chunk: Chunk): void {
    const { to } = chunk;
    const broken = this.brokenSnapshots[0];
    const receiver = this.world.servers.find(({ id }) => id === to);
    if (broken === undefined || receiver === undefined || this.ended) return;
    const { where, afterMicros, forMs } = broken;
    // What came before a part is there when it is sent.
    if (where === 'connection' && chunk.sequence === 0) return;
    this.brokenSnapshots.shift();
    if (where === 'connection') {
      this.resetUnder(chunk);
      return;
    }
    this.world.loop.after(afterMicros, 'a snapshot breaks', () => {
      if (this.ended) return;
      if (where === 'between') {
        this.world.network.cut(sender.id, to);
        this.later(forMs, () => this.world.network.heal(sender.id, to));
        return;
      }
      const server = where === 'sender' ? sender : receiver;
      this.down(server, true);
      this.later(forMs, () => server.start(), true);
    });
  }

  private resetUnder(chunk: Chunk): void {
    const { loop, network } = this.world;
    this.resetChunks.add(chunk);
    loop.after(0, 'a snapshot breaks', () => network.reset(chunk.from, chunk.to));
  }

  /** It tells which parts it has of another one's tree. */
  takes({ from, to, stream, sequence }: Ack): void {
    for (const chunk of this.resetChunks) {
      if (chunk.from !== to || chunk.to !== from || chunk.stream !== stream) continue;
      if (sequence < chunk.sequence) continue;
      this.resetChunks.delete(chunk);
      this.counts.resumedSnapshots = (this.counts.resumedSnapshots ?? 0) + 1;
    }
  }

  /** Everything is repaired. What was paused or switched off comes back within a moment. */
  end(): void {
    this.calm();
    for (const server of this.world.servers) server.start();
  }

  /** Nothing befalls anybody any more, and nobody is started. */
  calm(): void {
    this.ended = true;
    const { network, servers } = this.world;
    network.healAll();
    for (const { disk } of servers) disk.calm();
  }

  private restartLater(server: Server): void {
    this.later(RESTART_MS, () => server.start(), true);
  }

  /** Its disk has failed. Whatever supervises it starts it again; a person looks when that is in vain. */
  diskFailed(server: Server): void {
    const { disk } = server;
    const times = (this.failedStarts.get(disk) ?? 0) + 1;
    this.failedStarts.set(disk, disk.isBroken ? times : 0);
    if (disk.isBroken && times >= FAILED_STARTS) this.mend(server);
    else this.restartLater(server);
  }

  /** The disk has damaged records, or does not work: it is replaced by an empty one as soon as that is safe. */
  mend(server: Server, before = 0): void {
    this.later(
      OPERATOR_MS,
      () => {
        if (server.running) return;
        if (this.operator.isNeeded() || before === MENDS_MAX) {
          // Its copy is needed: somebody finds it elsewhere.
          this.world.tell(`the disk of ${server.id} is repaired`);
          server.disk.repair();
          server.start();
        } else if (this.wipe(server)) server.start();
        else this.mend(server, before + 1);
      },
      true,
    );
  }

  private readonly handlers: { readonly [T in FaultKind['type']]: Handler<T> } = {
    partition: (fault) => this.partition(fault),
    reset: ({ a, b }) => {
      const hosts = this.hosts();
      this.world.network.reset(nth(hosts, a), nth(hosts, b));
    },
    weather: ({ a, b, kind, forMs }) => {
      const { network } = this.world;
      const hosts = this.hosts();
      const [from, to] = [nth(hosts, a), nth(hosts, b)];
      network.setWeather(from, to, WEATHERS[kind]);
      network.setWeather(to, from, WEATHERS[kind]);
      this.later(forMs, () => {
        network.setWeather(from, to, null);
        network.setWeather(to, from, null);
      });
    },
    kill: ({ who, power, forMs }) => {
      const server = this.server(who);
      this.down(server, power);
      this.later(forMs, () => server.start(), true);
    },
    stop: ({ who, polite, forMs }) => {
      const server = this.server(who);
      server.stop(polite);
      this.later(forMs, () => server.start(), true);
    },
    'rolling-restart': ({ polite, everyMs }) => {
      for (const [i, server] of this.world.servers.entries()) {
        this.later(everyMs * i, () => {
          server.stop(polite);
          this.later(everyMs / 2, () => server.start(), true);
        });
      }
    },
    'orderly-restarts': ({ downMs }) => void this.orderly.restart(downMs),
    'grow-and-shrink': () => void this.orderly.growAndShrink(),
    add: () => this.operator.add(null),
    remove: ({ who }) => this.operator.remove(this.server(who)),
    replace: ({ who }) => this.operator.add(this.server(who)),
    'hasty-removal': ({ forMs }) => this.hastyRemoval(forMs),
    transfer: ({ who }) => this.operator.transfer(who === null ? null : this.server(who)),
    blackout: ({ forMs }) => {
      for (const server of this.world.servers) {
        this.down(server, true);
        this.later(forMs, () => server.start(), true);
      }
    },
    storm: ({ pick, everyMs, forMs }) => {
      const random = seededRandom(pick);
      for (let atMs = 0; atMs < forMs; atMs += everyMs) {
        this.later(atMs, () => {
          const server = this.server(
            random.next() < 0.3 ? 'leader' : Math.floor(random.next() * 100),
          );
          this.down(server, random.next() < 0.8);
          this.later(random.next() * 2 * everyMs, () => server.start(), true);
        });
      }
    },
    pause: ({ who, asleep, forMs }) => {
      const { machine } = this.server(who);
      if (machine === null) return;
      machine.pause(forMs * 1_000, asleep);
      this.world.network.pausedFor(machine, forMs * 1_000);
    },
    'pause-client': ({ who, asleep, forMs }) => {
      const { machine } = nth(this.world.clients, who);
      machine.pause(forMs * 1_000, asleep);
      this.world.network.pausedFor(machine, forMs * 1_000);
    },
    'kill-client': ({ who }) => this.world.replaceClient(nth(this.world.clients, who)),
    'close-client': ({ who }) => this.world.closeClient(nth(this.world.clients, who)),
    'clock-jump': ({ machine, ms }) => nth(this.machines(), machine)?.jump(ms),
    'look-again': (fault) => this.lookAgain(fault),
    'slow-disk': ({ who, times, forMs }) => {
      const { disk } = this.server(who);
      disk.slowness = times;
      this.later(forMs, () => {
        disk.slowness = 1;
      });
    },
    'hanging-disk': ({ who, forMs }) => {
      this.server(who).disk.hangsUntil = this.world.loop.now + forMs * 1_000;
    },
    'failing-disk': ({ who, what, lasting }) => {
      this.server(who).disk.failures[what] += lasting ? Number.POSITIVE_INFINITY : 1;
    },
    'narrow-disk': ({ who, roomBytes, forMs }) => {
      const { disk } = this.server(who);
      disk.narrow(roomBytes);
      this.world.history.disksAreWide = false;
      this.later(forMs, () => disk.widen());
    },
    'full-disk': ({ who, forMs }) => {
      const { disk } = this.server(who);
      disk.full = true;
      this.later(forMs, () => {
        disk.full = false;
      });
    },
    damage: ({ who, restarts }) => {
      const server = this.server(who);
      // One damaged disk at a time can be mended from the others.
      if (!this.othersWhole(server)) return;
      if (restarts) this.down(server, false);
      server.disk.damage();
      if (restarts) this.restartLater(server);
    },
    'damage-tree': ({ who, restarts }) => {
      const server = this.server(who);
      if (!this.othersWhole(server)) return;
      if (restarts) this.down(server, false);
      server.disk.damageTree((key) => !restarts || READ_AT_START.has(tableOf(key)));
      if (restarts) this.restartLater(server);
    },
    wipe: ({ who, forMs }) => {
      const server = this.server(who);
      if (!this.othersWhole(server)) return;
      this.down(server, true);
      this.wipe(server);
      this.later(forMs, () => server.start(), true);
    },
    'worst-moment': ({ pick, forMs }) => this.worstMoment(pick, forMs),
    'fatal-election': ({ voters, afterMicros, backMs, forMs }) => {
      const leader = this.server('leader');
      this.fatalElection = { voters, afterMicros, backMs };
      this.down(leader, true);
      this.later(forMs, () => leader.start(), true);
    },
    'fatal-change': ({ voters, afterMicros, backMs }) => {
      this.fatalChange = { voters, afterMicros, backMs };
    },
    'broken-snapshot': (fault) => {
      this.brokenSnapshots.push(fault);
    },
    snapshot: ({ who }) => this.server(who).snapshot(),
  };

  private worstMoment(pick: number, forMs: number): void {
    const { network, servers } = this.world;
    const leader = this.server('leader');
    const followers = servers.filter(
      (server) => server !== leader && this.operator.isMember(server),
    );
    if (followers.length === 0) return;
    const lost = nth(followers, pick);
    const cuts = followers
      .filter((server) => server !== lost)
      .flatMap(({ id }) => [[leader.id, id] as const, [lost.id, id] as const]);
    for (const [from, to] of cuts) network.cut(from, to);
    this.later(300, () => {
      for (const [from, to] of cuts) network.heal(from, to);
      if (!this.othersWhole(lost)) return;
      this.down(lost, true);
      this.wipe(lost);
      lost.start();
      this.down(leader, true);
      this.later(forMs, () => leader.start(), true);
    });
  }

  private hastyRemoval(forMs: number): void {
    const { network, servers } = this.world;
    const leader = this.server('leader');
    const others = servers.filter(
      (server) => server !== leader && !server.retired && this.operator.isMember(server),
    );
    const behind = others.slice(0, Math.ceil(others.length / 2) - 1);
    const left = others.filter((server) => !behind.includes(server));
    const cuts = [leader, ...behind].flatMap(({ id }) =>
      left.flatMap((other) => [[id, other.id] as const, [other.id, id] as const]),
    );
    for (const [from, to] of cuts) network.cut(from, to);
    for (const server of left) this.operator.remove(server);
    this.later(forMs, () => {
      for (const [from, to] of cuts) network.heal(from, to);
    });
  }

  private lookAgain(fault: Extract<FaultKind, { type: 'look-again' }>): void {
    const { clients, network } = this.world;
    const keepers = clients.filter(({ keeps }) => keeps);
    if (keepers.length === 0) return;
    const [keeper, changer] = [nth(keepers, fault.keeper), nth(clients, fault.changer)];
    if (keeper === changer) return;
    void this.world.programs.lookAgain(keeper, changer, () => {
      if (this.ended) return;
      if (fault.asleep) {
        keeper.machine.pause(fault.forMs * 1_000, true);
        network.pausedFor(keeper.machine, fault.forMs * 1_000);
        return;
      }
      const { id } = this.server('leader');
      network.cut(keeper.name, id);
      network.cut(id, keeper.name);
      this.later(fault.forMs, () => {
        network.heal(keeper.name, id);
        network.heal(id, keeper.name);
      });
    });
  }

  private partition(fault: Extract<FaultKind, { type: 'partition' }>): void {
    const { network } = this.world;
    const random = seededRandom(fault.pick);
    const hosts = this.hosts();
    const cuts: [string, string][] = [];
    const leader = this.server('leader').id;
    for (const [from, to] of apart(fault.shape, hosts, leader, random)) {
      const directions: [string, string][] = [
        [from, to],
        [to, from],
      ];
      if (fault.oneWay) directions.splice(fault.pick % 2, 1);
      cuts.push(...directions);
    }
    for (const [from, to] of cuts) network.cut(from, to);
    this.later(fault.forMs, () => {
      for (const [from, to] of cuts) network.heal(from, to);
    });
  }

  private server(who: Who): Server {
    const servers = this.world.servers.filter(({ retired }) => !retired);
    if (who !== 'leader') return nth(servers, who);
    const leaders = servers.filter((server) => server.status?.role === 'leader');
    leaders.sort((a, b) => (b.status?.term ?? 0) - (a.status?.term ?? 0));
    return leaders[0] ?? nth(servers, 0);
  }

  private machines(): (Machine | null)[] {
    const { servers, clients } = this.world;
    return [...servers, ...clients].map(({ machine }) => machine);
  }

  private hosts(): string[] {
    const { servers, clients } = this.world;
    return [...servers.map((server) => server.id), ...clients.map((client) => client.name)];
  }

  private down(server: Server, power: boolean): void {
    server.kill(power);
  }

  /** False: it is not safe now, since others have not caught up after the same. */
  private wipe(server: Server): boolean {
    if (!this.othersWhole(server)) return false;
    this.world.tell(`the disk of ${server.id} is replaced`);
    server.disk.wipe();
    return true;
  }

  private othersWhole(server: Server): boolean {
    const { servers, reference } = this.world;
    if (reference.index < 3 || !this.operator.hasSpareDisk()) return false;
    return servers.every(
      (other) => other === server || isWhole(other) || !this.operator.isMember(other),
    );
  }

  /** `always`: also after the end of all faults. */
  private later(ms: number, action: () => void, always = false): void {
    this.world.loop.after(ms * 1_000, 'fault ends', () => {
      if (!this.world.isDoomed && (always || !this.ended)) action();
    });
  }
}
