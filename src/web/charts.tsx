import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { NodeDocument } from '../control/document.js';
import type { Store } from './store.js';

const POINTS = 180;
const SAMPLE_MS = 1_000;
const HEIGHT = 84;

interface Chart {
  readonly title: string;
  readonly series: readonly (readonly [name: string, colour: string])[];
  values(leader: NodeDocument, all: readonly NodeDocument[]): readonly (number | null)[];
}

const CHARTS: readonly Chart[] = [
  {
    title: 'commits per second',
    series: [['commits/s', '#2f9e5b']],
    values: (leader) => [leader.rates.commitsPerSecond],
  },
  {
    title: 'commit latency, ms',
    series: [
      ['p50', '#3b82c4'],
      ['p99', '#d6409f'],
    ],
    values: ({ rates }) => [rates.commitP50Ms, rates.commitP99Ms],
  },
  {
    title: 'bytes to followers per second',
    series: [['B/s', '#d98f1f']],
    values: (leader) => [leader.rates.bytesPerSecond],
  },
  {
    title: 'waiting: proposals, unapplied, KiB to peers',
    series: [
      ['proposals', '#a77be0'],
      ['unapplied', '#c2482d'],
      ['KiB', '#3b82c4'],
    ],
    values: (leader, all) => [
      leader.queues.proposals,
      Math.max(...all.map(({ queues }) => queues.unapplied)),
      leader.queues.peers.reduce((sum, { bytes }) => sum + bytes, 0) / 1024,
    ],
  },
];

/** Figures of the leader over the last minutes. */
export function Charts({ store }: { store: Store }) {
  return (
    <section class="charts" aria-label="figures">
      {CHARTS.map((chart) => (
        <Sparkline key={chart.title} chart={chart} store={store} />
      ))}
    </section>
  );
}

function Sparkline({ chart, store }: { chart: Chart; store: Store }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const root = place.current;
    if (root === null) return;
    const times: number[] = [];
    const columns: (number | null)[][] = chart.series.map(() => []);
    const plot = new uPlot(optionsOf(chart, root.clientWidth), [times, ...columns], root);
    const timer = setInterval(() => {
      const { leader, documents } = store.cluster;
      times.push(Date.now() / 1000);
      const values = leader === null ? [] : chart.values(leader, documents);
      columns.forEach((column, i) => void column.push(values[i] ?? null));
      for (const column of [times, ...columns]) if (column.length > POINTS) column.shift();
      show();
    }, SAMPLE_MS);
    /** All up to the moment at which the page looks. */
    const show = () => {
      const agoMs = performance.now() - store.atMs;
      const end = times.findLastIndex((time) => time <= (Date.now() - agoMs) / 1000) + 1;
      root.dataset.points = String(end);
      plot.setData([times.slice(0, end), ...columns.map((column) => column.slice(0, end))]);
    };
    let lookingAtMs = store.lookingAtMs;
    const unsubscribe = store.subscribe(() => {
      if (store.lookingAtMs === lookingAtMs) return;
      lookingAtMs = store.lookingAtMs;
      show();
    });
    const resized = new ResizeObserver(() =>
      plot.setSize({ width: root.clientWidth, height: HEIGHT }),
    );
    resized.observe(root);
    return () => {
      clearInterval(timer);
      unsubscribe();
      resized.disconnect();
      plot.destroy();
    };
  }, [chart, store]);
  return (
    <figure>
      <figcaption>{chart.title}</figcaption>
      <div ref={place} />
    </figure>
  );
}

function optionsOf(chart: Chart, width: number): uPlot.Options {
  const ink = matchMedia('(prefers-color-scheme: dark)').matches ? '#a9b1ba' : '#57606a';
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(max ?? 0, 1) * 1.1] } },
    axes: [
      { show: false },
      { stroke: ink, size: 46, font: '10px system-ui', grid: { show: false } },
    ],
    series: [
      {},
      ...chart.series.map(([label, stroke]) => ({
        label,
        stroke,
        width: 1.5,
        points: { show: false },
      })),
    ],
  };
}
