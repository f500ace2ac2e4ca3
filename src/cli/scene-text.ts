import type { SceneLine } from '../control/scenes/stage.js';

const MARKS: Readonly<Record<SceneLine['kind'], string | null>> = {
  say: '',
  // Told when it has come true, or has not.
  wait: null,
  true: '  ✓ ',
  false: '  ✗ ',
};

/** A line of a scene for a terminal; null: not shown. */
export function sceneText({ kind, text }: SceneLine): string | null {
  const mark = MARKS[kind];
  return mark === null ? null : `${mark}${text}`;
}
