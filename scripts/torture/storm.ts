import { type Random, randomBetween } from '../../src/base/random.js';
import { Bag } from './choice.js';
import { FAULTS, type Fault } from './faults.js';
import type { Tally } from './tally.js';
import { pause } from './waiting.js';
import type { World } from './world.js';

/** How long a fault lasts, and how long the world is left in peace afterwards. */
const LASTS_MS = [300, 6_000] as const;
const PEACE_MS = [200, 3_000] as const;

type Kind = readonly [name: string, fault: Fault];

/** What befalls one world after another; what has come in one comes later in the next. */
export class Storm {
  private readonly kinds: readonly Kind[];
  private bag: Bag<Kind> | null = null;

  constructor(
    private readonly random: Random,
    private readonly tally: Tally,
    wanted: RegExp,
  ) {
    this.kinds = Object.entries(FAULTS).filter(([name]) => wanted.test(name));
  }

  /** Lets things go wrong, one after another, until `endMs`. */
  async torment(world: World, endMs: number, report: (line: string) => void): Promise<void> {
    const { random, tally } = this;
    const bag = this.bagFor(world, report);
    while (performance.now() < endMs) {
      const drawn = bag.draw();
      if (drawn !== null) {
        const [name, { destructive = false, begin }] = drawn;
        report(name);
        if (destructive) await world.recovered();
        const mend = await begin(world, random);
        tally.came(name);
        await pause(between(random, LASTS_MS));
        await mend();
        // Who lost data must have it again before anybody else may lose some.
        if (destructive) await world.recovered();
      }
      await pause(between(random, PEACE_MS));
    }
  }

  /** Kinds that the machine allows and that never came. */
  get missing(): readonly string[] {
    const { faults, impossible } = this.tally;
    return this.kinds
      .map(([name]) => name)
      .filter((name) => !faults.has(name) && !impossible.has(name));
  }

  /** All disks are alike, in all worlds. */
  private bagFor(world: World, report: (line: string) => void): Bag<Kind> {
    if (this.bag !== null) return this.bag;
    const isPossible = ([, { disks }]: Kind) =>
      world.nodes.every(({ disk }) => disks === undefined || disks.includes(disk.kind));
    for (const kind of this.kinds) if (!isPossible(kind)) this.tally.impossible.add(kind[0]);
    if (this.tally.impossible.size > 0)
      report(
        `(no loop mounts here, so there will not be: ${[...this.tally.impossible].join(', ')})`,
      );
    const possible = this.kinds.filter(isPossible);
    this.bag = new Bag(
      possible.map((kind) => [kind, kind[1].copies]),
      this.random,
    );
    return this.bag;
  }
}

function between(random: Random, [from, to]: readonly [number, number]): number {
  return randomBetween(random, from, to);
}
