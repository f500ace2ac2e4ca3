import { register } from 'node:module';
import { MUTATIONS } from './mutations.js';

/** Loaded before the program, by --import: makes the mistake that MOOTFS_MUTATION names. */
const { MOOTFS_MUTATION } = process.env;
const mutation = MUTATIONS.find(({ name }) => name === MOOTFS_MUTATION);
if (mutation === undefined) throw new Error(`there is no mutation '${MOOTFS_MUTATION}'`);
register('./hooks.js', import.meta.url, { data: mutation });
