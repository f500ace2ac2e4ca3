import { serveClusterMount } from './cluster-mount-server.js';

await serveClusterMount('remote');
