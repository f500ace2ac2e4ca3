import path = require('node:path');
import url = require('node:url');
import zlib = require('node:zlib');

/*
 * The entry point is CommonJS on purpose: libuv fixes the size of its thread pool at the first use,
 * and loading an ES module already uses it. Each reader of /dev/fuse parks one thread for good, so
 * the pool must have room for the readers and for the real file work beside them: with fewer threads
 * than readers a mount would hang.
 */
const THREADS_MIN = 16;
/** As in package.json. */
const NODE_MIN = [20, 19] as const;
/** A prerequisite is missing; see exit.ts. */
const EXIT_PREREQUISITE = 5;

/** cli/main.ts and all that it needs, as scripts/build-bundles.mjs puts it together. */
interface Bundle {
  main(): Promise<void>;
}

// msgpackr's native part would read strings in another way (of a byte order mark, for one) than msgpackr does
// where that part is missing; and all nodes must read the same. Our messages have few and short ones.
process.env.MSGPACKR_NATIVE_ACCELERATION_DISABLED = 'true';
if (!(Number(process.env.UV_THREADPOOL_SIZE) >= THREADS_MIN)) {
  process.env.UV_THREADPOOL_SIZE = String(THREADS_MIN);
}
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const tooOld = major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1]);
// Node 21 and the first of 22 lack what 20.19 has.
if (tooOld || !('crc32' in zlib)) {
  console.error(
    `mootfs needs Node ${NODE_MIN.join('.')} or later (of 22: 22.2); this is ${process.version}`,
  );
  process.exitCode = EXIT_PREREQUISITE;
} else {
  const bundle = path.join(__dirname, '../bundle/main.js');
  (import(url.pathToFileURL(bundle).href) as Promise<Bundle>).then(
    ({ main }) => main(),
    (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
}
