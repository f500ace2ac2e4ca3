import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { testStateStore } from '../conformance/state-store.js';
import { temporaryDirectory } from '../support/directories.js';

testStateStore('rocksdb tree', async (t) => {
  const directory = temporaryDirectory(t);
  const onFailure = (error: unknown) => t.fail(String(error));
  return { make: () => createRocksStateStore({ directory, mustExist: false, onFailure }) };
});
