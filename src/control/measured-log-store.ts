import type { LogStore } from '../storage/log-store.js';
import { DurationHistogram } from './histogram.js';

/** A log store that does what `inner` does and tells how long its durable writes take. */
export function measureLogStore(inner: LogStore): {
  readonly store: LogStore;
  readonly syncs: DurationHistogram;
} {
  const syncs = new DurationHistogram();
  const store: LogStore = {
    open: () => inner.open(),
    async append(saves) {
      const startMs = performance.now();
      await inner.append(saves);
      syncs.observe((performance.now() - startMs) / 1000);
    },
    read: (first, last, bytesMax) => inner.read(first, last, bytesMax),
    compact: (mark) => inner.compact(mark),
    sweep: () => inner.sweep(),
    prepareReset: (mark) => inner.prepareReset(mark),
    reset: (mark) => inner.reset(mark),
    close: () => inner.close(),
  };
  return { store, syncs };
}
