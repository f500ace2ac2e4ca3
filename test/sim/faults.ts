import { type Random, randomBetween } from '../../src/base/random.js';

/** What is done to the world, and when. Who is meant is a number, so that a plan is plain data. */
export type Fault = { readonly atMs: number } & FaultKind;

export type FaultKind =
  /** Machines on one side hear nothing of those on the other. */
  | {
      readonly type: 'partition';
      readonly shape: 'halves' | 'alone' | 'leader-alone' | 'ring' | 'link' | 'random';
      readonly oneWay: boolean;
      readonly pick: number;
      readonly forMs: number;
    }
  | { readonly type: 'reset'; readonly a: number; readonly b: number }
  | {
      readonly type: 'weather';
      readonly a: number;
      readonly b: number;
      readonly kind: 'slow' | 'lossy' | 'wild' | 'narrow';
      readonly forMs: number;
    }
  | {
      readonly type: 'kill';
      readonly who: Who;
      readonly power: boolean;
      readonly forMs: number;
    }
  | { readonly type: 'stop'; readonly who: Who; readonly polite: boolean; readonly forMs: number }
  | { readonly type: 'rolling-restart'; readonly polite: boolean; readonly everyMs: number }
  /** All nodes, one by one, each well again before the next. */
  | { readonly type: 'orderly-restarts'; readonly downMs: number }
  /** A single node becomes three, five, three, and one again. */
  | { readonly type: 'grow-and-shrink' }
  /** The members change. */
  | { readonly type: 'add' }
  | { readonly type: 'remove'; readonly who: Who }
  | { readonly type: 'replace'; readonly who: Who }
  /** The leader is cut off with a minority, and all others are to be removed at once. */
  | { readonly type: 'hasty-removal'; readonly forMs: number }
  /** Leadership goes to this one; null: to the best. */
  | { readonly type: 'transfer'; readonly who: number | null }
  | { readonly type: 'blackout'; readonly forMs: number }
  /** Nodes go off and on again, one after the other, faster than elections. */
  | {
      readonly type: 'storm';
      readonly pick: number;
      readonly everyMs: number;
      readonly forMs: number;
    }
  | {
      readonly type: 'pause';
      readonly who: Who;
      readonly asleep: boolean;
      readonly forMs: number;
    }
  | {
      readonly type: 'pause-client';
      readonly who: number;
      readonly asleep: boolean;
      readonly forMs: number;
    }
  | { readonly type: 'kill-client'; readonly who: number }
  /** It is unmounted: it ends its session, whatever its programs are about. */
  | { readonly type: 'close-client'; readonly who: number }
  /** The wall clock of any machine, by its number. */
  | { readonly type: 'clock-jump'; readonly machine: number; readonly ms: number }
  /**
   * A client that keeps a name hears nothing from the leader any more, or its machine sleeps. Another one
   * changes the name, and as soon as that is done the first one looks again.
   */
  | {
      readonly type: 'look-again';
      readonly keeper: number;
      readonly changer: number;
      readonly asleep: boolean;
      readonly forMs: number;
    }
  | {
      readonly type: 'slow-disk';
      readonly who: Who;
      readonly times: number;
      readonly forMs: number;
    }
  | { readonly type: 'hanging-disk'; readonly who: Who; readonly forMs: number }
  /** One access fails, or from now on all of its kind. */
  | {
      readonly type: 'failing-disk';
      readonly who: Who;
      readonly what: 'read' | 'write';
      readonly lasting: boolean;
    }
  /** It is nearly full: so much may still be written before nodes are to take nothing more. */
  | {
      readonly type: 'narrow-disk';
      readonly who: Who;
      readonly roomBytes: number;
      readonly forMs: number;
    }
  | { readonly type: 'full-disk'; readonly who: Who; readonly forMs: number }
  /** `restarts`: it is killed at once, and meets the damage when it starts. */
  | { readonly type: 'damage'; readonly who: Who; readonly restarts: boolean }
  /** One bit of one record of the tree flips; with `restarts` of one that is read by who starts. */
  | { readonly type: 'damage-tree'; readonly who: Who; readonly restarts: boolean }
  | { readonly type: 'wipe'; readonly who: Who; readonly forMs: number }
  /**
   * One follower falls behind, another one loses its disk, and then the leader dies: whoever is left
   * must not decide without it.
   */
  | { readonly type: 'worst-moment'; readonly pick: number; readonly forMs: number }
  /** The leader loses its power, and so do those who vote first for another one, but they are back at once. */
  | {
      readonly type: 'fatal-election';
      readonly voters: number;
      /** From a vote on its voter's disk to the end of that voter. */
      readonly afterMicros: number;
      readonly backMs: number;
      readonly forMs: number;
    }
  /** Who has the next joint configuration on disk first loses its power, and is back soon. */
  | {
      readonly type: 'fatal-change';
      readonly voters: number;
      readonly afterMicros: number;
      readonly backMs: number;
    }
  /**
   * The next stream of a snapshot breaks: one of the two dies, or does not reach the other. Or it has begun
   * well, and goes on over another connection.
   */
  | {
      readonly type: 'broken-snapshot';
      readonly where: 'sender' | 'receiver' | 'between' | 'connection';
      readonly afterMicros: number;
      readonly forMs: number;
    }
  | { readonly type: 'snapshot'; readonly who: Who };

