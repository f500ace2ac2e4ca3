import { isMootError, MootError } from '../../base/errors.js';
import type { Scene } from './scene.js';
import type { SceneClient, Stage } from './stage.js';

/** All scenes write here, so that a shared directory is left as it was but for this. */
const FILE = '/scene';

export const replication: Scene = {
  name: 'replication',
  title: 'Replication',
  explanation: [
    'A client sends its command, Set 1, to the leader. The leader appends it to its log.',
    'It sends the entry to the followers. When a majority has it on disk it is committed.',
    'Only then is the client told. The followers learn of the commit with the next message.',
  ],
  nodesMin: 3,
  async play(stage) {
    const leader = await stage.prepare(this.nodesMin);
    const client = stage.client('replication', stage.operations.ids);
    const file = await client.make(FILE);
    const before = await stage.expect('the leader is at rest', () => atRest(stage, leader.id));
    await stage.say(`The client sends Set 1 to ${leader.id}.`);
    await client.set(file, '1');
    await stage.say('The client was told that it is done.');
    await stage.expect('a majority has the entry on disk', () => {
      const now = stage.node(leader.id);
      const copies = now.followers.filter(({ match }) => match > before).length + 1;
      return now.commitIndex > before && copies > stage.cluster.nodes.length / 2;
    });
    await stage.expect('every follower was sent the entry', () =>
      stage.others(leader.id).every((id) => wasSent(stage, leader.id, id, before + 1)),
    );
    await stage.expect('all nodes know that it is committed, and have applied it', () =>
      stage.cluster.documents.every((document) => document.appliedIndex > before),
    );
    await stage.expect('all tables are equal', () => stage.equal());
  },
};

function atRest(stage: Stage, id: string): number | null {
  const { lastIndex, commitIndex, appliedIndex } = stage.node(id);
  return lastIndex === commitIndex && lastIndex === appliedIndex && stage.equal()
    ? lastIndex
    : null;
}

function wasSent(stage: Stage, from: string, to: string, index: number): boolean {
  return stage.events.some(
    ({ id, event }) =>
      id === from &&
      event.type === 'messages' &&
      event.to === to &&
      event.kind === 'append' &&
      event.firstIndex <= index &&
      event.lastIndex >= index,
  );
}

export const allSlavesCanRead: Scene = {
  name: 'all-slaves-can-read',
  title: 'All slaves can read',
  explanation: [
    'Every node has applied the same commands, so every node can answer a read.',
    'Only the leader knows for certain that nothing newer was committed: a strong read asks it.',
    'A local read asks the nearest node, and works without a majority, too.',
  ],
  nodesMin: 3,
  async play(stage) {
    const leader = await stage.prepare(this.nodesMin);
    const writer = stage.client('writer', stage.operations.ids);
    const file = await writer.make(FILE);
    await stage.say(`The client sends Set 1 to ${leader.id}.`);
    await writer.set(file, '1');
    for (const id of stage.others(leader.id)) {
      const reader = stage.client(`reader at ${id}`, [id]);
      await stage.expect(`${id} answers 1`, async () => (await reader.read(FILE, 'local')) === '1');
    }
    await stage.expect('a strong read answers 1', async () => {
      return (await writer.read(FILE, 'strong')) === '1';
    });
  },
};

