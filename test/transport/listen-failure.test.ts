import t from 'tap';
import { EXIT, exitCodeOf } from '../../src/cli/exit.js';
import { listenFailure } from '../../src/transport/listen-failure.js';

t.test(
  'what a later attempt may find is a missing prerequisite, and nobody’s mistake',
  async (t) => {
    const codes: readonly [string, string, number][] = [
      ['EADDRINUSE', 'PORT_TAKEN', EXIT.prerequisite],
      ['EADDRNOTAVAIL', 'ADDRESS_UNAVAILABLE', EXIT.prerequisite],
      ['ENOTFOUND', 'ADDRESS_UNAVAILABLE', EXIT.prerequisite],
      ['EAI_AGAIN', 'ADDRESS_UNAVAILABLE', EXIT.prerequisite],
      ['EACCES', 'BAD_ARGUMENT', EXIT.usage],
    ];
    for (const [errno, code, exit] of codes) {
      const error = listenFailure(
        { host: 'n1', port: 7101 },
        Object.assign(new Error(errno), { code: errno }),
      );
      t.equal(error.code, code, errno);
      t.equal(exitCodeOf(error), exit, errno);
    }
  },
);
