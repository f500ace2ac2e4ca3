import type { Command } from 'commander';
import { connectClient } from './assemble/client.js';
import { exitCodeOf, reportFailure } from './exit.js';
import { clusterOption, nodesOption, parseAddressText } from './members.js';
import { addExample } from './settings.js';

export function addSnapshotCommand(program: Command): void {
  const command = program
    .command('snapshot')
    .description('Make the tree durable and compact the log now, on every node or on one.')
    .addOption(nodesOption())
    .addOption(clusterOption())
    .option('--node <address>', 'only this node (host:port)', parseAddressText)
    .action(async (options: SnapshotOptions) => {
      const client = connectClient({ ...options, name: 'snapshot' });
      try {
        for (const { id, index, error } of await client.snapshot(options.node)) {
          if (error === null) {
            process.stdout.write(`${id}: snapshot at index ${index}\n`);
          } else {
            reportFailure('snapshot', error);
            process.exitCode = exitCodeOf(error);
          }
        }
      } finally {
        await client.close();
      }
    });
  addExample(command, 'mootfs snapshot', 'mootfs snapshot --node 127.0.0.1:7102');
}

interface SnapshotOptions {
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly node?: string;
}