export const waitForAll: Scene = {
  name: 'wait-for-all',
  title: 'Waiting for all',
  explanation: [
    'With write concern all a change counts when every node that lives has it on disk.',
    'So every node may answer strong reads from its own tree, without asking anybody.',
    'A node that is silent for two seconds counts no longer: its death makes writers wait, once.',
  ],
  nodesMin: 3,
  writeConcern: 'all',
  async play(stage) {
    const leader = await stage.prepare(this.nodesMin);
    if (leader.writeConcern !== 'all') {
      throw new MootError('BAD_ARGUMENT', 'this scene needs a cluster with --write-concern all');
    }
    const others = stage.others(leader.id);
    const [away] = others as [string];
    const rest = others.filter((id) => id !== away);
    const counts = (id: string) => stage.node(leader.id).liveVoters.includes(id);
    await stage.expect('every node counts', () => others.every(counts));
    const writer = stage.client('writer', [leader.id, ...rest]);
    const file = await writer.make(FILE);
    const before = await stage.expect('the leader is at rest', () => atRest(stage, leader.id));
    await stage.say(`The client sends Set 1 to ${leader.id}.`);
    await writer.set(file, '1');
    await stage.expect('not a majority, all have the entry on disk', () => {
      const { followers } = stage.node(leader.id);
      return others.every((id) => followers.some((one) => one.id === id && one.match > before));
    });
    for (const id of stage.operations.ids) {
      const reader = stage.client(`reader at ${id}`, [id]);
      await stage.expect(`${id} answers a strong read with 1`, async () => {
        return (await reader.read(FILE, 'strong')) === '1';
      });
    }
    await stage.say(`${away} is killed. The client sends Set 2, and waits.`);
    await stage.operations.crash(away);
    await writer.set(file, '2');
    await stage.expect(`${away} counts no longer`, () => !counts(away));
    await stage.say('The client was told. From now on nobody waits.');
    await writer.set(file, '3');
    for (const id of rest) {
      const reader = stage.client(`reader at ${id} again`, [id]);
      await stage.expect(`${id} answers a strong read with 3`, async () => {
        return (await reader.read(FILE, 'strong')) === '3';
      });
    }
    await stage.say(`${away} is started again.`);
    await stage.operations.recover(away);
    await stage.expect(`${away} has caught up, and counts`, () => {
      const now = stage.settledLeader();
      return now?.liveVoters.includes(away) || now?.id === away;
    });
    await stage.expect('all tables are equal', () => stage.equal());
  },
};

interface Split {
  readonly oldLeader: string;
  readonly minority: readonly string[];
  readonly majority: readonly string[];
  /** Index of the first entry that only the minority has. */
  readonly index: number;
  readonly majorityClient: SceneClient;
  /** On the side of the minority; its write waits for ever. */
  readonly patient: SceneClient;
  readonly answered: () => boolean;
}

/** Cuts the leader and one more off, and writes on both sides. */
async function splitAndWrite(stage: Stage): Promise<Split> {
  for (let tries = 1; tries <= TRIES_MAX; tries++) {
    const split = await trySplit(stage);
    if (split !== null) return split;
    await stage.say('It has noticed first, and takes nothing. Once more.');
  }
  throw new MootError(
    'CLOSED',
    `${TRIES_MAX} times the old leader noticed before it was written to`,
  );
}

/**
 * null: the old leader had noticed that it has no majority before it was written to. It leads for a moment
 * only when it is cut off, and whoever is to write may be slow.
 */