/** A node by number, or whoever leads by then. */
export type Who = number | 'leader';

type FaultType = FaultKind['type'];

/** How often each happens, in relation to the others. */
const WEIGHTS: Readonly<Record<FaultType, number>> = {
  partition: 10,
  reset: 6,
  weather: 6,
  kill: 10,
  stop: 3,
  'rolling-restart': 1,
  // Only alone: see Plan.isOrderly.
  'orderly-restarts': 0,
  'grow-and-shrink': 0,
  add: 4,
  remove: 3,
  replace: 2,
  'hasty-removal': 2,
  transfer: 4,
  blackout: 1,
  storm: 2,
  pause: 6,
  'pause-client': 4,
  'kill-client': 2,
  'close-client': 2,
  'clock-jump': 3,
  'look-again': 5,
  'slow-disk': 3,
  'hanging-disk': 3,
  'failing-disk': 3,
  'full-disk': 2,
  'narrow-disk': 2,
  damage: 4,
  'damage-tree': 4,
  wipe: 2,
  'worst-moment': 2,
  // Only together with others of its kind: see ELECTION_WORLDS.
  'fatal-election': 0,
  'fatal-change': 4,
  'broken-snapshot': 6,
  snapshot: 6,
};

const TYPES = (Object.keys(WEIGHTS) as FaultType[]).filter((type) => WEIGHTS[type] > 0);

/** Two who stand in one term, and somebody who dies between them, meet in one election of many. */
const ELECTION_WORLDS = 0.1;
const ELECTION_EVERY_MS = 2_500;

export interface Plan {
  readonly faults: readonly Fault[];
  /**
   * From then on nothing changes any more: some nodes do not reach some others, but a majority could
   * work together, and whoever leads can stay. null: in this world everything may happen.
   */
  readonly steadyFromMs: number | null;
  /** What happens is done in good order, in good weather, and no command waits for long. */
  readonly isOrderly: boolean;
}

const ORDERLY_WORLDS = 0.03;
/** Clients have sessions by then, and have worked for a while. */
const ORDERLY_FROM_MS = 6_500;

/** A world that is only partitioned in part needs so long to find its leader. */
const SETTLING_MS = 3_000;

/**
 * The faults of one world. Each world has only some kinds of them, so that rare ones also come
 * alone and often; a few worlds have none at all.
 */
