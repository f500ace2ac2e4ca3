import { useEffect, useRef, useState } from 'preact/hooks';
import type { SceneLine } from '../control/scenes/stage.js';
import type { Moment } from './history.js';
import type { Store } from './store.js';

/** What may be done to the chosen node and to all. */
export function Faults({ store, moments }: { store: Store; moments: readonly Moment[] }) {
  const moment = moments.find(({ document }) => document.id === store.selected);
  const does = (action: () => Promise<unknown>) => () => store.act(action);
  const { operations } = store;
  return (
    <section class="controls" aria-label="faults">
      <h2>Faults</h2>
      {moment === undefined ? (
        <p>Choose a node in the ring.</p>
      ) : (
        <NodeFaults store={store} moment={moment} moments={moments} />
      )}
      <p>
        <button type="button" onClick={does(() => operations.heal())}>
          heal all links
        </button>
        <button type="button" onClick={does(() => operations.repair())}>
          repair everything
        </button>
      </p>
    </section>
  );
}

function NodeFaults(props: { store: Store; moment: Moment; moments: readonly Moment[] }) {
  const { store, moment, moments } = props;
  const { id } = moment.document;
  const { operations } = store;
  const button = (label: string, action: () => Promise<unknown>) => (
    <button type="button" onClick={() => store.act(action)}>
      {label}
    </button>
  );
  if (!moment.up) return <p>{button(`recover ${id}`, () => operations.recover(id))}</p>;
  return (
    <p>
      {button(`crash ${id}`, () => operations.crash(id))}
      {button('elect', () => operations.elect(id))}
      {button('isolate', () => operations.isolate(id))}
      {button('fast', () => operations.slow(id, 0))}
      {button('normal: 0.5 s', () => operations.slow(id, 500))}
      {button('slow: 1 s', () => operations.slow(id, 1000))}
      {moments
        .filter(({ document }) => document.id !== id)
        .map(({ document }) =>
          button(`cut from ${document.id}`, () => operations.cut(id, document.id)),
        )}
    </p>
  );
}

const PACE_MS_DEFAULT = 1_500;

/** The scenes, and the one that plays. */
export function Scenes({ store }: { store: Store }) {
  const [paceMs, setPaceMs] = useState(PACE_MS_DEFAULT);
  const { director, directed } = store;
  if (director === null || directed === null) return null;
  const { play, scenes, nodes } = directed;
  const running = play?.state === 'playing' || play?.state === 'paused';
  const call =
    (name: string, params = {}) =>
    () =>
      store.act(() => director.call(name, params));
  return (
    <section class="scenes" aria-label="scenes">
      <h2>Scenes</h2>
      <p>
        {scenes.map(({ name, title, nodesMin, writeConcern }) => {
          const needs =
            nodes.length < nodesMin
              ? `needs ${nodesMin} nodes`
              : writeConcern !== null && writeConcern !== store.writeConcern
                ? `needs a cluster with --write-concern ${writeConcern}`
                : null;
          return (
            <button
              type="button"
              key={name}
              data-scene={name}
              disabled={running || needs !== null}
              title={needs ?? title}
              onClick={call('play', { scene: name, paceMs })}
            >
              {title}
            </button>
          );
        })}
      </p>
      <p>
        <label>
          pace{' '}
          <input
            type="range"
            min="0"
            max="5000"
            step="250"
            value={paceMs}
            onInput={(event) => setPaceMs(Number(event.currentTarget.value))}
          />{' '}
          {paceMs / 1000} s
        </label>
        {play?.state === 'playing' && button('pause', call('pause'))}
        {play?.state === 'paused' && button('go on', call('resume'))}
        {play?.state === 'paused' && button('one step', call('step'))}
        {running && button('stop', call('stop'))}
      </p>
      {play !== null && (
        <div class="play" data-play={play.scene} data-state={play.state}>
          <h3>
            {play.title} <small>{play.state}</small>
          </h3>
          {play.explanation.map((line) => (
            <p key={line}>{line}</p>
          ))}
          <Lines lines={play.lines} />
          {play.error !== null && <p class="problem">{play.error}</p>}
        </div>
      )}
    </section>
  );
}

/** The newest is in sight. */
function Lines({ lines }: { lines: readonly SceneLine[] }) {
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [lines.length]);
  return (
    <ol ref={list} aria-live="polite">
      {lines.map(({ kind, text }, i) => (
        <li key={i} class={kind}>
          {text}
        </li>
      ))}
    </ol>
  );
}

function button(label: string, onClick: () => void) {
  return (
    <button type="button" onClick={onClick}>
      {label}
    </button>
  );
}
