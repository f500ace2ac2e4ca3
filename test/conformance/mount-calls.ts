import type { Test } from 'tap';
import type { MountCapabilities } from '../../src/mount/mount.js';
import { sh } from '../support/mounted.js';
import { comparable, SystemCalls } from '../support/syscalls.js';

export interface CallsBench {
  /** A new directory on the mount that everybody may write to. */
  readonly directoryFor: (name: string) => Promise<string>;
  readonly capabilities: MountCapabilities;
  /** See buildSyscalls. */
  readonly program: string;
}

const NOBODY = 65_534;
/** How often the clients of a test's cluster say what they hold; see local-mount-server.ts. */
const KEEP_ALIVE_MS = 200;

/** A call, and what it answers. */
type Step = readonly [call: string, answer: string];

/**
 * System calls that ordinary programs of a base system do not make, with the answers of a local disk;
 * a part of the mounted suite.
 */
export async function mountedCalls(t: Test, bench: CallsBench): Promise<void> {
  const script = (
    name: string,
    needs: keyof MountCapabilities | null,
    ...scripts: (readonly Step[])[]
  ) => {
    const skip = needs !== null && !bench.capabilities[needs] && `${needs}: not with this adapter`;
    return t.test(name, { skip }, async (t) => {
      const directory = await bench.directoryFor(name.replace(/\W+/g, '-'));
      // Root first, then somebody.
      for (const [i, steps] of scripts.entries()) {
        const calls = new SystemCalls(bench.program, directory, i === 0 ? undefined : NOBODY);
        t.teardown(() => calls.end());
        for (const [call, answer] of steps) {
          t.equal(comparable(await calls.call(call)), answer, call);
        }
      }
    });
  };

  const owners = 'locks of processes and open files';
  await t.test(owners, async (t) => {
    const directory = await bench.directoryFor('locks');
    const [a, b] = [0, 1].map(() => new SystemCalls(bench.program, directory));
    t.teardown(() => Promise.all([a?.end(), b?.end()]));
    const steps: readonly (readonly [SystemCalls | undefined, ...Step])[] = [
      [a, 'open 0 f rw|creat 0644', '= 0'],
      [a, 'open 1 f r', '= 0'],
      [b, 'open 0 f rw', '= 0'],
      [a, 'setlk 0 exclusive 10 10', '= 0'],
      [a, 'setlk 1 shared 12 2', '= 0'],
      [b, 'getlk 0 exclusive 0 0', '= exclusive 10 2'],
      [b, 'setlk 0 shared 0 0', '! EAGAIN'],
      [b, 'setlk 0 shared 12 2', '= 0'],
      [a, 'ofd 1 shared 0 10', '= 0'],
      [a, 'setlk 0 exclusive 0 10', '! EAGAIN'],
      [a, 'setlk 1 exclusive 30 1', '! EBADF'],
      [a, 'flock 1 exclusive', '= 0'],
      [b, 'flock 0 shared', '! EAGAIN'],
      [a, 'close 1', '= 0'],
      [b, 'flock 0 shared', '= 0'],
      [b, 'setlk 0 exclusive 0 0', '= 0'],
      [a, 'flock 0 shared', '= 0'],
      [a, 'flock 0 exclusive', '! EAGAIN'],
      [b, 'flock 0 exclusive', '= 0'],
    ];
    for (const [who, call, answer] of steps) {
      t.equal(comparable((await who?.call(call)) ?? ''), answer, call);
    }
    const killed = b?.call('setlk 0 exclusive 0 0').then(() => b.kill());
    await killed;
    t.equal(await a?.call('setlkw 0 exclusive 0 0'), '= 0');
    t.equal(await a?.call('flockw 0 exclusive'), '= 0');
  });

  await script('fallocate: reserve, keep the size, punch, zero', 'allocate', [
    ['open 0 f rw|creat 0644', '= 0'],
    ['pwrite 0 0 65 100000', '= 100000'],
    ['fallocate 0 0 0 200000', '= 0'],
    ['fallocate 0 1 0 900000', '= 0'],
    ['fstat 0', stat('100644', 200_000)],
    ['fallocate 0 3 1000 50000', '= 0'],
    ['fallocate 0 16 150000 100000', '= 0'],
    ['fallocate 0 17 240000 100000', '= 0'],
    ['fstat 0', stat('100644', 250_000)],
    ['pread 0 0 300000', '= 250000 dd78ed36'],
    ['fallocate 0 8 0 4096', '! EOPNOTSUPP'],
    ['fallocate 0 0 0 0', '! EINVAL'],
    ['fallocate 0 3 0 1000000000000', '= 0'],
    ['fstat 0', stat('100644', 250_000)],
    ['open 1 f r', '= 0'],
    ['fallocate 1 0 0 1', '! EBADF'],
  ]);

  await script('holes and data are found', 'seekHoles', [
    ['open 0 f rw|creat 0644', '= 0'],
    ['pwrite 0 1048576 1 1048576', '= 1048576'],
    ['ftruncate 0 4194304', '= 0'],
    ['lseek 0 0 3', '= 1048576'],
    ['lseek 0 0 4', '= 0'],
    ['lseek 0 1048576 4', '= 2097152'],
    ['lseek 0 2097152 3', '! ENXIO'],
    ['lseek 0 3000000 4', '= 3000000'],
    ['lseek 0 4194304 4', '! ENXIO'],
  ]);

  await script('copy_file_range', null, [
    ['open 0 f rw|creat 0644', '= 0'],
    ['pwrite 0 0 65 100000', '= 100000'],
    ['open 1 g rw|creat 0600', '= 0'],
    ['copy 0 10 1 5 99999', '= 99990'],
    ['copy 0 100000 1 0 5', '= 0'],
    ['copy 0 10 0 20 100', '! EINVAL'],
    ['copy 0 0 0 100000 100', '= 100'],
    ['fstat 0', stat('100644', 100_100)],
    ['fstat 1', stat('100600', 99_995)],
    ['pread 1 5 300000', '= 99990 390af808'],
    ['pread 0 10 99990', '= 99990 390af808'],
    ['open 2 g w|append', '= 0'],
    ['copy 0 0 2 0 5', '! EBADF'],
  ]);

  await script('a file without a name gets one', 'unnamedFiles', [
    ['open 2 . rw|tmpfile 0640', '= 0'],
    ['write 2 66 10', '= 10'],
    ['fstat 2', stat('100640', 10, 0)],
    ['list .', '= 2 ../4 ./4'],
    ['linkfd 2 named', '= 0'],
    ['linkfd 2 again', '= 0'],
    ['stat named', stat('100640', 10, 2)],
    ['unlink named', '= 0'],
    ['unlink again', '= 0'],
    ['pread 2 0 100', '= 10 39125445'],
    ['linkfd 2 named', '! ENOENT'],
    ['open 3 . rw|tmpfile|excl 0640', '= 0'],
    ['linkfd 3 named', '! ENOENT'],
  ]);

  await script(
    'ACLs: the mode, chmod, the umask, inheritance, and the kernel keeps to them',
    'acls',
    [
      ['open 0 f rw|creat 0644', '= 0'],
      ['setacl f access 1:6:0 2:5:12 4:4:0 16:7:0 32:0:0', '= 0'],
      ['getacl f access', '= 1:6:-1 2:5:12 4:4:-1 16:7:-1 32:0:-1'],
      ['stat f', stat('100670', 0)],
      ['chmod f 0751', '= 0'],
      ['getacl f access', '= 1:7:-1 2:5:12 4:4:-1 16:5:-1 32:1:-1'],
      ['listxattr f', '= 1 system.posix_acl_access'],
      ['setacl f access 1:6:0 4:4:0 32:4:0', '= 0'],
      ['getacl f access', '! ENODATA'],
      ['stat f', stat('100644', 0)],
      ['setacl f default 1:6:0 4:4:0 32:4:0', '! EACCES'],
      ['setacl f access 1:6:0 2:5:12', '! EINVAL'],
      ['mkdir d 0755', '= 0'],
      ['setacl d default 1:7:0 2:5:12 4:5:0 8:3:33 16:7:0 32:1:0', '= 0'],
      ['umask 077', '= 18'],
      ['open 3 d/x rw|creat 0666', '= 0'],
      ['stat d/x', stat('100660', 0)],
      ['getacl d/x access', '= 1:6:-1 2:5:12 4:5:-1 8:3:33 16:6:-1 32:0:-1'],
      ['mkdir d/s 0777', '= 0'],
      ['stat d/s', stat('40771', 0, 2)],
      ['getacl d/s access', '= 1:7:-1 2:5:12 4:5:-1 8:3:33 16:7:-1 32:1:-1'],
      ['getacl d/s default', '= 1:7:-1 2:5:12 4:5:-1 8:3:33 16:7:-1 32:1:-1'],
      ['mknod d/p 010666 0 0', '= 0'],
      ['stat d/p', stat('10660', 0)],
      ['symlink x d/l', '= 0'],
      ['open 4 undone rw|creat 0666', '= 0'],
      ['stat undone', stat('100600', 0)],
      ['removexattr d system.posix_acl_default', '= 0'],
      ['removexattr d system.posix_acl_default', '= 0'],
      ['getacl d default', '! ENODATA'],
      // Some group may read it; nobody, who is in it, may not.
      ['setacl f access 1:6:0 2:0:65534 4:4:0 16:7:0 32:4:0', '= 0'],
      ['open 5 named rw|creat 0600', '= 0'],
      ['setacl named access 1:6:0 2:6:65534 4:0:0 16:6:0 32:0:0', '= 0'],
    ],
    [
      ['open 0 f r', '! EACCES'],
      ['open 0 named rw', '= 0'],
      ['pwrite 0 0 1 5', '= 5'],
      ['open 0 undone r', '! EACCES'],
      ['setacl named access 1:6:0 4:0:0 32:0:0', '! EPERM'],
    ],
  );

  await script(
    'immutable and append-only inodes',
    'inodeFlags',
    [
      ['open 0 f rw|creat 0666', '= 0'],
      ['getflags f', '= 0'],
      ['setflags f 0x10', '= 0'],
      ['getflags f', '= 16'],
      ['open 5 f rw', '! EPERM'],
      ['open 5 f r', '= 0'],
      ['unlink f', '! EPERM'],
      ['rename f g 0', '! EPERM'],
      ['link f h', '! EPERM'],
      ['chmod f 0600', '! EPERM'],
      ['utimens f 1 2', '! EPERM'],
      ['truncate f 0', '! EPERM'],
      ['setxattr f user.a 1 3 0', '! EPERM'],
      ['setflags f 0x20', '= 0'],
      ['open 5 f w|trunc', '! EPERM'],
      ['open 5 f w', '! EPERM'],
      ['open 5 f w|append', '= 0'],
      ['write 5 70 10', '= 10'],
      ['fsync 5', '= 0'],
      ['truncate f 0', '! EPERM'],
      ['unlink f', '! EPERM'],
      ['setflags f 0x1000', '! EOPNOTSUPP'],
      ['setflags f 0', '= 0'],
      ['mkdir d 0755', '= 0'],
      ['open 6 d/x w|creat 0644', '= 0'],
      ['setflags d 0x10', '= 0'],
      ['mkdir d/k 0755', '! EPERM'],
      ['unlink d/x', '! EPERM'],
      ['setflags d 0x20', '= 0'],
      ['mkdir d/k 0755', '= 0'],
      ['rmdir d/k', '! EPERM'],
      ['setflags d 0', '= 0'],
      ['chown f 65534 65534', '= 0'],
    ],
    [
      ['setflags f 0x10', '! EPERM'],
      ['setflags f 0x40', '= 0'],
      ['getflags f', '= 64'],
    ],
  );

  await script('what is mapped and what is written agree', null, [
    ['open 0 f rw|creat 0644', '= 0'],
    ['pwrite 0 0 1 9000', '= 9000'],
    ['mwrite 0 4000 7 200', '= 200 7c018c6d'],
    ['pread 0 4000 200', '= 200 7c018c6d'],
    ['mprivate 0 0 9 100', '= 100 47dd5de9'],
    ['pread 0 0 100', '= 100 9b792059'],
  ]);

  await script('only what a program appends goes to the end', 'writeFlags', [
    ['open 0 f rw|creat 0644', '= 0'],
    ['pwrite 0 0 1 9000', '= 9000'],
    // Written back from pages, by whatever open file there is.
    ['open 1 f rw|append', '= 0'],
    ['close 0', '= 0'],
    ['mwrite 1 10 7 200', '= 200 7c018c6d'],
    ['fstat 1', stat('100644', 9000)],
    ['setfl 1 rw', '= 0'],
    ['pwrite 1 0 5 10', '= 10'],
    ['setfl 1 append', '= 0'],
    ['pwrite 1 0 5 10', '= 10'],
    ['fstat 1', stat('100644', 9010)],
  ]);

  await script('an attribute that is to be new and there already', 'xattrs', [
    ['open 0 f rw|creat 0644', '= 0'],
    ['setxattr f trusted.a 1 3 3', '! ENODATA'],
    ['setxattr f trusted.a 1 3 0', '= 0'],
    ['setxattr f trusted.a 1 3 3', '! EEXIST'],
  ]);

  await script('writing and owning take capabilities away', 'xattrs', [
    ['open 0 f rw|creat 0755', '= 0'],
    // A capability for nothing: struct vfs_cap_data of version 2.
    ['setcap f', '= 0'],
    ['listxattr f', '= 1 security.capability'],
    ['write 0 1 5', '= 5'],
    ['fsync 0', '= 0'],
    ['listxattr f', '= 0'],
    ['setcap f', '= 0'],
    ['chown f 1 1', '= 0'],
    ['listxattr f', '= 0'],
    ['setcap f', '= 0'],
    ['truncate f 2', '= 0'],
    ['listxattr f', '= 0'],
  ]);

  await script('chown takes privileges from all but directories', 'specialFiles', [
    ['mknod p 010666 0 0', '= 0'],
    ['chmod p 06555', '= 0'],
    ['chown p 1 1', '= 0'],
    ['stat p', '= mode 10555 nlink 1 uid 1 gid 1 size 0 rdev 0,0'],
    ['mkdir d 0755', '= 0'],
    ['chmod d 06555', '= 0'],
    ['chown d 1 1', '= 0'],
    ['stat d', '= mode 46555 nlink 2 uid 1 gid 1 size 0 rdev 0,0'],
  ]);

  await script('O_DIRECT, O_SYNC, O_EXCL, O_TRUNC, O_NOFOLLOW', null, [
    ['open 0 f rw|creat|excl|sync 0644', '= 0'],
    ['open 1 f rw|creat|excl 0644', '! EEXIST'],
    ['write 0 1 5000', '= 5000'],
    ['open 2 f rw|direct', '= 0'],
    ['pwrite 2 4096 9 4096', '= 4096'],
    ['fstat 2', stat('100644', 8192)],
    ['open 3 f w|trunc', '= 0'],
    ['fstat 2', stat('100644', 0)],
    ['symlink f l', '= 0'],
    ['open 4 l r|nofollow', '! ELOOP'],
    ['open 4 f r|dir', '! ENOTDIR'],
    ['fdatasync 0', '= 0'],
    ['syncfs 0', '= 0'],
  ]);

  await t.test(
    'a current directory that is removed stays where it is',
    { skip: !bench.capabilities.removedDirectories && 'removedDirectories: not with this adapter' },
    async (t) => {
      const calls = new SystemCalls(bench.program, await bench.directoryFor('current'));
      t.teardown(() => calls.end());
      const answers = async (steps: readonly Step[]) => {
        for (const [call, answer] of steps) {
          t.equal(comparable(await calls.call(call)), answer, call);
        }
      };
      await answers([
        ['mkdir d 0755', '= 0'],
        ['chdir d', '= 0'],
        ['rmdir ../d', '= 0'],
      ]);
      // Until every mount has said what it holds.
      await new Promise((resolve) => setTimeout(resolve, 3 * KEEP_ALIVE_MS));
      await answers([
        ['stat .', '= mode 40755 nlink 0 uid 0 gid 0 size 0 rdev 0,0'],
        ['list .', '= 0'],
        ['mkdir x 0755', '! ENOENT'],
        ['chdir /', '= 0'],
      ]);
    },
  );

  await t.test(
    'the time of birth',
    { skip: !bench.capabilities.birthTime && 'birthTime: not with this adapter' },
    async (t) => {
      const directory = await bench.directoryFor('birth');
      await sh(`touch -d 2001-02-03 ${directory}/f`);
      const calls = new SystemCalls(bench.program, directory);
      t.teardown(() => calls.end());
      const [, m = '', b = ''] =
        / m ([0-9.]+) .* b ([0-9.]+)/.exec(await calls.call('stat f')) ?? [];
      t.ok(Number(b) > Number(m) && Number(b) <= Date.now() / 1000 + 1);
      t.match(await calls.call('stat f'), / btime 1$/);
    },
  );
}

/** Of a file of root's. */
function stat(mode: string, size: number, links = 1): string {
  return `= mode ${mode} nlink ${links} uid 0 gid 0 size ${size} rdev 0,0`;
}
