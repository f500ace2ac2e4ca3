/** A program may wait for ever in a call: then it is what hangs, and not this. */
const IN_TIME_MS = 120_000;
const LOOK_MS = 100;

export async function waitFor(
  what: string,
  limitMs: number,
  condition: () => Promise<boolean>,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await pause(LOOK_MS);
  }
}

/** Rejects when the work has not ended long after it should have. */
export async function inTime<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), IN_TIME_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
