import { MemoryOperations } from './memory-operations.js';
import { serveMount } from './mount-server.js';

await serveMount(new MemoryOperations());
