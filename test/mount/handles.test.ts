import t from 'tap';
import { Handles } from '../../src/mount/handles.js';

t.test('inodes without a name are held from the first open to the last close', async (t) => {
  const handles = new Handles();
  handles.markUnlinked(5);
  t.strictSame(handles.holds(), [], 'not open');
  handles.hold(5);
  handles.hold(5);
  t.strictSame(handles.holds(), [], 'has its name');
  handles.markUnlinked(5);
  handles.letGo(5);
  t.strictSame(handles.holds(), [5]);
  handles.letGo(5);
  t.strictSame(handles.holds(), []);
});

t.test('what loses its name while files are being made is held until they are known', async (t) => {
  const handles = new Handles();
  const finish: ((ino: number) => void)[] = [];
  const make = () =>
    handles.holdNew(
      () => new Promise<number>((resolve) => finish.push(resolve)),
      (ino) => ino,
    );
  const first = make();
  handles.markUnlinked(7);
  handles.markUnlinked(8);
  const second = make();
  handles.markUnlinked(9);
  t.strictSame(handles.holds(), [7, 8, 9]);
  finish[0]?.(8);
  await first;
  t.strictSame(handles.holds(), [8, 9], 'older than all that is being made');
  finish[1]?.(10);
  await second;
  t.strictSame(handles.holds(), [8]);
  const third = make();
  handles.markAllUnlinked();
  t.strictSame([...handles.holds()].sort(), [10, 8]);
  finish[2]?.(11);
  await third;
  t.strictSame([...handles.holds()].sort(), [10, 11, 8]);
  const failed = handles.holdNew(
    () => Promise.reject(new Error('no')),
    () => 1,
  );
  handles.markUnlinked(12);
  await t.rejects(failed);
  t.notOk(handles.holds().includes(12));
});

t.test('what this mount removes is held until the kernel forgets it', async (t) => {
  const handles = new Handles();
  const remove = (ino: number | null) =>
    handles.holdRemoved(
      async () => {
        // The change is told before the reply.
        if (ino !== null) handles.markUnlinked(ino);
        t.strictSame(handles.holds().at(-1) ?? null, ino);
        return ino;
      },
      (removed) => removed,
    );
  await remove(null);
  t.strictSame(handles.holds(), []);
  await remove(5);
  t.strictSame(handles.holds(), [5]);
  handles.forgotten(5);
  t.strictSame(handles.holds(), []);
});
