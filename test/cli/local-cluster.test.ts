import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { anyPorts, LocalCluster } from '../../src/cli/local-cluster.js';
import { keepMadeFor } from '../../src/cli/made-for.js';

t.test('a start that is interrupted goes no further, and is no start', async (t) => {
  const data = t.testdir();
  const silent = join(data, 'silent.mjs');
  writeFileSync(silent, 'process.stdin.resume();');
  // What is supervised is started by the program's own name.
  process.argv[1] = silent;
  const cluster = new LocalCluster({
    ...{ nodes: 2, data, mounts: join(data, 'mnt'), ports: await anyPorts(2, data) },
    ...{ cluster: 'c', adapter: 'kernel', level: 'strong', deadline: 30_000, locks: 'cluster' },
    ...{ restart: false, stretch: 1, snapshotLogEntries: null, writeConcern: 'majority' },
  });
  t.teardown(() => cluster.stop());
  let interrupt: (why: string) => void = () => {};
  const stop = new Promise<string>((resolve) => {
    interrupt = resolve;
  });
  const started = cluster.start(stop);
  t.ok(cluster.nodes.every(({ state }) => state === 'starting'));
  interrupt('SIGINT');
  t.equal(await started, false);
  t.notOk(existsSync(join(data, 'up.json')));
  t.ok(cluster.mounts.every(({ pid }) => pid === undefined));
});

t.test('ports that were chosen once stay those of the directory', async (t) => {
  const data = t.testdir();
  const addresses = ['127.0.0.1:20001', '127.0.0.1:20003'];
  await keepMadeFor(data, { cluster: 'c', nodes: addresses });
  const { nodes, control } = await anyPorts(2, data);
  t.strictSame(nodes, [20_001, 20_003]);
  t.equal(new Set([control?.director, ...(control?.nodes ?? [])]).size, 3);
  t.notMatch((await anyPorts(3, data)).nodes, [20_001, 20_003]);
});
