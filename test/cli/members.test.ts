import t from 'tap';
import {
  isUnspecified,
  parseAddresses,
  parseMember,
  parsePeers,
  reachedAt,
} from '../../src/cli/members.js';

t.test('members, as id=host:port', async (t) => {
  t.strictSame(parsePeers('n1=10.0.0.1:7101,n2=[fe80::1]:7101'), [
    { id: 'n1', address: '10.0.0.1:7101' },
    { id: 'n2', address: '[fe80::1]:7101' },
  ]);
  for (const wrong of ['', 'n1', '=a:1', 'n1=a', 'n1=a:0', 'n1=a:70000', 'n/1=a:1', 'n1=a:1,']) {
    t.throws(() => parsePeers(wrong), { code: 'commander.invalidArgument' }, wrong);
  }
  t.throws(() => parsePeers('n1=a:1,n1=b:1'), /the same id/);
  t.throws(() => parsePeers('n1=a:1,n2=a:1'), /the same address/);
});

t.test('an unspecified address leads nobody here', async (t) => {
  for (const address of ['0.0.0.0:1', '0:1', '[::]:1', '[0:0::0]:1', '[::ffff:0:0]:1']) {
    t.ok(isUnspecified(address), address);
    t.throws(() => parseMember(`n1=${address}`), /nobody else reaches/);
  }
  for (const address of ['10.0.0.0:1', 'zero:1', '[::1]:1', '[fe80::1]:1', 'a_b:1']) {
    t.notOk(isUnspecified(address), address);
    t.equal(parseMember(`n1=${address}`).address, address);
  }
});

t.test('where others reach what listens everywhere', async (t) => {
  t.equal(reachedAt('0.0.0.0:8101', '10.0.0.1:7101'), '10.0.0.1:8101');
  t.equal(reachedAt('[::]:8101', '[fe80::1]:7101'), '[fe80::1]:8101');
  t.equal(reachedAt('10.0.0.2:9000', '10.0.0.1:7101'), '10.0.0.2:9000');
});

t.test('an address that cannot be dialled is refused when it is given', async (t) => {
  t.strictSame(parseAddresses('a:1, [::1]:2'), ['a:1', '[::1]:2']);
  for (const wrong of [
    '10.0.0.256:1',
    '1.2.3.4.5:1',
    '[1:2]:1',
    '[fe80::1%eth0]:1',
    'a:1,',
    'a b:1',
  ]) {
    t.throws(() => parseAddresses(wrong), { code: 'commander.invalidArgument' }, wrong);
  }
});