export function planFaults(random: Random, untilMs: number): Plan {
  const below = (count: number) => randomBetween(random, 0, count);
  const chance = (rate: number) => random.next() < rate;
  if (chance(0.03)) return { faults: [], steadyFromMs: SETTLING_MS, isOrderly: false };
  if (chance(ORDERLY_WORLDS)) {
    const type = chance(0.5) ? 'orderly-restarts' : 'grow-and-shrink';
    const fault = { atMs: ORDERLY_FROM_MS, ...MAKERS[type](below, chance) };
    return { faults: [fault], steadyFromMs: null, isOrderly: true };
  }
  if (chance(0.08)) {
    const atMs = below(3_000);
    const shape = chance(0.5) ? 'ring' : 'link';
    const fault = {
      type: 'partition',
      shape,
      oneWay: chance(0.3),
      pick: below(1_000_000),
    } as const;
    return {
      faults: [{ atMs, ...fault, forMs: untilMs }],
      steadyFromMs: atMs + SETTLING_MS,
      isOrderly: false,
    };
  }
  const every = chance(0.3);
  const types = TYPES.filter(() => every || chance(0.4));
  const everyMs = 150 + below(2_500);
  const faults: Fault[] = [];
  // The cluster is there before the first fault, more or less.
  for (let atMs = below(1_500); atMs < untilMs; atMs += below(2 * everyMs)) {
    const type = pickWeighted(random, types);
    if (type !== null) faults.push({ atMs, ...MAKERS[type](below, chance) });
  }
  if (chance(ELECTION_WORLDS)) {
    for (let atMs = 1_500; atMs < untilMs; atMs += 500 + below(ELECTION_EVERY_MS)) {
      faults.push({ atMs, ...MAKERS['fatal-election'](below, chance) });
    }
  }
  return { faults, steadyFromMs: null, isOrderly: false };
}

type Below = (count: number) => number;
type Chance = (rate: number) => boolean;

/** Mostly short ones; some last longer than any timeout. */
function forMs(below: Below, chance: Chance): number {
  return chance(0.7) ? 20 + below(800) : 500 + below(6_000);
}

function who(below: Below, chance: Chance): Who {
  return chance(0.4) ? 'leader' : below(100);
}

const SHAPES = ['halves', 'alone', 'leader-alone', 'leader-alone', 'ring', 'random'] as const;

