import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Test } from 'tap';
import type { MountCapabilities } from '../../src/mount/mount.js';
import type { Adapter } from '../support/mount-server.js';
import {
  inProcess,
  isMounted,
  type MountServer,
  mounted,
  mountPoint,
  mountsLack,
  type Outcome,
  type RunOptions,
  run,
  MountServer as Server,
  scriptOf,
  sh,
  start,
  type Work,
} from '../support/mounted.js';
import { buildSyscalls } from '../support/syscalls.js';
import { until } from '../support/until.js';
import { mountedCalls } from './mount-calls.js';

export interface MountSubject {
  /** The main program of a process that serves a mount, see test/support/mount-server.ts. */
  readonly serverModule: URL;
  readonly adapter: Adapter;
}

interface Bench {
  readonly server: MountServer;
  readonly capabilities: MountCapabilities;
}

const NOBODY = { uid: 65_534, gid: 65_534 };

/** Numbers of system calls without a program of their own in base systems; perl is in all of them. */
const SYSCALLS: Readonly<Record<string, { readonly renameat2: number; readonly xattr: number }>> = {
  x64: { renameat2: 316, xattr: 188 },
  arm64: { renameat2: 276, xattr: 5 },
};

/**
 * What a mounted directory must do, whatever serves it. All work on the mount is done by other
 * processes. What an adapter declares that it cannot do is skipped, visibly.
 */
export async function mountConformance(t: Test, subject: MountSubject): Promise<void> {
  const directory = await mountPoint(t);
  const made = await mounted(t, subject.serverModule, subject.adapter, directory);
  if (typeof made === 'string') {
    const lacking = await mountsLack(subject.adapter);
    if (lacking === null) t.fail(made);
    else skipped(t, `${lacking}: ${made}`);
    return;
  }
  await onOneMount(t, made);
  await mountsAndUnmounts(t, subject);
}

