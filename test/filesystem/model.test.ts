import fc from 'fast-check';
import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import type { AllocateMode, Command } from '../../src/filesystem/commands.js';
import { COUNTERS } from '../../src/filesystem/keys.js';
import { CHUNK_BYTES, type Ino, type Inode } from '../../src/filesystem/records.js';
import type { View } from '../../src/filesystem/view.js';
import { bytes, FilesystemWorld, ROOT, text } from '../support/filesystem-world.js';
import { FlakyView } from '../support/flaky-view.js';
import { MemoryView } from '../support/memory-view.js';
import { checkTree } from '../support/tree-invariants.js';
import { type ModelNode, TreeModel } from '../support/tree-model.js';

/** One random step; `x` and `y` choose inodes among those that were ever made. */
interface Step {
  readonly kind: Command['type'] | 'truncate';
  readonly who: number;
  readonly x: number;
  readonly y: number;
  readonly name: string;
  readonly newName: string;
  readonly at: number;
  readonly length: number;
  readonly bits: number;
}

const KINDS: readonly Step['kind'][] = [
  'make-node',
  'make-node',
  'make-node',
  'make-unnamed',
  'make-symlink',
  'link',
  'link',
  'unlink',
  'unlink',
  'remove-directory',
  'rename',
  'rename',
  'rename',
  'write',
  'write',
  'truncate',
  'allocate',
  'allocate',
  'copy-range',
  'copy-range',
  'set-attributes',
  'set-xattr',
  'remove-xattr',
  'keep-alive',
  'keep-alive',
  'close-session',
  'nothing',
];

const placeInFile = fc.oneof(
  fc.nat(20),
  fc.integer({ min: CHUNK_BYTES - 5, max: CHUNK_BYTES + 5 }),
  fc.integer({ min: 2 * CHUNK_BYTES - 5, max: 2 * CHUNK_BYTES + 5 }),
);

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  who: fc.nat(2),
  x: fc.nat(1000),
  y: fc.nat(1000),
  name: fc.constantFrom('a', 'b', 'c'),
  newName: fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom('a', 'b', 'c') },
    { weight: 1, arbitrary: fc.constantFrom('.', '..', '', 'a/b', 'a\0', 'n'.repeat(256)) },
  ),
  at: placeInFile,
  length: fc.oneof(fc.nat(12), placeInFile),
  bits: fc.nat(0o7777),
});

/** Long sequences as often as short ones, which fast-check would prefer. */
function stepsUpTo(maxLength: number): fc.Arbitrary<Step[]> {
  return fc.array(step, { minLength: 1, maxLength, size: 'max' });
}

const ALLOCATE_MODES: readonly AllocateMode[] = ['reserve', 'reserve-keep-size', 'punch', 'zero'];

