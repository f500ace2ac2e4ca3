import t from 'tap';
import { formatAddress, parseAddress } from '../../src/transport/address.js';

t.test('addresses are read and written', async (t) => {
  const good: readonly (readonly [string, string, number])[] = [
    ['127.0.0.1:7101', '127.0.0.1', 7101],
    ['[::1]:1', '::1', 1],
    ['[fe80::1]:65535', 'fe80::1', 65_535],
    ['node-1.example:80', 'node-1.example', 80],
  ];
  for (const [text, host, port] of good) {
    t.strictSame(parseAddress(text), { host, port });
    t.equal(formatAddress({ host, port }), text);
  }
});

t.test('what is no address is refused with what was given', async (t) => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ['', /'' has no port/],
    ['localhost', /'localhost' has no port/],
    [':7101', /has no host/],
    ['a:0', /no port from 1 to 65535/],
    ['a:65536', /no port from 1 to 65535/],
    ['a:12x', /no port from 1 to 65535/],
    ['a:', /no port from 1 to 65535/],
    ['::1:7101', /without brackets/],
    ['[::1:7101', /between its brackets/],
    ['[host]:7101', /between its brackets/],
    ['[]:7101', /between its brackets/],
    ['a b:7101', /character/],
    ['[fe80::1%eth0]:7101', /zone/],
    ['[1::2::3]:7101', /between its brackets/],
    ['10.0.0.300:7101', /neither a host name nor an IPv4 address/],
    ['1.2.3.4.5:7101', /neither a host name nor an IPv4 address/],
    ['999999999999:7101', /neither a host name nor an IPv4 address/],
    ['xn--a:7101', /neither a host name/],
    ['http://a:7101', /without brackets/],
    [`${'x'.repeat(400)}:1`, /too long/],
  ];
  for (const [text, message] of bad) {
    t.throws(() => parseAddress(text), { code: 'BAD_ARGUMENT', message });
  }
});
