import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Random, randomBetween } from '../../src/base/random.js';
import { blockValue, fill, withFile } from './blocks.js';
import { BLOCK_BYTES, type Recorder, type Stretch } from './history.js';
import { runsOf } from './large.js';

const FILES = 2;
/**
 * Large data is written and read in so many blocks, or a multiple of that: no whole number of chunks,
 * so that at either end one is written in part.
 */
const GRAIN_BLOCKS = 15;
/** A large file; a little less than 8 MiB. */
const GRAINS = 136;
/** At least so much of it at a time: a little more than 1 MiB. */
const GRAINS_MIN = 18;
const WHOLE: Stretch = { first: 0, count: GRAINS * GRAIN_BLOCKS };
/** What one call writes or reads. */
const CALL_BYTES = 1_048_576;

/** What the program `name` does to large files, which all programs share, on its mount. */
export class LargeWork {
  constructor(
    private readonly recorder: Recorder,
    private readonly mount: string,
    private readonly name: string,
  ) {}

  prepare(): void {
    for (let file = 0; file < FILES; file++) {
      closeSync(openSync(join(this.mount, `large${file}`), 'w'));
      if (this.write(file, WHOLE, 0) === null) throw new Error('refused in peace');
    }
  }

  readAll(): void {
    for (let file = 0; file < FILES; file++) this.read(file, WHOLE);
  }

  step(random: Random, generation: number): string | null {
    const file = randomBetween(random, 0, FILES);
    const grains = randomBetween(random, GRAINS_MIN, GRAINS + 1);
    const first = randomBetween(random, 0, GRAINS + 1 - grains) * GRAIN_BLOCKS;
    const stretch = { first, count: grains * GRAIN_BLOCKS };
    return randomBetween(random, 0, 2) === 0
      ? this.write(file, stretch, generation)
      : this.read(file, stretch);
  }

  private write(file: number, { first, count }: Stretch, generation: number): string | null {
    const object = `large${file}`;
    const value = `${this.name}:${generation}`;
    return this.recorder.run(
      { type: 'write-blocks', object, value, first, count },
      () =>
        withFile(join(this.mount, object), 'r+', (fd) => {
          const blocks = Array.from({ length: count }, (_, i) =>
            fill(`${object}:${first + i}:${value}`, BLOCK_BYTES),
          );
          const data = Buffer.concat(blocks);
          for (let done = 0; done < data.length; ) {
            const bytes = Math.min(CALL_BYTES, data.length - done);
            done += writeSync(fd, data, done, bytes, first * BLOCK_BYTES + done);
          }
          fsyncSync(fd);
          return 'ok';
        }),
      () => false,
    );
  }

  /** The answer: writers and generations, block by block, each of which must be the one it says it is. */
  private read(file: number, { first, count }: Stretch): string | null {
    const object = `large${file}`;
    return this.recorder.run(
      { type: 'read-blocks', object, first, count },
      () =>
        withFile(join(this.mount, object), 'r', (fd) => {
          const data = Buffer.alloc(count * BLOCK_BYTES);
          let done = 0;
          for (let read = -1; read !== 0 && done < data.length; done += read) {
            const bytes = Math.min(CALL_BYTES, data.length - done);
            read = readSync(fd, data, done, bytes, first * BLOCK_BYTES + done);
          }
          const values = Array.from({ length: count }, (_, i) => {
            const block = data.subarray(i * BLOCK_BYTES, Math.min(done, (i + 1) * BLOCK_BYTES));
            return valueAt(`${object}:${first + i}:`, block);
          });
          return runsOf(values);
        }),
      () => false,
    );
  }
}

/** What a block says of its writer; of one that is not what it should be, what it says, in letters. */
function valueAt(place: string, block: Buffer): string {
  const found = blockValue(block);
  if (found.startsWith(place)) return found.slice(place.length);
  return `at ${place} ${found}`.replaceAll(/[^\w:]/g, '_');
}
