import {
  createMemoryLogStore,
  createMemoryStateStore,
  MemoryDisk,
} from '../../src/storage/memory.js';
import { testLogStore } from '../conformance/log-store.js';
import { testStateStore } from '../conformance/state-store.js';

testLogStore('memory log', async () => {
  const disk = new MemoryDisk();
  return { make: () => createMemoryLogStore(disk) };
});

testStateStore('memory tree', async () => {
  const disk = new MemoryDisk();
  return { make: () => createMemoryStateStore(disk) };
});
