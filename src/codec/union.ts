import { MootError } from '../base/errors.js';
import { Reader } from './reader.js';

/** How one type of message is written: `[tag, ...fields]`. Tags are for ever; a new field goes to the end. */
export interface Variant<M, C = undefined> {
  readonly tag: number;
  pack(message: M): readonly unknown[];
  /** `context`: what the receiver knows without being told. */
  unpack(r: Reader, context: C): M;
}

/** One variant for each type of the union: a missing one does not compile. */
export type Variants<U extends { readonly type: string }, C = undefined> = {
  readonly [T in U['type']]: Variant<Extract<U, { readonly type: T }>, C>;
};

export interface UnionCodec<U, C = undefined> {
  pack(message: U): readonly unknown[];
  unpack(packed: unknown, context: C): U;
}

/** `what` is how a message is called when it is refused. */
export function unionCodec<U extends { readonly type: string }, C = undefined>(
  what: string,
  variants: Variants<U, C>,
): UnionCodec<U, C> {
  // The table ties each type to its own variant; the compiler cannot follow that through an index.
  const byType = variants as unknown as Readonly<Record<string, Variant<U, C>>>;
  const byTag: { readonly name: string; readonly variant: Variant<U, C> }[] = [];
  for (const [type, variant] of Object.entries(byType)) {
    if (byTag[variant.tag] !== undefined) throw new Error(`${what}: two types have one tag`);
    byTag[variant.tag] = { name: `${what} ${type}`, variant };
  }
  return {
    pack(message) {
      const variant = byType[message.type] as Variant<U, C>;
      return [variant.tag, ...variant.pack(message)];
    },
    unpack(packed, context) {
      if (!Array.isArray(packed)) throw new MootError('BAD_MESSAGE', `${what} is not an array`);
      const tag: unknown = packed[0];
      const entry = typeof tag === 'number' ? byTag[tag] : undefined;
      if (entry === undefined) {
        throw new MootError('BAD_MESSAGE', `${what}.type ${printable(tag)} is unknown`);
      }
      const r = new Reader(packed, entry.name);
      r.any('type');
      return entry.variant.unpack(r, context);
    },
  };
}

function printable(tag: unknown): string {
  return typeof tag === 'number' ? String(tag) : `(${tag === null ? 'null' : typeof tag})`;
}
