import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import t, { type Test } from 'tap';
import {
  addFlag,
  applyConfigFile,
  configFileOption,
  directoryName,
  forgetEmptyVariables,
} from '../../src/cli/settings.js';

const VARIABLE = 'MOOTFS_ALLOW_FAULTS';

/** What --allow-faults is with these arguments, this variable and this configuration file. */
async function flagWith(
  t: Test,
  args: readonly string[],
  variable: string | undefined,
  config: object = {},
): Promise<unknown> {
  const file = join(t.testdir(), 'config.json');
  writeFileSync(file, JSON.stringify(config));
  if (variable === undefined) delete process.env[VARIABLE];
  else process.env[VARIABLE] = variable;
  t.teardown(() => delete process.env[VARIABLE]);
  const command = new Command().exitOverride().addOption(configFileOption());
  addFlag(command, '--allow-faults', 'faults');
  command.action(() => applyConfigFile(command));
  await command.parseAsync(['--config', file, ...args], { from: 'user' });
  return command.opts().allowFaults;
}

t.test('a flag: the command line, then the environment, then the file', async (t) => {
  t.equal(await flagWith(t, [], undefined), undefined);
  t.equal(await flagWith(t, ['--allow-faults'], undefined), true);
  for (const on of ['true', '1']) t.equal(await flagWith(t, [], on), true, on);
  for (const off of ['false', '0']) {
    t.equal(await flagWith(t, [], off), false, off);
    t.equal(await flagWith(t, ['--allow-faults'], off), true, `the flag beats ${off}`);
    t.equal(await flagWith(t, [], off, { 'allow-faults': true }), false, `${off} beats the file`);
  }
  t.equal(await flagWith(t, [], undefined, { 'allow-faults': true }), true);
});

t.test('a variable that says neither is refused', async (t) => {
  for (const text of ['no', 'TRUE', 'constructor']) {
    await t.rejects(flagWith(t, [], text), {
      code: 'BAD_ARGUMENT',
      message: /MOOTFS_ALLOW_FAULTS/,
    });
  }
});

t.test('an empty variable is none', async (t) => {
  const env: NodeJS.ProcessEnv = { MOOTFS_MOUNT: '', MOOTFS_ID: 'n1', HOME: '' };
  forgetEmptyVariables(env);
  t.strictSame(env, { MOOTFS_ID: 'n1', HOME: '' });
});

t.test('a directory has a name', async (t) => {
  t.equal(directoryName('/srv/é '), '/srv/é ');
  for (const [text, message] of [
    ['', /is empty/],
    ['/srv/\udcff', /is not UTF-8/],
  ] as const) {
    t.throws(() => directoryName(text), { code: 'commander.invalidArgument', message });
  }
});
