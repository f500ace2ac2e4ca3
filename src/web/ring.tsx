import { useEffect, useRef } from 'preact/hooks';
import type { Moment } from './history.js';
import { paint } from './paint.js';
import type { Store } from './store.js';

export const SIZE = 480;
export const NODE_RADIUS = 42;
const RING_RADIUS = 165;
/** Those who want no motion see a new picture this often. */
const STILL_MS = 500;

export interface Place {
  readonly x: number;
  readonly y: number;
}

export function placesOf(moments: readonly Moment[]): ReadonlyMap<string, Place> {
  return new Map(
    moments.map(({ document }, i) => {
      const angle = (2 * Math.PI * i) / moments.length - Math.PI / 2;
      const x = SIZE / 2 + RING_RADIUS * Math.cos(angle);
      return [document.id, { x, y: SIZE / 2 + RING_RADIUS * Math.sin(angle) }];
    }),
  );
}

/** The nodes in a ring; messages and timers are painted over it, frame by frame. */
export function Ring({ store, moments }: { store: Store; moments: readonly Moment[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const stillness = matchMedia('(prefers-reduced-motion: reduce)');
    let frame = 0;
    let paintedMs = Number.NEGATIVE_INFINITY;
    const next = (nowMs: number) => {
      frame = requestAnimationFrame(next);
      const still = stillness.matches;
      if (canvas.current === null || (still && nowMs - paintedMs < STILL_MS)) return;
      paintedMs = nowMs;
      paint(canvas.current, store, still);
    };
    frame = requestAnimationFrame(next);
    return () => cancelAnimationFrame(frame);
  }, [store]);
  const places = placesOf(moments);
  return (
    <div class="ring">
      <svg viewBox={`0 0 ${SIZE} ${SIZE}`}>
        <title>the nodes and the links between them</title>
        {linksOf(moments).map(([a, b, cut]) => {
          const [from, to] = [places.get(a), places.get(b)];
          if (from === undefined || to === undefined) return null;
          const kind = cut ? 'link cut' : 'link';
          return (
            <line key={`${a} ${b}`} class={kind} x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
          );
        })}
        {moments.map((moment) => (
          <NodeMark
            key={moment.document.id}
            moment={moment}
            place={places.get(moment.document.id) ?? { x: 0, y: 0 }}
            store={store}
          />
        ))}
      </svg>
      <canvas ref={canvas} />
    </div>
  );
}

function linksOf(moments: readonly Moment[]): (readonly [string, string, boolean])[] {
  return moments.flatMap((a, i) =>
    moments.slice(i + 1).map((b) => {
      const [x, y] = [a.document, b.document];
      const cut = x.faults.cutFrom.includes(y.id) || y.faults.cutFrom.includes(x.id);
      return [x.id, y.id, cut] as const;
    }),
  );
}

function NodeMark(props: { moment: Moment; place: Place; store: Store }) {
  const { moment, place, store } = props;
  const { document: d, up } = moment;
  const role = up ? d.role : 'dead';
  const select = () => {
    store.selected = store.selected === d.id ? null : d.id;
    store.changed();
  };
  const chosen = store.selected === d.id;
  return (
    // biome-ignore lint/a11y/useSemanticElements: an SVG has no button
    <g
      class={`node ${role} ${chosen ? 'chosen' : ''}`}
      data-node={d.id}
      data-role={role}
      data-term={d.term}
      role="button"
      tabindex={0}
      aria-pressed={chosen}
      aria-label={`${d.id}, ${role}, term ${d.term}`}
      transform={`translate(${place.x} ${place.y})`}
      onClick={select}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        // A space would scroll, too.
        event.preventDefault();
        select();
      }}
    >
      {chosen && <circle class="choice" r={NODE_RADIUS + 11} />}
      <circle r={NODE_RADIUS} style={{ stroke: termColour(d.term) }} />
      <text class="name" y="-10">
        {d.id}
      </text>
      <text class="role" y="6">
        {role}
      </text>
      <text y="21">term {d.term}</text>
      {up && d.vote !== null && (
        <text class="small" y={NODE_RADIUS + 20}>
          voted {d.vote}
        </text>
      )}
      {up && d.faults.slowMs > 0 && (
        <text class="small warn" y={-NODE_RADIUS - 13}>
          +{d.faults.slowMs} ms
        </text>
      )}
    </g>
  );
}

/** Neighbouring terms have colours that are far apart, all of them as bright: seen on white and on black. */
export function termColour(term: number): string {
  return `oklch(0.62 0.15 ${(term * 137) % 360})`;
}
