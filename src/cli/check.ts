import type { Command } from 'commander';
import { hashText } from '../node/state-hash.js';
import type { Verification } from '../node/verify.js';
import { EXIT } from './exit.js';
import { addExample, directoryName } from './settings.js';

/** More than this of one directory's problems tells a person nothing new. */
const PROBLEMS_SHOWN_MAX = 100;

export function addCheckCommand(program: Command): void {
  const command = program
    .command('check')
    .description(
      "Verify a stopped node's data directory: every checksum, the tree's invariants, the log " +
        'against the tree. Changes nothing.',
    )
    .argument('<directory>', "the node's --data directory", directoryName)
    .option('--json', 'print one JSON object')
    .action(async (directory: string, options: { readonly json?: boolean }) => {
      const { verifyDirectory } = await import('./assemble/offline.js');
      const verification = await verifyDirectory(directory);
      process.stdout.write(
        options.json === true
          ? `${JSON.stringify(verification, null, 2)}\n`
          : renderVerification(directory, verification),
      );
      if (verification.problems.length > 0) process.exitCode = EXIT.data;
    });
  addExample(command, 'mootfs check /var/lib/mootfs');
}

function renderVerification(directory: string, { problems, log, tree }: Verification): string {
  const lines = problems.slice(0, PROBLEMS_SHOWN_MAX);
  const more = problems.length - lines.length;
  if (more > 0) lines.push(`and ${more} more`);
  if (log !== null) {
    const lastTerm = log.termRuns.at(-1)?.term ?? log.snapshot.term;
    lines.push(
      `log: entries ${log.snapshot.index + 1} to ${log.lastIndex}, the last of term ${lastTerm}; term ${log.hardState.term}`,
    );
  }
  if (tree !== null) {
    const { mark, inodes, bytes, hash } = tree;
    lines.push(
      `tree: index ${mark.index}, state ${hashText(hash)}; ${inodes} inodes, ${bytes} bytes`,
    );
  }
  lines.push(
    problems.length === 0
      ? log === null
        ? `${directory} was never used by a node`
        : `${directory} is sound`
      : `${directory}: ${problems.length} problem${problems.length === 1 ? '' : 's'}`,
  );
  return `${lines.join('\n')}\n`;
}