/** All tests that share one mount, each in a directory of its own. */
async function onOneMount(t: Test, { server, capabilities }: Bench): Promise<void> {
  const top = server.directory;
  const directoryFor = async (name: string) => {
    const path = join(top, name);
    // From another process: this one shares nothing with the server, but keeps to the rule.
    await sh(`mkdir "${path}" && chmod 777 "${path}"`);
    return path;
  };
  const test = (
    name: string,
    work: (t: Test, options: { readonly cwd: string }) => Promise<void>,
    needs: keyof MountCapabilities | null = null,
  ) => {
    const skip = needs !== null && !capabilities[needs] && `${needs}: not with this adapter`;
    return t.test(name, { skip }, async (t) =>
      work(t, { cwd: await directoryFor(name.replace(/\W+/g, '-')) }),
    );
  };
  /** Most tests are one piece of work with assertions of its own. */
  const works = (name: string, work: Work, needs: keyof MountCapabilities | null = null) =>
    test(name, async (t, options) => succeeded(t, await inProcess(work, options)), needs);

  const program = await buildSyscalls(t);
  if (program === null) skipped(t, 'system calls: needs a C compiler (cc)');
  else await mountedCalls(t, { directoryFor, capabilities, program });

  await works('create, read, write, append, truncate', (fs, assert) => {
    fs.writeFileSync('a', 'hello');
    assert.equal(fs.readFileSync('a', 'utf8'), 'hello');
    fs.appendFileSync('a', ' world');
    assert.equal(fs.readFileSync('a', 'utf8'), 'hello world');
    assert.throws(() => fs.openSync('a', 'wx'), { code: 'EEXIST' });
    const fd = fs.openSync('a', 'r+');
    fs.writeSync(fd, 'J', 0);
    fs.ftruncateSync(fd, 5);
    assert.equal(fs.fstatSync(fd).size, 5);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    assert.equal(fs.readFileSync('a', 'utf8'), 'Jello');
    fs.truncateSync('a', 8);
    assert.equal(fs.readFileSync('a', 'latin1'), 'Jello\0\0\0');
    fs.closeSync(fs.openSync('a', 'w'));
    assert.equal(fs.statSync('a').size, 0);
    assert.throws(() => fs.readFileSync('missing'), { code: 'ENOENT' });
    assert.throws(() => fs.openSync('a/b', 'w'), { code: 'ENOTDIR' });
    assert.throws(() => fs.openSync('.', 'w'), { code: 'EISDIR' });
  });

  await works('holes read as zeros', (fs, assert) => {
    const fd = fs.openSync('sparse', 'w+');
    fs.writeSync(fd, 'end', 1_000_000);
    const bytes = Buffer.alloc(1_000_003, 1);
    assert.equal(fs.readSync(fd, bytes, 0, bytes.length, 0), bytes.length);
    assert.ok(bytes.subarray(0, 1_000_000).every((byte) => byte === 0));
    assert.equal(bytes.toString('latin1', 1_000_000), 'end');
    fs.closeSync(fd);
  });

  await works('large and odd writes come back byte for byte', (fs, assert) => {
    const bytes = Buffer.alloc(9_000_001);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + (i >>> 11)) & 255;
    const fd = fs.openSync('big', 'w');
    let at = 0;
    for (const size of [1, 4095, 4097, 65_536, 131_073, 1_048_576, 1_048_577, 3_000_000]) {
      at += fs.writeSync(fd, bytes, at, size, at);
    }
    while (at < bytes.length) at += fs.writeSync(fd, bytes, at, bytes.length - at, at);
    fs.closeSync(fd);
    assert.ok(fs.readFileSync('big').equals(bytes));
    const part = Buffer.alloc(300_000);
    const again = fs.openSync('big', 'r');
    assert.equal(fs.readSync(again, part, 0, part.length, 4_194_301), part.length);
    assert.ok(part.equals(bytes.subarray(4_194_301, 4_494_301)));
    assert.equal(fs.readSync(again, part, 0, part.length, 9_000_001), 0);
    fs.closeSync(again);
  });

  await test('many writers at once', async (t, options) => {
    const script = 'for i in 1 2 3 4 5 6 7 8 9 10; do echo "$0 $i" >> all; echo $i >> own-$0; done';
    const writers = [1, 2, 3, 4, 5, 6].map((n) => run('sh', ['-euc', script, `w${n}`], options));
    for (const writer of await Promise.all(writers)) succeeded(t, writer);
    const lines = (await sh('sort all | uniq | wc -l; wc -l < own-w3', options)).stdout;
    t.equal(lines.replace(/\s+/g, ' ').trim(), '60 10', 'no line is lost');
  });

  await works('directories: mkdir, rmdir, rename', (fs, assert) => {
    fs.mkdirSync('a/b/c', { recursive: true });
    assert.throws(() => fs.mkdirSync('a'), { code: 'EEXIST' });
    assert.throws(() => fs.rmdirSync('a'), { code: 'ENOTEMPTY' });
    assert.throws(() => fs.unlinkSync('a'), { code: /EISDIR|EPERM/ });
    assert.equal(fs.statSync('a').nlink, 3);
    fs.writeFileSync('a/f', 'f');
    fs.renameSync('a/f', 'a/b/c/g');
    assert.deepEqual(fs.readdirSync('a/b/c'), ['g']);
    fs.writeFileSync('old', 'old');
    fs.renameSync('a/b/c/g', 'old');
    assert.equal(fs.readFileSync('old', 'utf8'), 'f');
    fs.renameSync('a/b', 'b');
    assert.deepEqual(fs.readdirSync('.').sort(), ['a', 'b', 'old']);
    assert.throws(() => fs.renameSync('b', 'b/c/d'), { code: 'EINVAL' });
    assert.throws(() => fs.renameSync('old', 'a'), { code: 'EISDIR' });
    fs.mkdirSync('a/full');
    assert.throws(() => fs.renameSync('b', 'a'), { code: 'ENOTEMPTY' });
    fs.rmdirSync('a/full');
    fs.renameSync('b', 'a');
    assert.equal(fs.realpathSync('a/c/../..'), process.cwd());
    fs.rmSync('a', { recursive: true });
    assert.deepEqual(fs.readdirSync('.'), ['old']);
  });

  await test(
    'rename with NOREPLACE and EXCHANGE',
    async (t, options) => {
      const call = SYSCALLS[process.arch]?.renameat2;
      if (call === undefined || !(await hasPerl())) {
        skipped(t, 'needs perl and a known machine');
        return;
      }
      const rename = (from: string, to: string, flags: number) =>
        perl([call, -100, `'${from}'`, -100, `'${to}'`, flags], options);
      await sh('echo a > a; echo b > b', options);
      t.match((await rename('a', 'b', 1)).stdout, 'EEXIST');
      t.match((await rename('a', 'c', 1)).stdout, 'ok');
      t.match((await rename('c', 'b', 2)).stdout, 'ok');
      t.equal((await sh('cat c b', options)).stdout, 'b\na\n', 'exchanged');
      t.match((await rename('c', 'missing', 2)).stdout, 'ENOENT');
    },
    'renameFlags',
  );

  await works('hard links and symbolic links', (fs, assert) => {
    fs.writeFileSync('a', 'one');
    fs.linkSync('a', 'b');
    assert.equal(fs.statSync('b').nlink, 2);
    assert.throws(() => fs.linkSync('a', 'b'), { code: 'EEXIST' });
    fs.writeFileSync('b', 'two');
    assert.equal(fs.readFileSync('a', 'utf8'), 'two');
    fs.unlinkSync('a');
    assert.equal(fs.statSync('b').nlink, 1);
    fs.symlinkSync('b', 'link');
    assert.equal(fs.readlinkSync('link'), 'b');
    assert.equal(fs.readFileSync('link', 'utf8'), 'two');
    assert.equal(fs.lstatSync('link').size, 1);
    const long = 'x/'.repeat(2000);
    fs.symlinkSync(long, 'long');
    assert.equal(fs.readlinkSync('long'), long);
    fs.symlinkSync('loop', 'loop');
    assert.throws(() => fs.readFileSync('loop'), { code: 'ELOOP' });
  });

  await works(
    'names of one file have one inode number',
    (fs, assert) => {
      fs.writeFileSync('a', '');
      fs.linkSync('a', 'b');
      assert.equal(fs.statSync('a').ino, fs.statSync('b').ino);
    },
    'hardLinkIdentity',
  );

  await works(
    'an unlinked file lives until it is closed',
    (fs, assert) => {
      const fd = fs.openSync('a', 'w+');
      fs.writeSync(fd, 'still here');
      fs.unlinkSync('a');
      assert.throws(() => fs.statSync('a'), { code: 'ENOENT' });
      const bytes = Buffer.alloc(10);
      assert.equal(fs.readSync(fd, bytes, 0, 10, 0), 10);
      assert.equal(bytes.toString(), 'still here');
      fs.writeSync(fd, 'more', 10);
      assert.equal(fs.fstatSync(fd).size, 14);
      fs.closeSync(fd);
    },
    'openUnlinked',
  );

  await works('listing while removing neither skips nor repeats', (fs, assert) => {
    const count = 1000;
    for (let i = 0; i < count; i++) fs.writeFileSync(`file-${i}`, '');
    const seen = new Set();
    const directory = fs.opendirSync('.', { bufferSize: 16 });
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      assert.ok(!seen.has(entry.name), `${entry.name} comes once`);
      seen.add(entry.name);
      assert.ok(entry.isFile());
      fs.unlinkSync(entry.name);
    }
    directory.closeSync();
    assert.equal(seen.size, count);
    assert.deepEqual(fs.readdirSync('.'), []);
  });

  await works('chmod, chown, and times that follow', (fs, assert) => {
    fs.writeFileSync('a', '');
    fs.chmodSync('a', 0o4711);
    assert.equal(fs.statSync('a').mode, 0o104711);
    fs.chownSync('a', 12, 34);
    assert.equal(fs.statSync('a').uid, 12);
    assert.equal(fs.statSync('a').gid, 34);
    assert.equal(fs.statSync('a').mode & 0o4000, 0, 'chown clears set-user-ID');
    fs.symlinkSync('a', 'link');
    fs.lchownSync('link', 5, 6);
    assert.equal(fs.lstatSync('link').uid, 5);
    assert.equal(fs.statSync('a').uid, 12);
    process.umask(0o027);
    fs.writeFileSync('masked', '');
    fs.mkdirSync('masked-directory');
    assert.equal(fs.statSync('masked').mode & 0o777, 0o640);
    assert.equal(fs.statSync('masked-directory').mode & 0o777, 0o750);
    const before = fs.statSync('a', { bigint: true });
    fs.appendFileSync('a', 'x');
    const after = fs.statSync('a', { bigint: true });
    assert.ok(after.mtimeNs >= before.mtimeNs);
    assert.ok(after.ctimeNs >= before.ctimeNs);
  });

  await test(
    'times to the nanosecond, each by itself',
    async (t, options) => {
      await sh('touch -d "2001-02-03 04:05:06.123456789 UTC" a', options);
      await sh('touch -a -d "1969-12-31 23:59:58.5 UTC" a', options);
      const { stdout } = await sh('TZ=UTC0 stat -c "%x %y" a', options);
      t.equal(
        stdout.trim(),
        '1969-12-31 23:59:58.500000000 +0000 2001-02-03 04:05:06.123456789 +0000',
      );
    },
    'setTimes',
  );

  await test(
    'new inodes belong to the caller, and a stranger clears set-user-ID',
    async (t, options) => {
      await sh('echo x > tool; chmod 6777 tool; mkdir -m 3777 shared; chgrp 42 shared', options);
      const script =
        'echo y >> tool; touch own; mkdir own-d; touch shared/f; mkdir shared/d; ln -s x s';
      const stranger = { ...options, ...NOBODY };
      succeeded(t, await sh(script, stranger));
      const { stdout } = await sh(
        'stat -c "%n %a %u %g %s" tool own own-d s shared/f shared/d | sed "s/ [0-9]*$//"',
        options,
      );
      // With %s: the kernel asks again after a write only for what a write changes by itself.
      t.same(stdout.trim().split('\n'), [
        'tool 777 0 0',
        'own 644 65534 65534',
        'own-d 755 65534 65534',
        's 777 65534 65534',
        'shared/f 644 65534 42',
        'shared/d 2755 65534 42',
      ]);
      await sh('echo secret > secret; chmod 600 secret; chmod 6755 tool', options);
      t.not((await sh('cat secret', stranger)).status, 0, 'the kernel checks permissions');
    },
    'callerOwnership',
  );

  await test(
    'extended attributes',
    async (t, options) => {
      const call = SYSCALLS[process.arch]?.xattr;
      if (call === undefined || !(await hasPerl())) {
        skipped(t, 'needs perl and a known machine');
        return;
      }
      await sh('touch a', options);
      const set = (name: string, value: string, flags: number) =>
        perl([call, "'a'", `'${name}'`, `'${value}'`, value.length, flags], options);
      const get = (name: string, size = 100) =>
        perl([call + 3, "'a'", `'${name}'`, `'.' x ${size}`, size], options, 2);
      t.match((await set('user.one', 'eins', 0)).stdout, 'ok');
      t.match((await get('user.one')).stdout, 'eins=');
      t.match((await set('user.one', 'x', 1)).stdout, 'EEXIST');
      t.match((await set('user.two', 'x', 2)).stdout, 'ENODATA');
      t.match((await set('user.two', '', 1)).stdout, 'ok');
      t.match((await get('user.one', 2)).stdout, 'ERANGE');
      t.match((await get('user.none')).stdout, 'ENODATA');
      const list = await perl([call + 6, "'a'", "'.' x 100", 100], options, 1);
      t.match(list.stdout, 'user.one user.two=');
      t.match((await perl([call + 9, "'a'", "'user.one'"], options)).stdout, 'ok');
      t.match((await get('user.one')).stdout, 'ENODATA');
    },
    'xattrs',
  );

  await test(
    'FIFOs, sockets and devices',
    async (t, options) => {
      const { stdout } = await sh(
        'mkfifo -m 640 fifo; mknod dev c 1 3; mknod block b 259 70000; stat -c "%F %a %t %T" fifo dev block; (echo through > fifo &); cat fifo',
        options,
      );
      t.same(stdout.trim().split('\n'), [
        'fifo 640 0 0',
        'character special file 644 1 3',
        'block special file 644 103 11170',
        'through',
      ]);
      const listening = await inProcess(async (fs, assert) => {
        const net = await import('node:net');
        const server = net.createServer();
        await new Promise<void>((resolve) => server.listen('socket', resolve));
        assert.ok(fs.statSync('socket').isSocket());
        server.close();
      }, options);
      succeeded(t, listening);
    },
    'specialFiles',
  );

  await works('statfs has figures', (fs, assert) => {
    const figures = fs.statfsSync('.');
    assert.ok(figures.blocks > 0);
    assert.ok(figures.bfree > 0 && figures.bfree <= figures.blocks);
    assert.ok(figures.files > 0);
  });

  await works('names of 255 bytes, and no longer', (fs, assert) => {
    const longest = `${'ä'.repeat(127)}x`;
    fs.writeFileSync(longest, 'long');
    assert.deepEqual(fs.readdirSync('.'), [longest]);
    assert.equal(fs.readFileSync(longest, 'utf8'), 'long');
    for (const make of [
      () => fs.writeFileSync(`${longest}x`, ''),
      () => fs.mkdirSync(`${longest}x`),
      () => fs.renameSync(longest, `${longest}x`),
      () => fs.symlinkSync('a', `${longest}x`),
      () => fs.statSync(`${longest}x`),
    ]) {
      assert.throws(make, { code: 'ENAMETOOLONG' });
    }
    assert.throws(() => fs.mkdirSync('.'), { code: 'EEXIST' });
    assert.throws(() => fs.rmdirSync('.'), { code: 'EINVAL' });
    assert.throws(() => fs.renameSync(longest, '..'), { code: /EBUSY|EISDIR|EEXIST|ENOTEMPTY/ });
    fs.writeFileSync(' sp ace\n"\\*', 'odd');
    assert.equal(fs.readFileSync(' sp ace\n"\\*', 'utf8'), 'odd');
  });

  await works(
    'names that are not UTF-8',
    (fs, assert) => {
      const name = Buffer.from([0xff, 0xfe, 0x80, 0x41]);
      fs.writeFileSync(name, 'bytes');
      assert.deepEqual(fs.readdirSync('.', { encoding: 'buffer' }), [name]);
      assert.equal(fs.readFileSync(name, 'utf8'), 'bytes');
      const other = Buffer.from([0xc3, 0x28]);
      fs.renameSync(name, other);
      fs.symlinkSync(name, 'link');
      assert.deepEqual(fs.readlinkSync('link', { encoding: 'buffer' }), name);
      fs.unlinkSync(other);
    },
    'nonUtf8Names',
  );

  await test('a program and its library run from the mount (mmap)', async (t, options) => {
    succeeded(t, await sh('cp "$(command -v sort)" mysort; printf "b\\na\\n" | ./mysort', options));
  });

  await test('trees are copied, compared and removed', async (t, options) => {
    const source = await mkdtemp(join(tmpdir(), 'mootfs-tree-'));
    t.teardown(() => rm(source, { recursive: true }));
    for (let i = 0; i < 20; i++) {
      await mkdir(join(source, `d${i}`));
      for (let j = 0; j < 10; j++) {
        await writeFile(join(source, `d${i}`, `f${j}`), Buffer.alloc(i * j * 997, `${i}-${j}`));
      }
    }
    const outcome = await sh(
      `cp -a ${source} copy; diff -r ${source} copy; tar cf t.tar copy; mkdir out; tar xf t.tar -C out; diff -r copy out/copy; find copy -type f | wc -l; rm -rf copy out t.tar; ls -A`,
      options,
    );
    succeeded(t, outcome);
    t.equal(outcome.stdout.trim(), '200');
  });

  await t.test('Ctrl-C and SIGKILL end a program that waits', async (t) => {
    const options = { cwd: await directoryFor('signals') };
    await sh('echo x > a', options);
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      if (!capabilities.interrupt) {
        skipped(t, `${signal}: interrupt is not with this adapter`);
        continue;
      }
      await server.ask({ type: 'pause' });
      const reached = server.heard('waiting');
      const waiting = start('cat', [join(options.cwd, 'a'), join(options.cwd, 'b')]);
      t.teardown(() => waiting.child.kill('SIGKILL'));
      await reached;
      waiting.child.kill(signal);
      t.equal((await waiting.ended).signal, signal, `${signal} ends it while operations wait`);
      await server.ask({ type: 'resume' });
    }
    t.equal((await sh('cat a', options)).stdout, 'x\n', 'the mount goes on');
    if (capabilities.interrupt && (await hasPerl())) {
      await server.ask({ type: 'pause' });
      const reached = server.heard('waiting');
      const script = '$SIG{INT} = sub {}; print sysopen(my $f, $ARGV[0], 0) ? "opened" : $!{EINTR}';
      const waiting = start('perl', ['-MErrno', '-e', script, join(options.cwd, 'a')]);
      t.teardown(() => waiting.child.kill('SIGKILL'));
      await reached;
      waiting.child.kill('SIGINT');
      t.equal((await waiting.ended).stdout, '4', 'a program that goes on is told EINTR');
      await server.ask({ type: 'resume' });
    }
  });

  await t.test(
    'a change from elsewhere reaches a file that is open',
    { skip: !capabilities.notify && 'notify: not with this adapter' },
    async (t) => {
      await sh(`echo before > ${top}/shared-file`);
      const [flag, script] = scriptOf(async (fs, assert) => {
        const fd = fs.openSync('shared-file', 'r');
        const read = () => {
          const bytes = Buffer.alloc(6);
          fs.readSync(fd, bytes, 0, 6, 0);
          return bytes.toString();
        };
        assert.equal(read(), 'before');
        console.log('cached');
        while (read() !== 'after!') await new Promise((resolve) => setTimeout(resolve, 10));
      });
      const reader = start(process.execPath, [flag ?? '', script ?? ''], { cwd: top });
      await until('it has read', () => reader.stdout().includes('cached'));
      await server.ask({ type: 'overwrite', name: 'shared-file', text: 'after!' });
      succeeded(t, await reader.ended);
    },
  );
}

