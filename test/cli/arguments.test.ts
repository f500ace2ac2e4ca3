import t from 'tap';
import { bytesOfText } from '../../src/base/byte-text.js';
import { exactArguments } from '../../src/cli/arguments.js';

/** As the kernel has it: what Node was started with, and then the arguments. */
function commandLine(...args: readonly string[]): Buffer {
  return Buffer.from(['node', '--flag', 'mootfs', ...args, ''].join('\0'), 'latin1');
}

const asNode = (text: string) => Buffer.from(text, 'latin1').toString();
const bytesOf = (args: readonly string[]) =>
  args.map((arg) => Buffer.from(bytesOfText(arg)).toString('latin1'));

t.test('bytes that are not UTF-8 are those that were given', async (t) => {
  const given = [
    'rm',
    '/\xff',
    '',
    '/\xfe',
    '/caf\xe9',
    Buffer.from('/é\ufffd').toString('latin1'),
  ];
  const exact = exactArguments(given.map(asNode), () => commandLine(...given));
  t.strictSame(bytesOf(exact), given);
  t.equal(exact[5], '/é\ufffd', 'a replacement character may be meant');
});

t.test('where nobody asks, nothing is read', async (t) => {
  const args = ['put', 'a', '/é'];
  t.equal(
    exactArguments(args, () => t.fail('read') as never),
    args,
  );
});

t.test('what cannot be told for certain is refused', async (t) => {
  for (const line of [
    () => commandLine('rm', '/\xfe', '/b'),
    () => commandLine('/\xff'),
    () => Buffer.from('a title'),
    () => Buffer.alloc(0),
    () => {
      throw new Error('no /proc');
    },
  ]) {
    t.throws(() => exactArguments(['rm', '/a', '/\ufffd'], line), {
      code: 'BAD_ARGUMENT',
      message: /use a mount/,
    });
  }
});
