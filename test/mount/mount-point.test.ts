import t from 'tap';
import { mountAt } from '../../src/mount/mount-point.js';

const MOUNTINFO = `22 1 254:0 / / rw,relatime - ext4 /dev/root rw
41 22 0:39 / /mnt/a\\040b rw,nosuid shared:7 - fuse.mootfs mootfs rw,user_id=0
42 22 0:40 / /mnt/c rw - tmpfs tmpfs rw
43 42 0:41 / /mnt/c rw,nosuid master:1 propagate_from:2 - fuse.mootfs mootfs rw
44 22 0:42 / /mnt/\xc3\xa4\\134 rw - fuse x rw
`;

t.test('mountAt finds the uppermost mount at a path', async (t) => {
  t.same(mountAt(MOUNTINFO, '/'), { type: 'ext4', device: '254:0', source: '/dev/root' });
  t.same(mountAt(MOUNTINFO, '/mnt/a b'), { type: 'fuse.mootfs', device: '0:39', source: 'mootfs' });
  t.same(mountAt(MOUNTINFO, '/mnt/c'), { type: 'fuse.mootfs', device: '0:41', source: 'mootfs' });
  t.same(mountAt(MOUNTINFO, '/mnt/ä\\'), { type: 'fuse', device: '0:42', source: 'x' });
  t.equal(mountAt(MOUNTINFO, '/mnt'), undefined);
  t.equal(mountAt('', '/'), undefined);
});
