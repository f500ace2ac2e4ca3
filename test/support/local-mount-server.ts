import { LocalCluster } from './local-client.js';
import { operationsOver, serverParts } from './mount-operations.js';
import { serveMount } from './mount-server.js';

/** Serves a mount of a cluster that is one tree in memory; arguments as in mount-server.ts. */
const cluster = new LocalCluster();
const connect = (name: string) => operationsOver(cluster.connect({ name, keepAliveMs: 200 }));
await serveMount(serverParts(connect('here'), connect('elsewhere')));
