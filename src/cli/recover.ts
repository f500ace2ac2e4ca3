import type { Command } from 'commander';
import type { Survivor } from '../node/recover.js';
import type { Recovered } from './assemble/offline.js';
import { EXIT } from './exit.js';
import { isoSecond } from './inode-text.js';
import { CLUSTER_DEFAULT, parseId, parseReachable } from './members.js';
import { addExample, directoryName } from './settings.js';
import { shellWord } from './shell-word.js';

export function addRecoverCommand(program: Command): void {
  const command = program
    .command('recover')
    .description(
      'With a majority of the nodes lost for ever: make one surviving data directory a cluster of ' +
        'one node. Changes that this node never heard of are lost.',
    )
    .argument(
      '<directory>',
      'the --data directory of the surviving node that is stopped',
      directoryName,
    )
    .option('--accept-loss', 'do it; without this nothing is changed, and what may be lost is told')
    .option(
      '--new-cluster <name>',
      'give the cluster a new name, so that nobody takes the old one for it',
      parseId,
    )
    .option(
      '--address <address>',
      'where the node is reached from now on; default: as before',
      parseReachable,
    )
    .action(async (directory: string, options: RecoverOptions) => {
      const accepted = options.acceptLoss === true;
      const { recoverDirectory } = await import('./assemble/offline.js');
      const survivor = await recoverDirectory(directory, {
        accepted,
        newCluster: options.newCluster ?? null,
        address: options.address ?? null,
      });
      if (accepted) {
        process.stdout.write(renderDone(directory, survivor));
        return;
      }
      process.stderr.write(renderWarning(survivor));
      process.exitCode = EXIT.failed;
    });
  addExample(
    command,
    'mootfs recover /var/lib/mootfs',
    'mootfs recover /var/lib/mootfs --accept-loss --new-cluster mootfs2',
  );
}

interface RecoverOptions {
  readonly acceptLoss?: boolean;
  readonly newCluster?: string;
  readonly address?: string;
}

function renderWarning(survivor: Survivor): string {
  const { id, others } = survivor;
  const names = others.join(', ') || 'no other node';
  return `NOTHING HAS BEEN CHANGED YET. Read this first.

This makes node ${id} a cluster of its own. Do it only if a majority of ${id}, ${names} is lost for
ever: as long as a majority may come back, wait for it, and nothing is lost.

  * ${holdings(survivor)}
  * What was acknowledged to programs and did not reach this node is LOST, and nobody will notice by
    themselves. Of several surviving nodes take the one whose log ends in the highest term, and of
    those the one with the highest index.
  * Changes that had reached this node and were never acknowledged take effect.
  * ${names}: out of the cluster for ever. Never start them again with their old data: should a
    majority of them still run, there are two clusters, which refuse each other's nodes and mounts
    and differ more and more. --new-cluster NAME lets people tell them apart, too.
  * Mounts forget what they had not written yet; mount again.

Keep a copy of the directory. Then repeat with --accept-loss.
`;
}

function renderDone(directory: string, survivor: Recovered): string {
  const { id, address, others, cluster } = survivor;
  const named = cluster === CLUSTER_DEFAULT ? '' : ` --cluster ${cluster}`;
  return `Node ${id} is now a cluster of one. ${holdings(survivor)}
Out of it for ever: ${others.join(', ') || 'nobody'}.

Start it:                 mootfs node --id ${id} --data ${shellWord(directory)} --peers ${id}=${address}${named}
Then add nodes under new names, with empty directories.
`;
}

function holdings({ id, lastIndex, lastTerm, appliedIndex, ...more }: Survivor): string {
  const { lastChange, recovering } = more;
  const when = lastChange === null ? '' : `, made at ${isoSecond(lastChange)} (UTC)`;
  const rebuilt = recovering
    ? ` THIS NODE WAS ITSELF BEING REBUILT from the others: it may lack almost anything.`
    : '';
  return `The log of node ${id} ends in term ${lastTerm} at index ${lastIndex}${when} (its tree: at ${appliedIndex}).${rebuilt}`;
}
