/**
 * What goes over the stream at /api/stream, as one JSON text per message. `D` is the server's
 * document, `E` its events.
 */
export type ServerMessage<D, E> =
  | { readonly type: 'document'; readonly document: D }
  /** In order. `lost`: so many events before these went by unsent; the document that follows is newer. */
  | { readonly type: 'events'; readonly lost: number; readonly events: readonly E[] }
  | { readonly type: 'reply'; readonly id: number; readonly value: unknown }
  | {
      readonly type: 'refusal';
      readonly id: number;
      readonly code: string;
      readonly message: string;
    };

export interface ClientCall {
  readonly type: 'call';
  /** The caller's own number, in the answer. */
  readonly id: number;
  readonly call: string;
  readonly params: unknown;
}
