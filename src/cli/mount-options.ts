import type { Command } from 'commander';
import { MootError } from '../base/errors.js';
import type { ReadLevel } from '../codec/client-messages.js';
import { addFlag, deadline, setting } from './settings.js';

export type Adapter = 'kernel' | 'fuse-native';

/** For whom flock(2) and fcntl(2) lock. */
export type LockScope = 'cluster' | 'mount';

/** What a mount process and a node with a mount of its own have in common. */
export interface MountOptions {
  readonly cluster: string;
  readonly adapter: Adapter;
  readonly level: ReadLevel;
  readonly deadline: number;
  readonly writeThrough?: boolean;
  readonly locks: LockScope;
}

export function addMountOptions(command: Command): void {
  command
    .addOption(
      setting('--adapter <adapter>', 'how to speak to the kernel')
        .choices(['kernel', 'fuse-native'])
        .default('kernel'),
    )
    .addOption(
      setting(
        '--level <level>',
        'how fresh reads are: strong (confirmed by the leader), session, local',
      )
        .choices(['strong', 'session', 'local'])
        .default('strong'),
    )
    .addOption(
      setting(
        '--deadline <seconds>',
        "how long an operation waits for a leader, or 'hard' for ever",
      )
        .argParser(deadline)
        .default(30_000, '30'),
    );
  command.addOption(
    setting(
      '--locks <scope>',
      'for whom flock and fcntl lock: the whole cluster, or this mount only (faster)',
    )
      .choices(['cluster', 'mount'])
      .default('cluster'),
  );
  addFlag(command, '--write-through', 'every write(2) waits for its commit');
}

/** Together they would keep a program for ever, whom not even SIGKILL ends: libfuse tells of no interrupts. */
export function refuseWaitingForEver({
  adapter,
  deadline,
}: Pick<MountOptions, 'adapter' | 'deadline'>): void {
  if (adapter === 'kernel' || Number.isFinite(deadline)) return;
  throw new MootError(
    'BAD_ARGUMENT',
    `--deadline hard cannot be had with --adapter ${adapter}, where nothing ends a program that waits: give a number of seconds`,
  );
}

/** What is on by default and this adapter cannot do is said, and not only written down. */
export function noteLocks({ adapter, locks }: Pick<MountOptions, 'adapter' | 'locks'>): void {
  if (adapter === 'kernel' || locks === 'mount') return;
  process.stderr.write(
    `locks hold within this mount only: the adapter ${adapter} has none for the cluster (--locks mount says so)\n`,
  );
}
