import { type Random, randomBetween } from '../../src/base/random.js';

/** What is done to the world, and when. Who is meant is a number, so that a plan is plain data. */
export type Fault = { readonly atMs: number } & FaultKind;

export type FaultKind =
  /** Machines on one side hear nothing of those on the other. */
  | {
      readonly type: 'partition';
      readonly shape: 'halves' | 'alone' | 'leader-alone' | 'ring' | 'random';
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
  | { readonly type: 'stop'; readonly who: Who; readonly forMs: number }
  | { readonly type: 'rolling-restart'; readonly everyMs: number }
  | { readonly type: 'blackout'; readonly forMs: number }
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
  | { readonly type: 'clock-jump'; readonly who: Who; readonly ms: number }
  | {
      readonly type: 'slow-disk';
      readonly who: Who;
      readonly times: number;
      readonly forMs: number;
    }
  | { readonly type: 'hanging-disk'; readonly who: Who; readonly forMs: number }
  | { readonly type: 'failing-disk'; readonly who: Who }
  | { readonly type: 'full-disk'; readonly who: Who; readonly forMs: number }
  | { readonly type: 'damage'; readonly who: Who }
  | { readonly type: 'wipe'; readonly who: Who; readonly forMs: number }
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
  blackout: 1,
  pause: 6,
  'pause-client': 4,
  'kill-client': 2,
  'clock-jump': 3,
  'slow-disk': 3,
  'hanging-disk': 3,
  'failing-disk': 3,
  'full-disk': 2,
  damage: 2,
  wipe: 2,
  snapshot: 6,
};

const TYPES = Object.keys(WEIGHTS) as FaultType[];

/**
 * The faults of one world. Each world has only some kinds of them, so that rare ones also come
 * alone and often; a few worlds have none at all.
 */
export function planFaults(random: Random, untilMs: number): readonly Fault[] {
  const below = (count: number) => randomBetween(random, 0, count);
  const chance = (rate: number) => random.next() < rate;
  if (chance(0.03)) return [];
  const every = chance(0.3);
  const types = TYPES.filter(() => every || chance(0.4));
  const everyMs = 100 + below(1_500);
  const faults: Fault[] = [];
  // The cluster is there before the first fault, more or less.
  for (let atMs = below(1_500); atMs < untilMs; atMs += below(2 * everyMs)) {
    const type = pickWeighted(random, types);
    if (type !== null) faults.push({ atMs, ...MAKERS[type](below, chance) });
  }
  return faults;
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

const MAKERS: { readonly [T in FaultType]: (below: Below, chance: Chance) => FaultKind } = {
  partition: (below, chance) => ({
    type: 'partition',
    shape: (['halves', 'alone', 'leader-alone', 'ring', 'random'] as const)[below(5)] ?? 'halves',
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
    forMs: forMs(below, chance),
  }),
  'rolling-restart': (below) => ({ type: 'rolling-restart', everyMs: 100 + below(1_000) }),
  blackout: (below, chance) => ({ type: 'blackout', forMs: forMs(below, chance) }),
  pause: (below, chance) => ({
    type: 'pause',
    who: who(below, chance),
    asleep: chance(0.3),
    forMs: forMs(below, chance),
  }),
  'pause-client': (below, chance) => ({
    type: 'pause-client',
    who: below(100),
    asleep: chance(0.3),
    forMs: forMs(below, chance),
  }),
  'kill-client': (below) => ({ type: 'kill-client', who: below(100) }),
  'clock-jump': (below, chance) => ({
    type: 'clock-jump',
    who: who(below, chance),
    ms: below(200_000) - 100_000,
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
    forMs: 1_000 + below(9_000),
  }),
  'failing-disk': (below, chance) => ({ type: 'failing-disk', who: who(below, chance) }),
  'full-disk': (below, chance) => ({
    type: 'full-disk',
    who: who(below, chance),
    forMs: forMs(below, chance),
  }),
  damage: (below, chance) => ({ type: 'damage', who: who(below, chance) }),
  wipe: (below, chance) => ({
    type: 'wipe',
    who: who(below, chance),
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
