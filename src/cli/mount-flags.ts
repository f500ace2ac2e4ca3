import { InvalidArgumentError } from 'commander';
import type { ReadLevel } from '../codec/client-messages.js';
import { FLAGS_DEFAULT } from '../mount/mount-point.js';
import { parseId } from './members.js';
import type { Adapter, LockScope, MountOptions } from './mount-options.js';
import { deadline } from './settings.js';

/** What stands in the first column of df(1). */
export const SOURCE = 'mootfs';

/**
 * Options of mount(8) and fstab(5), as `mootfs mount -o` takes them: what the kernel is given, and
 * what else is said with `consistency=`, `timeout=` and the like.
 */
export interface MountFlags {
  /** For mount(8): FLAGS_DEFAULT unless suid and dev are asked for. */
  readonly kernel: readonly string[];
  /** What is mounted there gets these flags. */
  readonly remount: boolean;
  readonly settings: Partial<MountOptions & { readonly log: string }>;
}

const OPPOSITES: Readonly<Record<string, string>> = {
  ro: 'rw',
  nosuid: 'suid',
  nodev: 'dev',
  noexec: 'exec',
  noatime: 'relatime',
  nodiratime: 'diratime',
};
const KERNEL = new Set([...Object.keys(OPPOSITES), ...Object.values(OPPOSITES)]);

/** For mount(8), systemd and whoever reads fstab; or as it is in any case, so mount(8) finds it at a remount. */
const MEANINGLESS = new Set([
  'defaults',
  'auto',
  'noauto',
  'user',
  'nouser',
  'users',
  'group',
  'owner',
  'nofail',
  '_netdev',
  'async',
  'allow_other',
  'default_permissions',
  'user_id',
  'group_id',
  'max_read',
  'blksize',
]);

type Setting = (value: string) => MountFlags['settings'];

const SETTINGS: Readonly<Record<string, Setting>> = {
  consistency: (value) => ({ level: oneOf<ReadLevel>(value, ['strong', 'session', 'local']) }),
  timeout: (value) => ({ deadline: deadline(value) }),
  cluster: (value) => ({ cluster: parseId(value) }),
  adapter: (value) => ({ adapter: oneOf<Adapter>(value, ['kernel', 'fuse-native']) }),
  locks: (value) => ({ locks: oneOf<LockScope>(value, ['cluster', 'mount']) }),
  log: (value) => ({ log: value }),
};

/** `ro,noexec,consistency=session,timeout=10`. `sloppy`: unknown ones are passed over (mount(8), -s). */
export function parseMountFlags(text: string, sloppy = false): MountFlags {
  let kernel = [...FLAGS_DEFAULT];
  let settings: MountFlags['settings'] = {};
  let remount = false;
  for (const word of text.split(',').filter((part) => part !== '')) {
    const [name = '', value] = splitAtFirst(word, '=');
    if (KERNEL.has(word)) kernel = withFlag(kernel, word);
    else if (word === 'remount') remount = true;
    else if (word === 'write_through') settings = { ...settings, writeThrough: true };
    else if (Object.hasOwn(SETTINGS, name) && value !== undefined) {
      settings = { ...settings, ...SETTINGS[name]?.(value) };
    } else if (!sloppy && !MEANINGLESS.has(name) && !/^(x-|X-|comment$)/.test(name)) {
      throw new InvalidArgumentError(
        `'${word}' is not an option of mounting; there are ${known()}`,
      );
    }
  }
  return { kernel, settings, remount };
}

/** The last word of two that contradict each other counts. */
function withFlag(flags: readonly string[], flag: string): string[] {
  const opposite =
    OPPOSITES[flag] ?? Object.keys(OPPOSITES).find((name) => OPPOSITES[name] === flag);
  return [...flags.filter((other) => other !== flag && other !== opposite), flag];
}

function known(): string {
  return [...KERNEL, 'write_through', ...Object.keys(SETTINGS).map((name) => `${name}=…`)].join(
    ', ',
  );
}

function oneOf<T extends string>(value: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`'${value}' is none of ${choices.join(', ')}`);
}

function splitAtFirst(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
