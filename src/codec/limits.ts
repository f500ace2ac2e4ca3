import { COMMAND_NAME_BYTES_MAX, WRITE_BYTES_MAX } from '../filesystem/records.js';

/**
 * Bounds of what one message may carry. They keep memory bounded; what a name or a file may be is
 * the state machine's to say, so that a program gets its errno and not a broken connection.
 */

/** One frame on the wire: an append full of entries and one largest write behind them, with room to grow. */
export const FRAME_BYTES_MAX = 8 * 1024 * 1024;

/** One frame from a client: its largest command is one write. */
export const CLIENT_FRAME_BYTES_MAX = 2 * 1024 * 1024;

/** Effects in one watch event; a node that has more sends several events, or a reset. */
export const EFFECTS_MAX = 16_384;

/** Names of one inode's extended attributes: all of them live in one record of 256 KiB. */
export const XATTR_NAMES_MAX = 262_144;

/** Entries in one append; a smallest entry takes some 20 bytes, so a full append of 1 MiB has fewer. */
export const APPEND_ENTRIES_MAX = 65_536;

/** One entry's data: the largest command and what surrounds it. */
export const ENTRY_BYTES_MAX = WRITE_BYTES_MAX + 4 * COMMAND_NAME_BYTES_MAX;

/** One chunk of a snapshot: the largest record, a session with all that it may hold, and a header. */
export const SNAPSHOT_CHUNK_BYTES_MAX = 1_048_576;

/** Names of clusters, nodes and clients; a mount's is its place, which may be as long as PATH_MAX. */
export const LABEL_CHARS_MAX = 4_096;

/** `host:port`. */
export const ADDRESS_CHARS_MAX = 300;

/** A refusal's sentence; longer ones are cut when they are sent. */
export const SENTENCE_CHARS_MAX = 1_024;

/** Sessions, peers and followers in a status. */
export const STATUS_ITEMS_MAX = 65_536;
