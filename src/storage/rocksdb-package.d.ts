/** The part of the `rocksdb` package (5.2.1, an abstract-leveldown) that rocksdb.ts uses. */
declare module 'rocksdb' {
  type Callback<T extends unknown[] = []> = (error: Error | null, ...results: T) => void;

  interface OpenOptions {
    createIfMissing?: boolean;
    compression?: boolean;
    cacheSize?: number;
    writeBufferSize?: number;
    blockSize?: number;
    maxOpenFiles?: number;
    readOnly?: boolean;
  }

  interface IteratorOptions {
    gte?: Buffer;
    values?: boolean;
    limit?: number;
    fillCache?: boolean;
    highWaterMark?: number;
  }

  interface BatchOperation {
    type: 'put' | 'del';
    key: Buffer;
    value?: Buffer;
  }

  interface Iterator {
    next(callback: (error: Error | null, key?: Buffer, value?: Buffer) => void): void;
    end(callback: Callback): void;
  }

  interface Database {
    open(options: OpenOptions, callback: Callback): void;
    close(callback: Callback): void;
    batch(operations: BatchOperation[], options: { sync: boolean }, callback: Callback): void;
    get(
      key: Buffer,
      options: { fillCache?: boolean },
      callback: (error: Error | null, value?: Buffer) => void,
    ): void;
    getMany(
      keys: Buffer[],
      options: { fillCache?: boolean },
      callback: Callback<[(Buffer | undefined)[]]>,
    ): void;
    iterator(options: IteratorOptions): Iterator;
    getProperty(property: string): string;
  }

  export default function rocksdb(location: string): Database;
}
