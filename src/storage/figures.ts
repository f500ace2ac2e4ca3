/** What a store can tell about itself, for monitoring: names as RocksDB's properties, without the prefix. */
export interface StoreFigures {
  /** Empty while it is not open. */
  figures(): Readonly<Record<string, number>>;
}