/** Parents are nearly always directories; now and then anything. */
function commandOf(step: Step, inos: readonly Ino[], directories: readonly Ino[]): Command {
  const { name, newName, bits } = step;
  const any = (choice: number): Ino => inos[choice % inos.length] ?? ROOT;
  const directory = (choice: number): Ino =>
    choice % 20 === 0 ? any(choice) : (directories[choice % directories.length] ?? ROOT);
  const ino = any(step.x);
  switch (step.kind) {
    case 'make-node': {
      const type = [0o100000, 0o040000, 0o040000, 0o100000, 0o010000][step.length % 5] ?? 0;
      const common = { rdev: 0, uid: step.who, gid: step.y % 3 };
      const parent = directory(step.x);
      const umask = step.y % 2 === 0 ? { umask: step.at & 0o777 } : {};
      const mode = type | bits;
      return { type: 'make-node', parent, name: bytes(newName), mode, ...common, ...umask };
    }
    case 'make-unnamed':
      return { type: 'make-unnamed', parent: directory(step.x), mode: bits, uid: step.who, gid: 1 };
    case 'make-symlink': {
      const target = bytes('t'.repeat(step.length % 50));
      const common = { uid: 1, gid: 2, target };
      return { type: 'make-symlink', parent: directory(step.x), name: bytes(name), ...common };
    }
    case 'link':
      return { type: 'link', ino, parent: directory(step.y), name: bytes(newName) };
    case 'unlink':
    case 'remove-directory':
      return { type: step.kind, parent: directory(step.x), name: bytes(name) };
    case 'rename':
      return {
        type: 'rename',
        parent: directory(step.x),
        name: bytes(name),
        newParent: directory(step.y),
        newName: bytes(newName),
        mode: (['replace', 'replace', 'no-replace', 'exchange'] as const)[step.at % 4] ?? 'replace',
      };
    case 'write': {
      const data = new Uint8Array(step.length).fill(1 + (step.y % 255));
      const flags = { append: step.y % 5 === 0, killPrivileges: step.y % 2 === 0 };
      return { type: 'write', ino, offset: step.at, data, ...flags };
    }
    case 'truncate':
      return { type: 'set-attributes', ino, size: step.length };
    case 'allocate': {
      const mode = ALLOCATE_MODES[step.y % 4] ?? 'punch';
      const { at: offset, length } = step;
      return { type: 'allocate', ino, offset, length, mode, killPrivileges: bits % 2 === 0 };
    }
    case 'copy-range': {
      const { at: offset, length } = step;
      const toOffset = bits % 3 === 0 ? offset + length : (bits * 37) % 70_000;
      return { type: 'copy-range', ino, offset, toIno: any(step.y), toOffset, length };
    }
    case 'set-attributes':
      return {
        type: 'set-attributes',
        ino,
        ...(step.y % 2 === 0 ? { mode: bits } : { killPrivileges: step.y % 3 === 0 }),
        ...(step.at % 2 === 0 ? { uid: step.y % 7 } : { gid: step.y % 7 }),
        ...(step.at % 3 === 0 ? { mtime: { sec: step.at, nsec: 0 } } : {}),
        ...(step.at % 5 === 0 ? { atime: 'now' as const } : {}),
        ...(step.y % 11 === 0 ? { flags: [0x10, 0x20, 0xc0, 0][step.at % 4] ?? 0 } : {}),
      };
    case 'set-xattr': {
      const mode = (['set', 'create', 'replace'] as const)[step.y % 3] ?? 'set';
      const value = bytes('v'.repeat(step.length % 9));
      const attribute = step.at % 4 === 0 ? 'security.capability' : name;
      return { type: 'set-xattr', ino, name: bytes(attribute), value, mode };
    }
    case 'remove-xattr':
      return { type: 'remove-xattr', ino, name: bytes(name) };
    case 'keep-alive': {
      const holds = inos.filter((_, i) => (step.bits >> (i % 12)) & 1);
      return { type: 'keep-alive', seenIndex: step.at % 60, holds };
    }
    case 'close-session':
      return { type: 'close-session' };
    default:
      return { type: 'nothing' };
  }
}

const TYPE_OF_KIND = { file: 0o100000, directory: 0o040000, symlink: 0o120000, fifo: 0o010000 };

/** The attributes of an inode, as the state machine says and as the model says. */
function attributesOf(inode: Inode) {
  const { mode, uid, gid, nlink, size, atime, mtime, ctime } = inode;
  return { mode, uid, gid, nlink, size, atime: atime.sec, mtime: mtime.sec, ctime: ctime.sec };
}

function attributesInModel(model: TreeModel, node: ModelNode) {
  const removed = node.names === 0;
  const { uid, gid, atime, mtime, ctime } = node;
  return {
    mode: TYPE_OF_KIND[node.kind] | node.permissions,
    uid,
    gid,
    nlink: node.kind !== 'directory' ? node.names : removed ? 0 : 2 + model.subdirectories(node),
    size: node.kind === 'symlink' ? node.target.length : node.content.length,
    atime,
    mtime,
    ctime,
  };
}