/** Tests with mounts of their own. */
async function mountsAndUnmounts(t: Test, subject: MountSubject): Promise<void> {
  const { serverModule, adapter } = subject;

  await t.test('unmount while programs use it', async (t) => {
    const directory = await mountPoint(t);
    const { server } = await mustMount(t, subject, directory);
    const user = start('sh', ['-c', 'echo x > a; exec 9< a; echo ready; exec sleep 60'], {
      cwd: directory,
    });
    t.teardown(() => user.child.kill('SIGKILL'));
    await until('the file is open', () => user.stdout().includes('ready'));
    await server.stop();
    t.equal(server.process.exitCode, 0, 'the server ends by itself');
    t.notOk(await isMounted(directory));
  });

  await t.test('umount by somebody else ends the server', async (t) => {
    const directory = await mountPoint(t);
    const { server } = await mustMount(t, subject, directory);
    succeeded(t, await run('umount', ['-i', '--', directory]));
    await server.exited;
    t.equal(server.process.exitCode, 0);
  });

  await t.test(
    'kill -9 of the server: programs get errors, and the next mount works',
    async (t) => {
      const directory = await mountPoint(t);
      const { server } = await mustMount(t, subject, directory);
      await sh('echo x > a', { cwd: directory });
      const user = start('sh', ['-c', 'exec 9< a; echo ready; exec sleep 60'], { cwd: directory });
      t.teardown(() => user.child.kill('SIGKILL'));
      await until('the file is open', () => user.stdout().includes('ready'));
      await server.kill();
      t.match((await sh(`ls ${directory}`)).stderr, 'not connected');
      const again = await mustMount(t, subject, directory);
      succeeded(t, await sh('echo y > b; cat b', { cwd: directory }));
      user.child.kill('SIGKILL');
      await user.ended;
      await again.server.stop();
      t.notOk(await isMounted(directory));
    },
  );

  await t.test('a server that crashes leaves no waiting process', async (t) => {
    const directory = await mountPoint(t);
    for (const end of ['crash', 'kill'] as const) {
      const { server } = await mustMount(t, subject, directory);
      await server.ask({ type: 'pause' });
      const reached = server.heard('waiting');
      const waiting = start('sh', ['-c', `echo x > ${join(directory, 'a')}`]);
      t.teardown(() => waiting.child.kill('SIGKILL'));
      await reached;
      if (end === 'crash') server.process.send({ type: 'crash' });
      else server.process.kill('SIGKILL');
      await server.exited;
      t.not(server.process.exitCode, 0);
      const { status, signal } = await waiting.ended;
      t.same({ status, signal }, { status: 2, signal: null }, 'it is told of an error');
    }
    await mustMount(t, subject, directory);
  });

  await t.test('what is missing is said', async (t) => {
    const directory = await mountPoint(t);
    const failure = async (at: string) => {
      const server = Server.start(serverModule, adapter, at);
      const answer = await server.ready();
      await server.exited;
      return answer.type === 'failed' ? `${answer.code} ${answer.message}` : answer.type;
    };
    t.match(await failure(join(directory, 'none')), /MOUNT_UNAVAILABLE .*mkdir/);
    t.match(await failure(process.execPath), /MOUNT_UNAVAILABLE .*not a directory/);
    await mustMount(t, subject, directory);
    t.match(await failure(directory), /MOUNT_UNAVAILABLE .*mounted .*already/);
    t.equal(basename(directory).startsWith('mootfs-mount-'), true);
  });
}