async function trySplit(stage: Stage): Promise<Split | null> {
  const { operations, cluster } = stage;
  const old = await stage.prepare(5);
  const [companion, ...majority] = stage.others(old.id) as [string, ...string[]];
  const minority = [old.id, companion];
  const toldMs = 4 * old.election.timeoutMaxMs + 2_000;
  const loser = stage.client('minority', minority, toldMs);
  const patient = stage.client('patient', minority, Number.POSITIVE_INFINITY);
  const majorityClient = stage.client('majority', majority);
  const file = await loser.make(FILE);
  const log = await patient.make(`${FILE}.log`);
  await majorityClient.read(FILE, 'local');
  const before = await stage.expect('all is at rest', () => atRest(stage, old.id));
  await stage.say(`The network splits: ${minority.join(', ')} | ${majority.join(', ')}.`);
  await operations.partition([minority, majority]);
  await stage.say(
    `Both sides are written to. ${old.id} does not know yet, and takes Set minority.`,
  );
  const told = loser.set(file, 'minority').then(
    () => null,
    (error: unknown) => error,
  );
  let answered = false;
  patient.append(log, 'once ').then(
    () => {
      answered = true;
    },
    () => undefined, // the scene ended before, or began anew
  );
  const hasEntry = () => {
    const { lastIndex, commitIndex } = stage.node(old.id);
    return lastIndex > commitIndex && lastIndex > before;
  };
  await stage.until(() => hasEntry() || stage.node(old.id).role !== 'leader', toldMs);
  if (!hasEntry()) {
    // What they were asked for must not come true later.
    await Promise.all([loser, patient, majorityClient].map((client) => client.close()));
    return null;
  }
  const stuck = await stage.expect(`${old.id} has the entry, and it is not committed`, () => {
    return hasEntry() ? stage.node(old.id).commitIndex : null;
  });
  const leader = await stage.expect('the majority has a leader of its own, in a higher term', () =>
    cluster.leader !== null &&
    majority.includes(cluster.leader.id) &&
    cluster.leader.term > old.term
      ? cluster.leader
      : null,
  );
  await stage.say(`${leader.id} leads there in term ${leader.term}. It takes Set majority.`);
  await majorityClient.set(file, 'majority');
  await stage.expect('the write on the side of the majority is committed', () => {
    return stage.node(leader.id).commitIndex > stuck;
  });
  await stage.expect(`${old.id} has noticed that it has no majority, and leads no longer`, () => {
    return stage.node(old.id).role !== 'leader';
  });
  await stage.expect("the minority's client was told that its write may not count", async () => {
    const error = await told;
    return isMootError(error, 'OUTCOME_UNKNOWN') || isMootError(error, 'NO_LEADER');
  });
  await stage.expect("the minority's entry is still not committed", () => {
    return minority.every((id) => stage.node(id).commitIndex <= stuck);
  });
  const { id: oldLeader } = old;
  return {
    oldLeader,
    minority,
    majority,
    index: stuck + 1,
    majorityClient,
    patient,
    answered: () => answered,
  };
}

export const split: Scene = {
  name: 'split',
  title: 'The split',
  explanation: [
    'The network falls into two parts, and the old leader is in the smaller one.',
    'It can append, but nothing there is ever on a majority, so nothing is committed.',
    'The larger part elects a leader in a higher term, and goes on.',
  ],
  nodesMin: 5,
  async play(stage) {
    await splitAndWrite(stage);
    await stage.say('It stays split. The scene reunion goes on from here.');
  },
};

export const reunion: Scene = {
  name: 'reunion',
  title: 'The reunion',
  explanation: [
    'The parts hear each other again. The higher term wins, whoever is of a lower one follows.',
    "The minority's entries were never committed. The leader's take their place.",
    'A client that waited sends its command again: it takes effect, once.',
  ],
  nodesMin: 5,
  async play(stage) {
    const { minority, index, majorityClient, patient, answered } = await splitAndWrite(stage);
    await stage.say('The network is whole again.');
    await stage.operations.heal();
    await stage.expect("the minority's uncommitted entries have given way", () =>
      minority.some((id) =>
        stage.events.some(
          ({ id: who, event }) =>
            who === id && event.type === 'truncated' && event.fromIndex >= index,
        ),
      ),
    );
    await stage.expect('all nodes follow one leader', () => stage.settledLeader());
    await stage.expect('all tables are equal', () => stage.equal());
    await stage.expect("the file says what the majority's client wrote", async () => {
      return (await majorityClient.read(FILE, 'strong')) === 'majority';
    });
    patient.reachAll();
    await stage.expect('the client that waited is told that its command took effect', () =>
      answered(),
    );
    await stage.expect(
      'the command of the client that waited took effect exactly once',
      async () => {
        return (await majorityClient.read(`${FILE}.log`, 'strong')) === 'once ';
      },
    );
  },
};

