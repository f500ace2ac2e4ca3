import { execFile, spawnSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const BIN = fileURLToPath(new URL('../../src/cli/bin.cjs', import.meta.url));

/** `mootfs --version`, with this script before it. */
function version(t: Test, script: string, env: NodeJS.ProcessEnv = {}) {
  const file = join(t.testdir(), 'before.cjs');
  writeFileSync(file, script);
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    const options = { env: { ...process.env, ...env } };
    execFile(process.execPath, ['-r', file, BIN, '--version'], options, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

t.test('a Node that is too old is told so in one sentence', async (t) => {
  for (const old of ['18.20.8', '20.18.3']) {
    const script = `Object.defineProperty(process.versions, 'node', { value: '${old}' });`;
    const { code, stdout, stderr } = await version(t, script);
    t.equal(code, 5);
    t.equal(stdout, '');
    t.match(stderr, /^mootfs needs Node 20\.19 or later[^\n]*\n$/);
  }
  const { code, stderr } = await version(t, "delete require('node:zlib').crc32;");
  t.equal(code, 5);
  t.match(stderr, /needs Node/);
});

t.test('the thread pool has room for the readers of a mount', async (t) => {
  const script =
    "process.on('exit', () => console.error('threads', process.env.UV_THREADPOOL_SIZE));";
  for (const [asked, given] of [
    ['4', '16'],
    ['16', '16'],
    ['64', '64'],
    ['many', '16'],
    ['', '16'],
  ]) {
    const { code, stderr } = await version(t, script, { UV_THREADPOOL_SIZE: asked });
    t.equal(code, 0);
    t.match(stderr, new RegExp(`threads ${given}\n`), `asked for '${asked}'`);
  }
});

t.test(
  'a full disk behind an output is said in one sentence, and hides no exit code',
  async (t) => {
    const full = openSync('/dev/full', 'w');
    t.teardown(() => closeSync(full));
    const unsaid = spawnSync(process.execPath, [BIN, '--help'], {
      stdio: ['ignore', full, 'pipe'],
    });
    t.equal(unsaid.status, 1);
    t.match(unsaid.stderr.toString(), /^mootfs: standard output takes no more: ENOSPC[^\n]*\n$/);
    const refused = spawnSync(process.execPath, [BIN, 'node'], { stdio: ['ignore', 'pipe', full] });
    t.equal(refused.status, 2);
  },
);
