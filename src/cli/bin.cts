/*
 * The entry point is CommonJS on purpose: libuv fixes the size of its thread pool at the first use,
 * and loading an ES module already uses it. Each reader of /dev/fuse parks one thread for good, so
 * the pool must have room for the readers and for the real file work beside them.
 */
process.env.UV_THREADPOOL_SIZE ??= '16';
import('./main.js').then(
  ({ main }) => main(),
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
