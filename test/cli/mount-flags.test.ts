import t from 'tap';
import { parseMountFlags } from '../../src/cli/mount-flags.js';
import { mountCommandOf } from '../../src/cli/mount-helper.js';

t.test('options of mount(8)', async (t) => {
  const cases: readonly [string, readonly string[], object][] = [
    ['', ['nosuid', 'nodev'], {}],
    ['defaults,_netdev,nofail,x-systemd.automount,comment=shared', ['nosuid', 'nodev'], {}],
    ['ro,noexec', ['nosuid', 'nodev', 'ro', 'noexec'], {}],
    ['dev,suid', ['dev', 'suid'], {}],
    ['suid,nosuid,rw,ro,rw', ['nodev', 'nosuid', 'rw'], {}],
    ['relatime,noatime', ['nosuid', 'nodev', 'noatime'], {}],
    [
      'consistency=session,timeout=2.5,cluster=other,write_through,adapter=fuse-native,log=/a=b',
      ['nosuid', 'nodev'],
      {
        level: 'session',
        deadline: 2_500,
        cluster: 'other',
        writeThrough: true,
        adapter: 'fuse-native',
        log: '/a=b',
      },
    ],
    ['timeout=hard', ['nosuid', 'nodev'], { deadline: Number.POSITIVE_INFINITY }],
  ];
  for (const [text, kernel, settings] of cases) {
    t.same(parseMountFlags(text), { kernel, settings, remount: false }, text);
  }
  t.equal(parseMountFlags('remount,ro').remount, true);
  t.same(parseMountFlags('ro,acl', true).kernel, ['nosuid', 'nodev', 'ro'], 'sloppy');
});

t.test('what is no option is named', async (t) => {
  for (const [text, message] of [
    ['ro,acl', /'acl' is not an option of mounting; there are ro, /],
    ['consistency', /'consistency' is not an option/],
    ['consistency=eventual', /'eventual' is none of strong, session, local/],
    ['timeout=-1', /'-1' is neither a number of seconds/],
    ['cluster=a b', /'a b' is not 1 to 64 characters/],
    ['ro=1', /'ro=1' is not an option/],
    ['toString=1', /'toString=1' is not an option/],
  ] as const) {
    t.throws(() => parseMountFlags(text), { message }, text);
  }
});

t.test('called by mount(8), and by mount.fuse(8)', async (t) => {
  const nodes = '10.0.0.1:7101,[::1]:7102';
  t.same(mountCommandOf(['mount-helper', nodes, '/srv/a b', '-sf', '-o', 'rw,ro']), [
    ...['mount', '--daemon', '--nodes', nodes, '--sloppy', '--fake'],
    ...['--options', 'rw,ro', '/srv/a b'],
  ]);
  const expected = ['mount', '--daemon', '--nodes', nodes, '--options', 'rw', '/srv'];
  t.same(mountCommandOf([nodes, '/srv', '-o', 'rw']), expected);
  const remount =
    'ro,nosuid,nodev,relatime,remount,user_id=0,group_id=0,allow_other,max_read=1048576';
  t.same(
    mountCommandOf(['mootfs', '/srv', '-o', remount]),
    ['mount', '--daemon', '--options', remount, '/srv'],
    'what is mounted',
  );
  t.same(parseMountFlags(remount).kernel, ['ro', 'nosuid', 'nodev', 'relatime']);
  t.equal(mountCommandOf(['mootfs', '/srv', '-o', 'ro']), null, 'but nodes to mount');
  t.equal(mountCommandOf(['mount', '/srv', '-o', 'ro']), null, 'our own command');
  t.equal(mountCommandOf(['ls', '/a:1']), null);
  for (const args of [[], ['-o'], [nodes], [nodes, '/srv', '-x']]) {
    t.throws(() => mountCommandOf(['mount-helper', ...args]), { code: 'BAD_ARGUMENT' });
  }
});
