/** Tests wait for conditions; this only ends a test that would wait for ever. */
export const PATIENCE_MS = 60_000;
const LOOK_MS = 5;

/** Resolves with the first value of `probe` that is neither false, null nor undefined. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  describe = () => '',
): Promise<Exclude<T, false | null | undefined>> {
  const endMs = performance.now() + PATIENCE_MS;
  // Looked at once more behind the end: this process may stand still, too.
  for (let isLast = false; !isLast; ) {
    isLast = performance.now() >= endMs;
    const value = await probe();
    if (value !== false && value !== null && value !== undefined) {
      return value as Exclude<T, false | null | undefined>;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new Error(`waited in vain: ${what} ${describe()}`);
}
