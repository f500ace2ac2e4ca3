import { serveClusterMount } from './cluster-mount-server.js';

await serveClusterMount('in-process');