async function mustMount(t: Test, subject: MountSubject, directory: string): Promise<Bench> {
  const made = await mounted(t, subject.serverModule, subject.adapter, directory);
  if (typeof made === 'string') throw new Error(made);
  return made;
}

function skipped(t: Test, reason: string): void {
  t.pass(reason, { skip: reason });
}

function succeeded(t: Test, outcome: Outcome): void {
  t.same({ status: outcome.status, stderr: outcome.stderr }, { status: 0, stderr: '' });
}

async function hasPerl(): Promise<boolean> {
  return (await sh('command -v perl')).status === 0;
}

/**
 * Makes a system call with perl, whose arguments are an expression each: prints `ok`, or the name
 * of the errno; with `printed`, first the bytes that the call wrote to that argument, and '='.
 */
function perl(
  args: readonly (string | number)[],
  options: RunOptions,
  printed?: number,
): Promise<Outcome> {
  const bytes = `join(' ', sort(split(/\\0/, substr($a[${printed}], 0, $n)))), '='`;
  const show = printed === undefined ? '' : `print(${bytes}) if $n >= 0;`;
  const script = `my @a = (${args.join(', ')}); my $n = syscall(shift(@a), @a); ${show}
    if ($n >= 0) { print 'ok' } else { for (keys %!) { print $_ if $!{$_} } }`;
  return run('perl', ['-MErrno', '-e', script], options);
}