/** Entries that the follower misses at first: few enough for every log's tail. */
const BEHIND_ENTRIES = 10;
/** More tries would not help: then it is not chance. */
const TRIES_MAX = 5;
/** Commands on their way at once. */
const IN_FLIGHT = 200;

export const catchUp: Scene = {
  name: 'catch-up',
  title: 'Catching up',
  explanation: [
    'A node that was away has a log that ends too early. The leader looks for where they agree.',
    'From there on it sends what is missing, and not a single entry more.',
    'What is no longer in the log the node gets by a snapshot: the whole tree as it is now.',
  ],
  nodesMin: 3,
  async play(stage) {
    const leader = await stage.prepare(this.nodesMin);
    const [away] = stage.others(leader.id) as [string];
    const client = stage.client('catch-up', stage.others(away));
    const file = await client.make(FILE);
    await stage.expect('all is at rest', () => atRest(stage, leader.id));
    let exact = await fallBehind(stage, leader.id, away, client, file);
    for (let tries = 1; !exact && tries < TRIES_MAX; tries++) {
      await stage.say('An answer came late, and the leader had sent again. Once more.');
      exact = await fallBehind(stage, leader.id, away, client, file);
    }
    await stage.expect(`${away} was sent exactly what it lacked`, () => exact);
    await stage.expect('all tables are equal', () => stage.equal());

    await tooFarBehind(stage, away, client, file);
  },
};

/** Whether the follower was then sent what it lacked, once. A leader sends again what is not answered in time. */
async function fallBehind(
  stage: Stage,
  leader: string,
  away: string,
  client: SceneClient,
  file: number,
): Promise<boolean> {
  const { operations } = stage;
  await stage.say(`${away} is cut off, and ${BEHIND_ENTRIES} commands are committed without it.`);
  await operations.isolate(away);
  const { lastIndex: before } = stage.node(away);
  await appendAll(client, file, BEHIND_ENTRIES);
  await stage.expect(`${away} does not have them`, () => {
    const { lastIndex } = stage.node(away);
    return lastIndex === before && stage.node(leader).commitIndex >= before + BEHIND_ENTRIES;
  });
  const { entriesReceived } = stage.node(away).totals;
  await stage.say(`${away} is back.`);
  await operations.heal();
  await stage.expect(`${away} has what it lacked`, () => {
    return stage.node(away).lastIndex >= before + BEHIND_ENTRIES;
  });
  await stage.expect('all tables are equal', () => stage.equal());
  const { totals, lastIndex } = stage.node(away);
  return totals.entriesReceived - entriesReceived === lastIndex - before;
}

async function tooFarBehind(
  stage: Stage,
  away: string,
  client: SceneClient,
  file: number,
): Promise<void> {
  const { operations, cluster } = stage;
  const { lastIndex, snapshotTailEntries } = stage.node(away);
  await operations.crash(away);
  const count = snapshotTailEntries + BEHIND_ENTRIES;
  await stage.say(
    `${away} is killed. ${count} commands later the others have compacted their logs.`,
  );
  await appendAll(client, file, count);
  await stage.expect(`nobody has the entries behind ${lastIndex} any more`, async () => {
    const keeping = cluster.documents.filter((document) => document.snapshotIndex <= lastIndex);
    // For a while a leader keeps what a follower that was just there may still need.
    await Promise.all(keeping.map(({ id }) => cluster.call(id, 'snapshot')));
    return keeping.length === 0;
  });
  await stage.say(`${away} starts again, from its disk.`);
  await operations.recover(away);
  await stage.expect(`${away} took in a snapshot`, () => {
    return stage.node(away).totals.snapshotsInstalled > 0;
  });
  await stage.expect('all tables are equal', () => stage.equal());
}

async function appendAll(client: SceneClient, file: number, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += IN_FLIGHT) {
    const now = Math.min(IN_FLIGHT, count - sent);
    await Promise.all(Array.from({ length: now }, () => client.append(file, '.')));
  }
}
