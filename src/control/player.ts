import { describe, MootError } from '../base/errors.js';
import type { ClusterLink } from './cluster-link.js';
import type { NodeEvent } from './events.js';
import type { Operations } from './operations.js';
import type { Scene } from './scenes/scene.js';
import { type ClientFactory, type Pace, type SceneLine, Stage } from './scenes/stage.js';

/** What is told of the scene that plays, or played last. */
export interface PlayDocument {
  readonly scene: string;
  readonly title: string;
  readonly explanation: readonly string[];
  readonly lines: readonly SceneLine[];
  readonly state: 'playing' | 'paused' | 'done' | 'failed' | 'stopped';
  /** Why it failed. */
  readonly error: string | null;
}

export const PACE_MS_MAX = 60_000;

/** Plays one scene at a time on a cluster. */
export class Player {
  private stage: Stage | null = null;
  private document: PlayDocument | null = null;
  private pace: PlayerPace | null = null;
  private playing: Promise<void> = Promise.resolve();

  constructor(
    private readonly cluster: ClusterLink,
    private readonly operations: Operations,
    private readonly makeClient: ClientFactory,
    private readonly onLine: (line: SceneLine) => void = () => undefined,
  ) {}

  get now(): PlayDocument | null {
    return this.document;
  }

  /** What the nodes tell; the owner of the cluster's link hands it on. */
  onEvents(id: string, events: readonly NodeEvent[]): void {
    this.stage?.onEvents(id, events);
  }

  /** Begins; fails when another one plays. `paceMs` lies between two steps; with `pause`, `step` does. */
  start(scene: Scene, options: { readonly paceMs: number; readonly pause: boolean }): void {
    if (this.pace !== null) {
      throw new MootError('BUSY', `the scene ${this.document?.scene} plays; stop it first`);
    }
    const pace = new PlayerPace(options.paceMs, options.pause);
    this.pace = pace;
    const { name, title, explanation } = scene;
    const state = options.pause ? 'paused' : 'playing';
    this.document = { scene: name, title, explanation, lines: [], state, error: null };
    this.playing = this.run(scene, pace);
  }

  /** Resolves when the scene has ended, however it did. */
  async ended(): Promise<PlayDocument | null> {
    await this.playing;
    return this.document;
  }

  setPaused(paused: boolean): void {
    const pace = this.needPace();
    pace.setPaused(paused);
    this.change({ state: paused ? 'paused' : 'playing' });
  }

  step(): void {
    this.needPace().step();
  }

  /** Ends the scene where it is. The cluster stays as it is then. */
  async stop(): Promise<void> {
    this.pace?.stop();
    await this.playing;
  }

  private async run(scene: Scene, pace: PlayerPace): Promise<void> {
    const stage = new Stage(this.cluster, this.operations, this.makeClient, pace, (line) => {
      this.change({ lines: [...withoutAnswered(this.document?.lines ?? [], line), line] });
      this.onLine(line);
    });
    this.stage = stage;
    try {
      await scene.play(stage);
      this.change({ state: 'done' });
    } catch (error) {
      if (pace.signal.aborted) this.change({ state: 'stopped' });
      else this.change({ state: 'failed', error: describe(error) });
    } finally {
      this.stage = null;
      this.pace = null;
      await stage.close();
    }
  }

  private change(change: Partial<PlayDocument>): void {
    if (this.document !== null) this.document = { ...this.document, ...change };
  }

  private needPace(): PlayerPace {
    if (this.pace !== null) return this.pace;
    throw new MootError('BAD_ARGUMENT', 'no scene plays');
  }
}

/** What was waited for is told once, by what became of it. */
function withoutAnswered(lines: readonly SceneLine[], line: SceneLine): readonly SceneLine[] {
  const last = lines.at(-1);
  const answered = last?.kind === 'wait' && last.text === line.text;
  return answered ? lines.slice(0, -1) : lines;
}

class PlayerPace implements Pace {
  private readonly controller = new AbortController();
  private go: (() => void) | null = null;
  private giveUp: ((reason: unknown) => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly paceMs: number,
    private paused: boolean,
  ) {}

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  next(): Promise<void> {
    this.signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.go = resolve;
      this.giveUp = reject;
      this.wait();
    });
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    clearTimeout(this.timer);
    this.wait();
  }

  step(): void {
    clearTimeout(this.timer);
    this.go?.();
    this.go = null;
    this.giveUp = null;
  }

  stop(): void {
    clearTimeout(this.timer);
    this.controller.abort(new MootError('INTERRUPTED', 'the scene was stopped'));
    this.giveUp?.(this.signal.reason);
  }

  private wait(): void {
    if (this.paused || this.go === null) return;
    this.timer = setTimeout(() => this.step(), this.paceMs);
  }
}
