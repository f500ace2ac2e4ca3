import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Role } from '../raft/types.js';
import type { DurationHistogram } from './histogram.js';
import type { Answer } from './server.js';

/**
 * Metrics that are read from what is counted anyway when somebody asks, so that nobody pays for
 * them in between. Names and units as https://prometheus.io/docs/practices/naming/ asks for.
 */
export class Metrics {
  private readonly registry = new Registry();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  gauge(name: string, help: string, read: () => number | Labelled): void {
    const labelNames = [...LABELS];
    const registers = [this.registry];
    const collect = function (this: Gauge<Label>) {
      this.reset();
      for (const [labels, value] of pairs(read())) this.set(labels, value);
    };
    new Gauge<Label>({ name, help, labelNames, registers, collect });
  }

  counter(name: string, help: string, read: () => number | Labelled): void {
    const labelNames = [...LABELS];
    const registers = [this.registry];
    const collect = function (this: Counter<Label>) {
      this.reset();
      for (const [labels, value] of pairs(read())) this.inc(labels, value);
    };
    new Counter<Label>({ name, help, labelNames, registers, collect });
  }

  durations(name: string, help: string, read: () => DurationsByLabels): void {
    new CountedHistogram(name, help, this.registry, read);
  }

  async answer(): Promise<Answer> {
    return { type: this.registry.contentType, body: await this.registry.metrics() };
  }
}

const LABELS = [
  'role',
  'type',
  'peer',
  'store',
  'property',
  'operation',
  'version',
  'node',
] as const;
type Label = (typeof LABELS)[number];
type LabelValues = Partial<Record<Label, string>>;

/** Values with their labels. */
export type Labelled = readonly (readonly [LabelValues, number])[];
export type DurationsByLabels = readonly (readonly [LabelValues, DurationHistogram])[];

function pairs(value: number | Labelled): Labelled {
  return typeof value === 'number' ? [[{}, value]] : value;
}

export const ROLES: readonly Role[] = ['follower', 'pre-candidate', 'candidate', 'leader'];

/** A histogram whose counts are kept by somebody else. */
class CountedHistogram extends Histogram<string> {
  constructor(
    private readonly metricName: string,
    private readonly helpText: string,
    registry: Registry,
    private readonly read: () => DurationsByLabels,
  ) {
    super({ name: metricName, help: helpText, labelNames: [...LABELS], registers: [registry] });
  }

  override async get() {
    const values = this.read().flatMap(([labels, durations]) => this.lines(labels, durations));
    return {
      name: this.metricName,
      help: this.helpText,
      type: 'histogram' as const,
      values,
      aggregator: 'sum' as const,
      // The declared type has a label record per metric; the registry only reads the fields above.
    } as unknown as Awaited<ReturnType<Histogram<string>['get']>>;
  }

  /** What the registry calls for its text, undocumented; without it ours would not be asked. */
  getForPromString() {
    return this.get();
  }

  private lines(labels: LabelValues, durations: DurationHistogram) {
    const { boundsSeconds, counts, count, sumSeconds } = durations;
    const metricName = `${this.metricName}_bucket`;
    let upTo = 0;
    const buckets = boundsSeconds.map((le, i) => {
      upTo += counts[i] ?? 0;
      return { metricName, labels: { ...labels, le: String(le) }, value: upTo };
    });
    return [
      ...buckets,
      { metricName, labels: { ...labels, le: '+Inf' }, value: count },
      { metricName: `${this.metricName}_sum`, labels, value: sumSeconds },
      { metricName: `${this.metricName}_count`, labels, value: count },
    ];
  }
}
