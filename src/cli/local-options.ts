import type { Command } from 'commander';
import type { WriteConcern } from '../codec/client-messages.js';
import { writeConcernOption } from './members.js';
import type { MountOptions } from './mount-options.js';
import { directoryName, setting, wholeNumber } from './settings.js';

export interface LocalOptions extends MountOptions {
  readonly data?: string;
  readonly mounts: string;
  readonly mount: boolean;
  readonly port: number;
  readonly stretch: number;
  readonly writeConcern?: WriteConcern;
}

/** What a cluster on this machine needs that a console or a scene makes. */
export function addLocalOptions(command: Command): void {
  command
    .addOption(
      setting(
        '--data <dir>',
        "the nodes' data; default: a temporary directory, removed at the end",
      ).argParser(directoryName),
    )
    .addOption(
      setting('--mounts <dir>', 'where the mounts are made, one directory a node')
        .argParser(directoryName)
        .default('mnt'),
    )
    .option('--no-mount', 'only run the nodes')
    .option(
      '--port <port>',
      'port of the first node, its page 1000 above; 0: as --data was made for, or any that are free',
      wholeNumber(0, 60_000),
      0,
    )
    .addOption(
      setting('--stretch <factor>', 'election time-outs and heartbeats so many times longer')
        .argParser(wholeNumber(1, 100))
        .default(5),
    )
    .addOption(writeConcernOption());
}
