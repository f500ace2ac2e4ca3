import type { InitializeHook, LoadHook } from 'node:module';
import type { Mutation } from './mutations.js';

/** Hooks of Node's module loader (node:module, customization hooks): changes one module as it is loaded. */

const BUILT = new URL('../../../', import.meta.url);

let mutation: Mutation | null = null;

export const initialize: InitializeHook<Mutation> = (data) => {
  mutation = data;
};

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  if (mutation === null || url !== new URL(mutation.file, BUILT).href) return loaded;
  const source = Buffer.from(loaded.source as Uint8Array).toString();
  return { ...loaded, source: mutated(source, mutation) };
};

/** Throws when the place is not there, or not the only one. */
export function mutated(source: string, { name, from, to }: Mutation): string {
  const parts = source.split(from);
  if (parts.length !== 2) {
    throw new Error(`'${name}': the code has its place ${parts.length - 1} times`);
  }
  return parts.join(to);
}
