import { Command, CommanderError } from 'commander';
import { exactArguments } from './arguments.js';
import { addCheckCommand } from './check.js';
import { EXIT, exitCodeOf, reportFailure } from './exit.js';
import { addFileCommands } from './files.js';
import { addMembershipCommands } from './membership.js';
import { addMountCommand } from './mount.js';
import { mountCommandOf } from './mount-helper.js';
import { addNodeCommand } from './node.js';
import { guardOutputs, SERVING } from './outputs.js';
import { addPlayCommand } from './play.js';
import { addQuotaCommand } from './quota.js';
import { addRecoverCommand } from './recover.js';
import { addReplCommand } from './repl.js';
import { forgetEmptyVariables } from './settings.js';
import { addSnapshotCommand } from './snapshot.js';
import { addStatusCommand } from './status.js';
import { addUmountCommand } from './umount.js';
import { addUpCommand } from './up.js';
import { VERSION } from './version.js';

/** Runs the process's command line; sets process.exitCode. */
export async function main(): Promise<void> {
  const { argv } = process;
  const program = makeProgram();
  forgetEmptyVariables(process.env);
  try {
    const translated = mountCommandOf(argv.slice(2));
    // A mount in the background runs this command again.
    if (translated !== null) argv.splice(2, argv.length, ...translated);
    guardOutputs(commandName(argv));
    await program.parseAsync(translated ?? exactArguments(argv.slice(2)), { from: 'user' });
    // Of a mount that somebody has unmounted, as below.
    if (SERVING.has(commandName(argv))) process.stdin.destroy();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    reportFailure(commandName(argv), error);
    // What is still read there for --stop-with-stdin would keep the process.
    process.stdin.destroy();
    process.exitCode = exitCodeOf(error);
  }
}

export function makeProgram(): Command {
  const program = new Command('mootfs')
    .description('A directory that several machines share and decide on together.')
    .version(VERSION)
    .showHelpAfterError('(add --help for what there is)')
    .exitOverride();
  program.addHelpText(
    'after',
    `
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no leader or no answer in time,
4 unusable data, 5 a prerequisite is missing, 128 and its number: ended by a signal.

Example:
  $ mootfs up                    three nodes on this machine, mounted at ./mnt/n1 … n3`,
  );
  for (const add of [
    addUpCommand,
    addNodeCommand,
    addMountCommand,
    addUmountCommand,
    addStatusCommand,
    addMembershipCommands,
    addSnapshotCommand,
    addQuotaCommand,
    addCheckCommand,
    addRecoverCommand,
    addFileCommands,
    addReplCommand,
    addPlayCommand,
  ]) {
    add(program);
  }
  for (const command of program.commands)
    command.exitOverride().showHelpAfterError('(add --help for what there is)');
  return program;
}

function commandName(argv: readonly string[]): string {
  return argv.slice(2).find((arg) => !arg.startsWith('-')) ?? '';
}
