import t from 'tap';
import { isFilesystemErrorCode, MootError } from '../../src/base/errors.js';

t.test(
  'what can only be a mistake or a trouble says where it came from, a result does not',
  async (t) => {
    const { stackTraceLimit } = Error;
    t.notMatch(new MootError('ENOENT', 'no such name').stack, /\n/);
    t.match(new MootError('DISK_FAILED', 'the disk').stack, /errors\.test/);
    t.equal(Error.stackTraceLimit, stackTraceLimit);
  },
);

t.test('codes of results', async (t) => {
  t.ok(isFilesystemErrorCode('ESTALE'));
  t.notOk(isFilesystemErrorCode('NO_LEADER'));
  t.notOk(isFilesystemErrorCode('constructor'));
});
