import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { bytesOfText, isUtf8 } from '../base/byte-text.js';
import { describe, MootError } from '../base/errors.js';

/**
 * Where a setting comes from, strongest first: the flag, the environment (MOOTFS_ and the flag's
 * name in capitals), the configuration file (a JSON object whose keys are the long flags), the default.
 */
export function setting(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.env(variableOf(option));
}

/**
 * A setting that is on or off. Its variable says which: commander would take any value for on, so
 * that MOOTFS_ALLOW_FAULTS=false allowed them.
 */
export function addFlag(command: Command, flags: string, description: string): void {
  const option = new Option(flags, description);
  const variable = variableOf(option);
  option.description += ` (env: ${variable}, true or false)`;
  const name = option.attributeName();
  command.addOption(option).hook('preAction', () => {
    const text = process.env[variable];
    if (text === undefined || command.getOptionValueSource(name) === 'cli') return;
    command.setOptionValueWithSource(name, parseFlag(variable, text), 'env');
  });
}

function variableOf(option: Option): string {
  return `MOOTFS_${option.name().replaceAll('-', '_').toUpperCase()}`;
}

const ON_OR_OFF: Readonly<Record<string, boolean>> = {
  true: true,
  1: true,
  false: false,
  0: false,
};

function parseFlag(variable: string, text: string): boolean {
  const value = Object.hasOwn(ON_OR_OFF, text) ? ON_OR_OFF[text] : undefined;
  if (value !== undefined) return value;
  throw new MootError('BAD_ARGUMENT', `${variable} is '${text}', and neither true, 1, false nor 0`);
}

/**
 * Scripts and units write `MOOTFS_MOUNT=` for no mount: an empty variable is none. To be called before a
 * command line is read.
 */
export function forgetEmptyVariables(env: NodeJS.ProcessEnv): void {
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('MOOTFS_') && value === '') delete env[name];
  }
}

export function configFileOption(): Option {
  return setting('--config <file>', 'JSON file with settings, named as the long flags');
}

/** Reads `--config` into the options that neither a flag nor the environment has set. */
export function applyConfigFile(command: Command): void {
  const file: unknown = command.getOptionValue('config');
  if (typeof file !== 'string') return;
  for (const [name, value] of Object.entries(readConfigFile(file))) {
    const settings = command.options.filter((o) => !o.hidden && o.long !== '--config');
    const option = settings.find((o) => o.long === `--${name}`);
    if (option === undefined) {
      const known = settings.map((o) => o.long?.slice(2));
      throw new MootError(
        'BAD_ARGUMENT',
        `${file}: '${name}' is not a setting; known are: ${known.join(', ')}`,
      );
    }
    const source = command.getOptionValueSource(option.attributeName());
    if (source !== undefined && source !== 'default') continue;
    command.setOptionValueWithSource(
      option.attributeName(),
      parseValue(file, option, value),
      'config',
    );
  }
}

function readConfigFile(file: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new MootError('BAD_ARGUMENT', `the configuration file ${file} cannot be read`, { cause });
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new MootError('BAD_ARGUMENT', `${file}: the configuration is not a JSON object`);
  }
  return { ...content };
}

function parseValue(file: string, option: Option, value: unknown): unknown {
  const isFlag = !option.required && !option.optional;
  if (isFlag && typeof value === 'boolean') return value;
  if (!isFlag && (typeof value === 'string' || typeof value === 'number')) {
    try {
      return option.parseArg === undefined
        ? String(value)
        : option.parseArg(String(value), undefined);
    } catch (cause) {
      throw new MootError('BAD_ARGUMENT', `${file}: ${option.name()}: ${describe(cause)}`);
    }
  }
  const expected = isFlag ? 'true or false' : 'a string or a number';
  throw new MootError('BAD_ARGUMENT', `${file}: ${option.name()} is not ${expected}`);
}

/** A parser for whole numbers in a range, for Option.argParser. */
export function wholeNumber(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= low && value <= high) return value;
    throw new InvalidArgumentError(`'${text}' is not a whole number from ${low} to ${high}.`);
  };
}

/** A parser for directories of this machine: '' would be the working directory, which nobody means by that. */
export function directoryName(text: string): string {
  if (text === '') throw new InvalidArgumentError('The name of the directory is empty.');
  if (isUtf8(bytesOfText(text))) return text;
  throw new InvalidArgumentError('The name of the directory is not UTF-8.');
}

/** Seconds as a decimal number, or `hard` for no end; in milliseconds. */
export function deadline(text: string): number {
  if (text === 'hard') return Number.POSITIVE_INFINITY;
  const seconds = Number(text);
  if (text.trim() !== '' && seconds > 0 && seconds <= 86_400) return seconds * 1000;
  throw new InvalidArgumentError(
    `'${text}' is neither a number of seconds (up to 86400) nor 'hard'.`,
  );
}

/** Every command shows at least one example in its --help. */
export function addExample(command: Command, ...examples: readonly string[]): void {
  command.addHelpText('after', `\nExample:\n${examples.map((e) => `  $ ${e}`).join('\n')}`);
}