function equal(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: got ${a}, the model says ${b}`);
}

/** Runs the steps on the state machine and the model side by side; returns the log. */
class SideBySide {
  readonly world = new FilesystemWorld();
  readonly model = new TreeModel();
  readonly log: {
    readonly session: number;
    readonly sequence: number;
    readonly command: Command;
  }[] = [];
  readonly #inos: Ino[] = [ROOT, 999];
  readonly #sessions: { id: number; sequence: number }[] = [];

  constructor(holders: number) {
    for (let i = 0; i < 3; i++) this.#sessions.push(this.#open(i < holders));
  }

  run(step: Step): void {
    const session = this.#sessions[step.who];
    if (session === undefined) throw new Error('no session');
    const live = this.#inos.filter((ino) => this.model.nodes.get(ino)?.kind === 'directory');
    const command = commandOf(step, this.#inos, live);
    session.sequence++;
    const { outcome } = this.#apply(session.id, session.sequence, command);
    const expected = this.model.apply(this.world.index, session.id, command);
    const what = `#${this.world.index} ${JSON.stringify({ ...command, data: undefined })}`;
    if (outcome.type !== 'reply') throw new Error(`${what}: ${outcome.type}`);
    const { reply } = outcome;
    if ('code' in expected || !reply.ok) {
      equal(reply.ok ? 'ok' : reply.code, 'code' in expected ? expected.code : 'ok', what);
      return;
    }
    const { value } = reply;
    if (value !== null && 'inode' in value) {
      const { node, created } = expected;
      if (node === null) throw new Error(`${what}: the model answers no inode`);
      if (created) {
        this.model.adopt(node, value.inode.ino);
        this.#inos.push(value.inode.ino);
      }
      this.#compare(value.inode, node, what);
    } else if (value !== null && 'removed' in value) {
      equal(value.removed === null, expected.node === null, what);
      if (value.removed !== null && expected.node !== null) {
        this.#compare(value.removed, expected.node, what);
      }
    }
    if (command.type === 'close-session') this.#sessions[step.who] = this.#open(step.x % 2 === 0);
  }

  /** Everything that queries can tell, against the model; also of inodes without a name. */
  compareAll(): void {
    for (const ino of this.#inos) {
      const node = this.model.nodes.get(ino);
      const found = this.world.query({ type: 'get-inode', ino });
      equal(found.ok, node !== undefined, `inode ${ino}`);
      if (!found.ok || node === undefined) continue;
      this.#compare(found.value.inode, node, `inode ${ino}`);
      this.#compareXattrs(ino, node);
      if (node.kind === 'file') this.#compareContent(ino, node);
      if (node.kind === 'directory') this.#compareDirectory(ino, node);
      if (node.kind === 'symlink') equal(text(found.value.inode.target), node.target, `${ino}`);
    }
  }

  #compare(inode: Inode, node: ModelNode, what: string): void {
    equal(inode.ino, node.ino, what);
    equal(attributesOf(inode), attributesInModel(this.model, node), what);
  }

  #compareXattrs(ino: Ino, node: ModelNode): void {
    const listed = this.world.query({ type: 'list-xattrs', ino });
    if (!listed.ok) throw new Error(listed.code);
    const names = listed.value.names.map(text).sort();
    equal(names, [...node.xattrs.keys()].sort(), `xattrs of ${ino}`);
    for (const name of names) {
      const found = this.world.query({ type: 'get-xattr', ino, name: bytes(name) });
      equal(found.ok && text(found.value.value), node.xattrs.get(name), `xattr ${name} of ${ino}`);
    }
  }

  #compareContent(ino: Ino, node: ModelNode): void {
    const read = this.world.query({ type: 'read', ino, offset: 0, size: 1e6 });
    if (!read.ok) throw new Error(read.code);
    if (!node.content.equals(read.value.data)) throw new Error(`content of ${ino} differs`);
    const [offset, size] = [CHUNK_BYTES - 3, 9];
    const part = this.world.query({ type: 'read', ino, offset, size });
    const expected = node.content.subarray(offset, offset + size);
    if (!part.ok || !expected.equals(part.value.data)) throw new Error(`part of ${ino} differs`);
  }

  #compareDirectory(ino: Ino, node: ModelNode): void {
    const names: string[] = [];
    for (let cookie = 0, end = false; !end; ) {
      const query = { type: 'read-directory', ino, cookie, limit: 2, plus: true } as const;
      const found = this.world.query(query);
      if (!found.ok) throw new Error(found.code);
      end = found.value.end;
      equal(found.value.parent, node.parent?.ino, `parent of ${ino}`);
      for (const entry of found.value.entries) {
        names.push(text(entry.name));
        cookie = entry.cookie;
        const child = node.entries.get(text(entry.name));
        equal(entry.ino, child?.ino, `${ino}/${text(entry.name)}`);
        equal(entry.inode?.ino, child?.ino, `${ino}/${text(entry.name)}`);
        const looked = this.world.query({ type: 'lookup', parent: ino, name: entry.name });
        equal(looked.ok && looked.value.inode.ino, child?.ino, `${ino}/${text(entry.name)}`);
      }
    }
    equal(names.sort(), [...node.entries.keys()].sort(), `entries of ${ino}`);
  }

  #open(holdsOpen: boolean): { id: number; sequence: number } {
    const { outcome } = this.#apply(0, 0, { type: 'open-session', name: 's', holdsOpen });
    const reply = outcome.type === 'reply' && outcome.reply.ok ? outcome.reply.value : null;
    if (reply === null || !('session' in reply)) throw new Error('no session');
    if (holdsOpen) this.model.opened(reply.session, this.world.index);
    return { id: reply.session, sequence: 0 };
  }

  #apply(session: number, sequence: number, command: Command) {
    this.log.push({ session, sequence, command });
    return this.world.apply(session, sequence, command, sequence - 1);
  }
}

