import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Charts } from './charts.js';
import { Faults, Scenes } from './controls.js';
import { HISTORY_MS, type Moment } from './history.js';
import { Logs } from './logs.js';
import { NodeFigures } from './node-figures.js';
import { Ring } from './ring.js';
import { openStore, type Store } from './store.js';

/** Words of the last events that are shown. */
const WORDS_SHOWN = 30;
/** The page is drawn anew this often at most; messages and timers are painted in between. */
const DRAW_MS = 100;

function Page({ store }: { store: Store }) {
  useDrawing(store);
  const moments = store.history.at(store.atMs);
  const leader = moments
    .filter(({ document, up }) => up && document.role === 'leader')
    .sort((a, b) => b.document.term - a.document.term)[0]?.document;
  const cluster = moments[0]?.document.cluster ?? '';
  return (
    <>
      <header>
        <h1>{cluster}</h1>
        <p aria-live="polite" class={leader === undefined ? 'warn' : ''}>
          {leader === undefined ? 'nobody leads' : `${leader.id} leads in term ${leader.term}`}
        </p>
        <p>
          {moments.filter(({ up }) => up).length} of {moments.length} nodes answer
        </p>
        <Slider store={store} />
      </header>
      {store.problem !== null && (
        <p class="problem" role="alert">
          {store.problem}
        </p>
      )}
      <main>
        <div class="left">
          <Ring store={store} moments={moments} />
          <Legend />
          <NodeFigures moment={moments.find(({ document }) => document.id === store.selected)} />
          {store.allowsFaults && <Faults store={store} moments={moments} />}
        </div>
        <div class="right">
          <Scenes store={store} />
          <Words store={store} />
        </div>
        <div class="wide">
          <Logs moments={moments} />
          <Charts store={store} />
          <Sessions moments={moments} />
        </div>
      </main>
    </>
  );
}

function useDrawing(store: Store): void {
  const [, setCount] = useState(0);
  useEffect(() => {
    let due = false;
    const unsubscribe = store.subscribe(() => {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        setCount((count) => count + 1);
      }, DRAW_MS);
    });
    return () => void unsubscribe();
  }, [store]);
}

function Slider({ store }: { store: Store }) {
  const back = store.lookingAtMs === null ? 0 : performance.now() - store.lookingAtMs;
  const seconds = Math.min(HISTORY_MS, Math.round(back)) / 1000;
  const look = (agoMs: number) => {
    store.lookingAtMs = agoMs <= 0 ? null : performance.now() - agoMs;
    store.changed();
  };
  return (
    <label class="slider">
      time{' '}
      <input
        type="range"
        min={-HISTORY_MS}
        max="0"
        step="200"
        value={-back}
        aria-valuetext={back === 0 ? 'now' : `${Math.round(seconds)} seconds ago`}
        onInput={(event) => look(-Number(event.currentTarget.value))}
      />{' '}
      {back === 0 ? (
        <b>now</b>
      ) : (
        <button type="button" onClick={() => look(0)}>
          {Math.round(seconds)} s ago; back to now
        </button>
      )}
    </label>
  );
}

function Legend() {
  return (
    <p class="legend">
      <span aria-hidden="true" style="color:#bb7712">
        ○
      </span>{' '}
      heartbeat{' '}
      <span aria-hidden="true" style="color:#2f9e5b">
        ■
      </span>{' '}
      entries{' '}
      <span aria-hidden="true" style="color:#9768d8">
        ▲
      </span>{' '}
      pre-vote{' '}
      <span aria-hidden="true" style="color:#d6409f">
        ▲
      </span>{' '}
      vote{' '}
      <span aria-hidden="true" style="color:#d0543a">
        ◆
      </span>{' '}
      snapshot ● replies; arc: what is left of the time-out
    </p>
  );
}

function Words({ store }: { store: Store }) {
  const words = store.history.words.filter(({ atMs }) => atMs <= store.atMs).slice(-WORDS_SHOWN);
  return (
    <section class="words" aria-label="events">
      <h2>Events</h2>
      <ol>
        {words.reverse().map(({ atMs, ids, text }, i) => (
          <li key={i}>
            <time>{clock(atMs)}</time> <b>{ids.join(', ')}</b> {text}
          </li>
        ))}
      </ol>
    </section>
  );
}

function clock(atMs: number): string {
  return new Date(performance.timeOrigin + atMs).toTimeString().slice(0, 8);
}

function Sessions({ moments }: { moments: readonly Moment[] }) {
  const newest = moments
    .filter(({ up }) => up)
    .reduce<Moment | null>(
      (best, moment) =>
        best === null || moment.document.appliedIndex > best.document.appliedIndex ? moment : best,
      null,
    );
  if (newest === null) return null;
  const { sessions, sessionCount, inodes, bytes } = newest.document;
  return (
    <section aria-label="sessions and mounts">
      <h2>
        Sessions and mounts{' '}
        <small>
          {inodes} inodes, {bytes} bytes
        </small>
      </h2>
      <ul class="sessions">
        {sessions.map(({ id, name }) => (
          <li key={id}>
            {name} <small>{id}</small>
          </li>
        ))}
        {sessionCount > sessions.length && <li>and {sessionCount - sessions.length} more</li>}
      </ul>
    </section>
  );
}

const root = document.getElementById('page');
if (root !== null) {
  openStore().then(
    (store) => {
      root.textContent = '';
      render(<Page store={store} />, root);
    },
    () => {
      root.textContent =
        'This node does not answer. Load the page again, from here or another node.';
    },
  );
}
