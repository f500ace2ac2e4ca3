import { assert } from '../base/assert.js';
import type {
  Configuration,
  ConfigurationAt,
  ConfigurationCodec,
  Entry,
  RestoredState,
} from './types.js';

/**
 * The configuration in force, and those that come back when entries that are not committed are
 * replaced: the last committed one and all behind it.
 *
 * In force is the newest in the log, committed or not (thesis §4.1), and not the newest applied one:
 * then a leader counts a majority of the configuration that its log, and so the log of whoever
 * follows it, names, whatever was applied by whom; and a change that is not committed survives a
 * restart, or does not, with its entry.
 */
export class Configurations {
  /** Ascending; the first one is committed, all others are not known to be. Never empty. */
  private items: ConfigurationAt[];

  constructor(
    restored: RestoredState,
    private readonly codec: ConfigurationCodec,
  ) {
    this.items = [restored.configuration];
    for (const entry of restored.configurationEntries) {
      if (entry.index > restored.appliedIndex) this.append(entry);
    }
  }

  get latest(): ConfigurationAt {
    return this.at(this.items.length - 1);
  }

  /** The newest that is known to be committed. */
  get committed(): ConfigurationAt {
    return this.at(0);
  }

  /** All that are or may become committed. */
  get possible(): readonly Configuration[] {
    return this.items.map(({ configuration }) => configuration);
  }

  /** The entry is now in the log. */
  append(entry: Entry): void {
    assert(entry.index > this.latest.index, 'configurations come in order');
    const configuration = this.codec.decode(entry.data);
    assert(configuration !== null, 'an entry of the log that says the configuration holds one');
    this.items.push({ index: entry.index, configuration });
  }

  /** The entries at and behind `index` are no longer in the log. */
  truncate(index: number): void {
    this.items = this.items.filter((item) => item.index < index);
    assert(this.items.length > 0, 'a committed configuration is never replaced');
  }

  /** Everything up to `index` is committed. */
  commit(index: number): void {
    while ((this.items[1]?.index ?? Number.POSITIVE_INFINITY) <= index) this.items.shift();
  }

  /** The log starts again behind a snapshot, which says the configuration. */
  reset(configuration: ConfigurationAt): void {
    this.items = [configuration];
  }

  private at(position: number): ConfigurationAt {
    const item = this.items[position];
    assert(item !== undefined, 'there is always a configuration');
    return item;
  }
}
