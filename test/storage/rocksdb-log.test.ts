import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { testLogStore } from '../conformance/log-store.js';
import { temporaryDirectory } from '../support/directories.js';

testLogStore('rocksdb log', async (t) => {
  const directory = temporaryDirectory(t);
  return { make: () => createRocksLogStore({ directory, mustExist: false }) };
});
