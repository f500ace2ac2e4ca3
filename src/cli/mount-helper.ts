import { MootError } from '../base/errors.js';
import { SOURCE } from './mount-flags.js';

/** The name under which mount(8) runs us for `mount -t mootfs`; see mootfs.sh. */
export const MOUNT_HELPER = 'mount-helper';

/**
 * What mount(8) asks for, as arguments of `mootfs mount`; null: it was not mount(8) that called. It
 * runs `mount.mootfs SOURCE DIRECTORY [-sfnv] [-o OPTIONS]` (mount(8), External helpers), and
 * mount.fuse(8), for the type fuse.mootfs, `mootfs SOURCE DIRECTORY -o OPTIONS`. The source is the
 * list of the nodes' addresses; of what is mounted and in no fstab, `mount -o remount` knows only what
 * df(1) shows.
 */
export function mountCommandOf(args: readonly string[]): readonly string[] | null {
  if (args[0] === MOUNT_HELPER) return translate(args.slice(1));
  const [source = '', , flag] = args;
  const isSource = /^[^-\s]\S*:\d+$/.test(source) || isRemount(args);
  return isSource && (flag === '-o' || args.length === 2) ? translate(args) : null;
}

/** It needs no nodes. */
function isRemount([source, , ...rest]: readonly string[]): boolean {
  const options = rest.filter((_, i) => rest[i - 1] === '-o').join();
  return source === SOURCE && options.split(',').includes('remount');
}

function translate(args: readonly string[]): readonly string[] {
  const [source, directory, ...rest] = args;
  if (source === undefined || directory === undefined || source.startsWith('-')) {
    throw new MootError(
      'BAD_ARGUMENT',
      'usage: mount.mootfs HOST:PORT,HOST:PORT,… DIRECTORY [-sfnv] [-o OPTIONS]',
    );
  }
  const command = ['mount', '--daemon', ...(isRemount(args) ? [] : ['--nodes', source])];
  for (let i = 0; i < rest.length; i++) {
    const flag = rest[i] ?? '';
    if (flag === '-o') command.push('--options', rest[++i] ?? '');
    else if (/^-[sfnv]+$/.test(flag)) {
      if (flag.includes('s')) command.push('--sloppy');
      if (flag.includes('f')) command.push('--fake');
    } else throw new MootError('BAD_ARGUMENT', `mount.mootfs: '${flag}' is not known`);
  }
  return [...command, directory];
}
