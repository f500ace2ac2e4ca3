import { isMootError, MootError } from '../base/errors.js';

export function interrupted(): MootError {
  return new MootError('INTERRUPTED', 'the caller was interrupted');
}

/** Waits for the promise, which does not fail, or until the signal is aborted. */
export async function doneOrAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    await settledOrAborted(promise, signal);
  } catch (error) {
    if (!isMootError(error, 'INTERRUPTED')) throw error;
  }
}

/** Waits for the promise, or until the signal is aborted: then it fails with INTERRUPTED. */
export function settledOrAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(interrupted());
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(interrupted());
    signal.addEventListener('abort', giveUp, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}
