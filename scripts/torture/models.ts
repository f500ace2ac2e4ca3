import type { Model } from './linearizable.js';

/** A block of a file: what was written last is read. It begins as zeros, which read as ''. */
export const BLOCK: Model = {
  first: '',
  step(state, request, answer) {
    if (request.type === 'write') return answer === null || answer === 'ok' ? request.value : null;
    return answer === null || answer === state ? state : null;
  },
};

/** What a name stands for when the one who made it did not hear which inode it was. */
const UNHEARD = '?';

/**
 * A directory of few names: which of them are there, and for which inode. An inode number is given
 * once, so a doubled create or unlink shows.
 */
export const NAMES: Model = {
  first: '{}',
  step(state, request, answer) {
    const names = new Map(Object.entries(JSON.parse(state) as Record<string, string>));
    if (!('name' in request)) return null;
    // Refused for want of room: nothing has changed.
    if (answer === 'ENOSPC') return request.type === 'stat' ? null : state;
    const { type, name } = request;
    const there = names.get(name);
    switch (type) {
      case 'create':
        if (there !== undefined) return answer === null || answer === 'EEXIST' ? state : null;
        if (answer === 'EEXIST') return null;
        names.set(name, answer ?? UNHEARD);
        break;
      case 'unlink':
        if (there === undefined) return answer === null || answer === 'ENOENT' ? state : null;
        if (answer !== null && answer !== 'ok') return null;
        names.delete(name);
        break;
      case 'rename':
        if (there === undefined) return answer === null || answer === 'ENOENT' ? state : null;
        if (answer !== null && answer !== 'ok') return null;
        names.delete(name);
        names.set(request.to, there);
        break;
      case 'stat':
        if (answer === null) return state;
        if (there === undefined || answer === 'ENOENT') {
          return there === undefined && answer === 'ENOENT' ? state : null;
        }
        if (there !== answer && there !== UNHEARD) return null;
        names.set(name, answer);
        break;
    }
    return JSON.stringify(Object.fromEntries([...names].sort(([a], [b]) => (a < b ? -1 : 1))));
  },
};