function hashOf(view: View): number | undefined {
  return view.get(COUNTERS)?.hash;
}

t.test('random commands do what the model says', async (t) => {
  fc.assert(
    fc.property(stepsUpTo(60), fc.nat(3), (steps, holders) => {
      const both = new SideBySide(holders);
      for (const step of steps) both.run(step);
      both.compareAll();
      checkTree(both.world.view);
    }),
    { numRuns: 2500, includeErrorInReport: true },
  );
  t.pass();
});

t.test('what is missing changes nothing: same replies, same hash', async (t) => {
  let most = 0;
  fc.assert(
    fc.property(stepsUpTo(50), fc.nat(3), fc.nat(), (steps, holders, seed) => {
      const both = new SideBySide(holders);
      for (const step of steps) both.run(step);
      const { filesystem } = both.world;
      const view = new MemoryView();
      const again = new MemoryView();
      const flaky = new FlakyView(view, seededRandom(seed));
      view.take(filesystem.format());
      again.take(filesystem.format());
      for (const [i, { session, sequence, command }] of both.log.entries()) {
        const time = { sec: i + 1, nsec: 0 };
        const entry = { session, sequence, acknowledged: sequence - 1, time, command };
        const direct = filesystem.apply(again, i + 1, entry);
        const { result, rounds } = flaky.run((v) => filesystem.apply(v, i + 1, entry));
        most = Math.max(most, rounds);
        equal(result, direct, `#${i + 1} ${command.type}`);
        view.take(result.changes);
        again.take(direct.changes);
      }
      equal(hashOf(view), hashOf(both.world.view), 'hash with a flaky view');
      equal(hashOf(again), hashOf(both.world.view), 'hash of the same log again');
      equal(view.all().length, both.world.view.all().length, 'records');
    }),
    { numRuns: 300, includeErrorInReport: true },
  );
  t.ok(most < 20, `at most ${most} rounds for one command`);
});

t.test('every difference shows in the hash', async (t) => {
  fc.assert(
    fc.property(stepsUpTo(20), step, (steps, extra) => {
      const [one, two] = [new SideBySide(1), new SideBySide(1)];
      for (const step of steps) {
        one.run(step);
        two.run(step);
      }
      equal(hashOf(one.world.view), hashOf(two.world.view), 'equal so far');
      one.run(extra);
      if (hashOf(one.world.view) === hashOf(two.world.view)) throw new Error('equal hashes');
    }),
    { numRuns: 200, includeErrorInReport: true },
  );
  t.pass();
});
