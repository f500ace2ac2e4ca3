import type { Command } from 'commander';
import { MootError } from '../base/errors.js';
import { Player } from '../control/player.js';
import type { Scene } from '../control/scenes/scene.js';
import { SCENES, sceneOf } from '../control/scenes/scenes.js';
import { renderScenes } from './console/commands.js';
import { sceneClients } from './director.js';
import { addLocalOptions, type LocalOptions } from './local-options.js';
import { parseId, WRITE_CONCERNS } from './members.js';
import { addMountOptions } from './mount-options.js';
import { startLocal } from './rule.js';
import { sceneText } from './scene-text.js';
import { addExample, wholeNumber } from './settings.js';
import { type Stop, stoppable } from './stoppable.js';

/** Enough for every scene. */
const NODES_DEFAULT = 5;

interface PlayOptions extends LocalOptions {
  readonly cluster: string;
  readonly nodes: number;
  readonly pace: number;
  readonly pause?: boolean;
}

export function addPlayCommand(program: Command): void {
  const command = program
    .command('play')
    .description(
      'Play scenes about Raft on a real cluster of this machine; without a name list them.',
    )
    .argument('[scene]', "which one, or 'all'")
    .option('--nodes <n>', 'number of nodes', wholeNumber(3, 9), NODES_DEFAULT)
    .option('--pace <ms>', 'milliseconds between two steps', wholeNumber(0, 60_000), 1500)
    .option(
      '--pause',
      'go on with the next step when Enter is pressed; without pauses when standard input ends',
    )
    .option('--cluster <name>', 'name of the cluster', parseId, 'mootfs');
  addLocalOptions(command);
  addMountOptions(command);
  command.action(async (name: string | undefined) => {
    if (name === undefined) process.stdout.write(`${renderScenes()}\n`);
    else {
      const scenes = name === 'all' ? SCENES : [sceneOf(name)];
      await stoppable('play', (stop) => play(scenes, command.opts<PlayOptions>(), stop));
    }
  });
  addExample(command, 'mootfs play leader-dies', 'mootfs play split --pause', 'mootfs play all');
}

async function play(scenes: readonly Scene[], options: PlayOptions, stop: Stop): Promise<void> {
  say(`Time-outs are ${options.stretch} times as long as usual.`);
  try {
    // Each on a cluster that suits it, unless a person has chosen one.
    for (const writeConcern of WRITE_CONCERNS) {
      const suits = (scene: Scene) =>
        (options.writeConcern ?? scene.writeConcern ?? 'majority') === writeConcern;
      const some = scenes.filter(suits);
      if (some.length > 0) await playOn(some, { ...options, writeConcern }, stop);
    }
  } finally {
    process.stdin.destroy();
  }
  say(`\n${scenes.length === 1 ? 'The scene' : `All ${scenes.length} scenes`} went as told.`);
}

async function playOn(scenes: readonly Scene[], options: PlayOptions, stop: Stop): Promise<void> {
  let player: Player | null = null;
  let leave = () => {};
  const ruled = await startLocal(options.nodes, options, stop.requested, (id, events) =>
    player?.onEvents(id, events),
  );
  try {
    player = new Player(ruled.link, ruled.operations, sceneClients(options.cluster), (line) => {
      const text = sceneText(line);
      if (text !== null) say(text);
    });
    const playing = player;
    void stop.requested.then(() => playing.stop());
    if (options.pause === true) leave = goOnByEnter(playing, stop);
    const [control] = ruled.own?.cluster.controls ?? [];
    if (control !== undefined) say(`The page: http://${control}/`);
    for (const scene of scenes) {
      say(`\n${scene.title}\n${scene.explanation.map((line) => `  ${line}`).join('\n')}\n`);
      const pause = options.pause === true && !process.stdin.readableEnded;
      playing.start(scene, { paceMs: options.pace, pause });
      const end = await playing.ended();
      if (end?.state !== 'done') {
        throw new MootError('CLOSED', `${scene.name}: ${end?.error ?? 'the scene was stopped'}`);
      }
    }
  } finally {
    leave();
    await ruled.close();
  }
}

/** Until the function that it returns is called. */
function goOnByEnter(player: Player, stop: Stop): () => void {
  const ifPaused = (go: () => void) => () => {
    if (player.now?.state === 'paused') go();
  };
  const listeners = {
    data: ifPaused(() => player.step()),
    // Nobody can press it any more.
    end: ifPaused(() => player.setPaused(false)),
    error: () => stop.request('SIGHUP'),
  };
  for (const [event, listener] of Object.entries(listeners)) process.stdin.on(event, listener);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) process.stdin.off(event, listener);
  };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
