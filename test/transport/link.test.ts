import t from 'tap';
import { systemClock } from '../../src/base/system-clock.js';
import { FRAME_BYTES_MAX } from '../../src/codec/limits.js';
import { Link } from '../../src/transport/link.js';

t.test('a frame that is too large ends its connection and nothing else', async (t) => {
  const sent: number[] = [];
  const destroyed: string[] = [];
  const link = new Link(
    {
      remote: 'somewhere',
      queuedBytes: 0,
      listen: () => {},
      send: (frame) => sent.push(frame.length),
      close: () => {},
      destroy: (why) => destroyed.push(why),
    },
    systemClock,
    FRAME_BYTES_MAX,
  );
  link.send(new Uint8Array(FRAME_BYTES_MAX));
  link.send(new Uint8Array(FRAME_BYTES_MAX + 1));
  link.send(new Uint8Array(1));
  t.strictSame(sent, [FRAME_BYTES_MAX]);
  t.match(destroyed, [/too large/]);
});