const MAKERS: { readonly [T in FaultType]: (below: Below, chance: Chance) => FaultKind } = {
  partition: (below, chance) => ({
    type: 'partition',
    shape: SHAPES[below(SHAPES.length)] ?? 'halves',
    oneWay: chance(0.3),
    pick: below(1_000_000),
    forMs: forMs(below, chance),
  }),
  reset: (below) => ({ type: 'reset', a: below(100), b: below(100) }),
  weather: (below, chance) => ({
    type: 'weather',
    a: below(100),
    b: below(100),
    kind: (['slow', 'lossy', 'wild', 'narrow'] as const)[below(4)] ?? 'slow',
    forMs: 2 * forMs(below, chance),
  }),
  kill: (below, chance) => ({
    type: 'kill',
    who: who(below, chance),
    power: chance(0.5),
    forMs: forMs(below, chance),
  }),
  stop: (below, chance) => ({
    type: 'stop',
    who: who(below, chance),
    polite: chance(0.7),
    forMs: forMs(below, chance),
  }),
  'rolling-restart': (below, chance) => ({
    type: 'rolling-restart',
    polite: chance(0.7),
    everyMs: 100 + below(1_000),
  }),
  'orderly-restarts': (below) => ({ type: 'orderly-restarts', downMs: 20 + below(1_000) }),
  'grow-and-shrink': () => ({ type: 'grow-and-shrink' }),
  add: () => ({ type: 'add' }),
  remove: (below, chance) => ({ type: 'remove', who: who(below, chance) }),
  replace: (below, chance) => ({ type: 'replace', who: who(below, chance) }),
  'hasty-removal': (below, chance) => ({ type: 'hasty-removal', forMs: forMs(below, chance) }),
  transfer: (below, chance) => ({ type: 'transfer', who: chance(0.5) ? below(100) : null }),
  blackout: (below, chance) => ({ type: 'blackout', forMs: forMs(below, chance) }),
  storm: (below) => ({
    type: 'storm',
    pick: below(1_000_000),
    everyMs: 40 + below(300),
    forMs: 1_000 + below(4_000),
  }),
  pause: (below, chance) => ({
    type: 'pause',
    who: who(below, chance),
    asleep: chance(0.5),
    forMs: forMs(below, chance),
  }),
  'pause-client': (below, chance) => ({
    type: 'pause-client',
    who: below(100),
    asleep: chance(0.5),
    // A sleep may be too short to be noticed.
    forMs: chance(0.2) ? 1 + below(20) : forMs(below, chance),
  }),
  'kill-client': (below) => ({ type: 'kill-client', who: below(100) }),
  'close-client': (below) => ({ type: 'close-client', who: below(100) }),
  'clock-jump': (below, chance) => ({
    type: 'clock-jump',
    machine: below(1_000),
    // A small one need not be noticed by who holds a lease.
    ms: chance(0.3) ? below(40) - 20 : below(200_000) - 100_000,
  }),
  'look-again': (below, chance) => ({
    type: 'look-again',
    keeper: below(100),
    changer: below(100),
    asleep: chance(0.5),
    forMs: 210 + below(800),
  }),
  'slow-disk': (below, chance) => ({
    type: 'slow-disk',
    who: who(below, chance),
    times: 2 + below(100),
    forMs: forMs(below, chance),
  }),
  'hanging-disk': (below, chance) => ({
    type: 'hanging-disk',
    who: who(below, chance),
    forMs: chance(0.7) ? 200 + below(2_000) : 5_500 + below(3_000),
  }),
  'failing-disk': (below, chance) => ({
    type: 'failing-disk',
    who: who(below, chance),
    what: chance(0.7) ? 'write' : 'read',
    lasting: chance(0.3),
  }),
  'narrow-disk': (below, chance) => ({
    type: 'narrow-disk',
    who: who(below, chance),
    roomBytes: below(chance(0.5) ? 2_000 : 50_000),
    forMs: 1_000 + below(6_000),
  }),
  'full-disk': (below, chance) => ({
    type: 'full-disk',
    who: who(below, chance),
    forMs: forMs(below, chance),
  }),
  damage: (below, chance) => ({
    type: 'damage',
    who: who(below, chance),
    restarts: chance(0.5),
  }),
  'damage-tree': (below, chance) => ({
    type: 'damage-tree',
    who: who(below, chance),
    restarts: chance(0.5),
  }),
  wipe: (below, chance) => ({
    type: 'wipe',
    who: who(below, chance),
    forMs: forMs(below, chance),
  }),
  'worst-moment': (below, chance) => ({
    type: 'worst-moment',
    pick: below(1_000_000),
    forMs: forMs(below, chance),
  }),
  'fatal-election': (below, chance) => ({
    type: 'fatal-election',
    voters: 1 + below(2),
    afterMicros: chance(0.5) ? 0 : below(3_000),
    backMs: below(chance(0.5) ? 20 : 300),
    forMs: 500 + below(2_000),
  }),
  'fatal-change': (below, chance) => ({
    type: 'fatal-change',
    voters: 1 + below(3),
    afterMicros: chance(0.5) ? 0 : below(3_000),
    backMs: below(chance(0.5) ? 20 : 300),
  }),
  'broken-snapshot': (below, chance) => ({
    type: 'broken-snapshot',
    where: (['sender', 'receiver', 'between', 'connection'] as const)[below(4)] ?? 'between',
    afterMicros: below(3_000),
    forMs: forMs(below, chance),
  }),
  snapshot: (below, chance) => ({ type: 'snapshot', who: who(below, chance) }),
};

function pickWeighted(random: Random, types: readonly FaultType[]): FaultType | null {
  let rest = random.next() * types.reduce((sum, type) => sum + WEIGHTS[type], 0);
  for (const type of types) {
    rest -= WEIGHTS[type];
    if (rest < 0) return type;
  }
  return null;
}
