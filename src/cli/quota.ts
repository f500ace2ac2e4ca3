import { type Command, InvalidArgumentError } from 'commander';
import type { QueryValues } from '../filesystem/queries.js';
import { connectClient } from './assemble/client.js';
import { clusterOption, nodesOption } from './members.js';
import { addExample } from './settings.js';
import { renderTable } from './table.js';

interface QuotaOptions {
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly bytes?: number | 'none';
  readonly inodes?: number | 'none';
  readonly json?: boolean;
}

export function addQuotaCommand(program: Command): void {
  const command = program
    .command('quota')
    .description('Show or set how much the directory may hold; beyond it programs get EDQUOT.')
    .addOption(nodesOption())
    .addOption(clusterOption())
    .option('--bytes <size>', "at most so much data, as 500M or 2G; or 'none'", size)
    .option('--inodes <n>', "at most so many files, directories and the like; or 'none'", size)
    .option('--json', 'print JSON')
    .action(quota);
  addExample(command, 'mootfs quota', 'mootfs quota --bytes 20G --inodes 1000000');
}

async function quota(options: QuotaOptions): Promise<void> {
  const client = connectClient({ ...options, name: 'quota' });
  try {
    let figures = await client.query({ type: 'statfs' }, { level: 'strong' });
    const bytes = limitOf(options.bytes, figures.bytesMax);
    const inodes = limitOf(options.inodes, figures.inodesMax);
    if (bytes !== figures.bytesMax || inodes !== figures.inodesMax) {
      await client.execute({ type: 'set-quota', bytes, inodes });
      figures = await client.query({ type: 'statfs' }, { level: 'strong' });
    }
    process.stdout.write(
      options.json ? `${JSON.stringify(documentOf(figures))}\n` : table(figures),
    );
  } finally {
    await client.close();
  }
}

/** null: none. */
function limitOf(given: number | 'none' | undefined, present: number | null): number | null {
  if (given === undefined) return present;
  return given === 'none' ? null : given;
}

function documentOf({ bytes, bytesMax, inodes, inodesMax }: QueryValues['statfs']): object {
  return { bytes: { used: bytes, max: bytesMax }, inodes: { used: inodes, max: inodesMax } };
}

function table({ bytes, bytesMax, inodes, inodesMax }: QueryValues['statfs']): string {
  const row = (name: string, used: number, max: number | null) => [
    name,
    `${used}`,
    `${max ?? 'none'}`,
  ];
  const rows = [row('bytes', bytes, bytesMax), row('inodes', inodes, inodesMax)];
  return `${renderTable(['', 'USED', 'QUOTA'], rows)}\n`;
}

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'];

/** '500M' and the like, in powers of 1024. */
function size(text: string): number | 'none' {
  if (text === 'none') return text;
  const [, digits = '', unit = ''] = /^(\d+)([KMGTP]?)(?:iB|B)?$/i.exec(text) ?? [];
  const value = Number(digits) * 1024 ** UNITS.indexOf(unit.toUpperCase());
  if (digits === '' || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError(
      `'${text}' is no number such as 1000, 500M or 2G, and not 'none'`,
    );
  }
  return value;
}
