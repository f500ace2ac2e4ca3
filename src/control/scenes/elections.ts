import type { Scene } from './scene.js';
import type { Stage } from './stage.js';

export const firstElection: Scene = {
  name: 'first-election',
  title: 'The first election',
  explanation: [
    'Nobody leads when nodes start. Each waits a random time for a leader to speak.',
    'Whose time runs out first asks the others whether it could win, and then for their votes.',
    'Who has the votes of a majority leads for this term, and says so by heartbeats.',
  ],
  nodesMin: 3,
  async play(stage) {
    const { operations, cluster } = stage;
    const { term } = await stage.prepare(this.nodesMin);
    await stage.say('All nodes are killed. Terms, votes and logs are on their disks.');
    await Promise.all(operations.ids.map((id) => operations.crash(id)));
    await stage.say('All start again, as followers, each with a time-out of its own.');
    await Promise.all(operations.ids.map((id) => operations.recover(id)));
    const leader = await stage.expect('one node leads, in a new term', () =>
      cluster.leader !== null && cluster.leader.term > term ? cluster.leader : null,
    );
    await stage.say(`${leader.id} leads in term ${leader.term}.`);
    await stage.expect('a majority gave it their votes of this term', () => {
      const votes = cluster.documents.filter((d) => d.term === leader.term && d.vote === leader.id);
      return votes.length > cluster.nodes.length / 2;
    });
    await stage.expect('all nodes follow it, and its first entry is committed', () =>
      stage.settledLeader(),
    );
  },
};

export const leaderDies: Scene = {
  name: 'leader-dies',
  title: 'The leader dies',
  explanation: [
    'A leader that is gone sends no heartbeats, so a follower stands for election.',
    'A majority is still there, so a new leader is elected in a higher term.',
    'When the old one comes back it learns of the higher term and follows.',
  ],
  nodesMin: 3,
  async play(stage) {
    const { operations, cluster } = stage;
    const old = await stage.prepare(this.nodesMin);
    await stage.say(`${old.id} leads in term ${old.term}. Its process is killed now.`);
    await operations.crash(old.id);
    const leader = await stage.expect('another node leads, in a higher term', () =>
      cluster.leader !== null && cluster.leader.term > old.term ? cluster.leader : null,
    );
    await stage.say(`${leader.id} leads in term ${leader.term}. ${old.id} is started again.`);
    await operations.recover(old.id);
    await stage.expect(
      `${old.id} follows ${leader.id} and has its term and vote from its disk`,
      () => {
        const now = stage.node(old.id);
        return now.role === 'follower' && now.leader !== null && now.term >= leader.term;
      },
    );
    await stage.expect('all tables are equal', () => stage.equal());
  },
};

export const candidatesAtOnce: Scene = {
  name: 'candidates-at-once',
  title: 'Two candidates at once',
  explanation: [
    'Two nodes may stand in the same term. Each node has one vote a term, so the votes may split.',
    'Then nobody has a majority, and the term ends without a leader.',
    'Time-outs are random: soon one of them stands alone, in a later term, and wins.',
  ],
  nodesMin: 5,
  async play(stage) {
    const { operations, cluster } = stage;
    const old = await stage.prepare(this.nodesMin);
    const [a, b, c, d, ...rest] = stage.others(old.id) as [string, string, string, string];
    await stage.say(`The leader ${old.id} is killed, and the others cannot hear each other.`);
    await operations.partition([[a], [b], [c], [d], ...rest.map((id) => [id])]);
    await operations.crash(old.id);
    const nobodyLeads = () =>
      cluster.documents.every((one) => one.leader === null && one.role === 'pre-candidate');
    await stage.expect('nobody leads, and nobody can win', nobodyLeads);
    const term = Math.max(...cluster.documents.map((one) => one.term));
    await stage.say(
      `${a} and ${b} are slow now, so that neither hears of the other in time. ` +
        `${c} hears only ${a}, and ${d} only ${b}.`,
    );
    // Late twice, at the sender and at the receiver: longer than the two could be apart by chance.
    const slowMs = Math.max(250, stage.node(a).election.heartbeatMs * 2);
    await Promise.all([operations.slow(a, slowMs), operations.slow(b, slowMs)]);
    const divided = () => dividedTerm(stage, [a, c], [b, d]);
    for (let tries = 1; ; tries++) {
      await operations.partition([[a, b, c, d]]);
      await operations.cut(a, d);
      await operations.cut(b, c);
      await operations.cut(c, d);
      await Promise.all([operations.elect(a), operations.elect(b)]);
      const timeoutMs = 4 * (2 * slowMs + stage.node(a).election.timeoutMaxMs);
      if ((await stage.until(divided, timeoutMs)) !== null || tries === TRIES_MAX) break;
      await stage.say('By chance one heard of the other in time. Once more.');
      await operations.partition([[a], [b], [c], [d], ...rest.map((id) => [id])]);
      await stage.expect('nobody leads, and nobody can win', nobodyLeads);
    }
    const split = await stage.expect(
      'both stand in the same term, each has two votes of five, and the term has no leader',
      divided,
    );
    await stage.say('All can hear each other again, at full speed. Time-outs are random.');
    await operations.slow(a, 0);
    await operations.slow(b, 0);
    await operations.heal();
    const leader = await stage.expect('one of them leads, in a later term', () =>
      cluster.leader !== null && cluster.leader.term > split ? cluster.leader : null,
    );
    await stage.expect(`nobody ever led in term ${split}`, () => {
      const led = stage.events.some(
        ({ event }) => event.type === 'role' && event.role === 'leader' && event.term === split,
      );
      return !led;
    });
    await stage.say(
      `${leader.id} leads in term ${leader.term}; the votes had split after term ${term}.`,
    );
    await operations.recover(old.id);
    await stage.expect('all nodes follow one leader again', () => stage.settledLeader());
  },
};

/** More tries would not help: then it is not chance. */
const TRIES_MAX = 5;

/** A term in which the first of each pair stood, and both of the pair voted for it. */
function dividedTerm(
  stage: Stage,
  ...pairs: readonly (readonly [string, string])[]
): number | null {
  const termsOf = ([candidate, voter]: readonly [string, string]) => {
    const voted = (id: string) =>
      stage.events.flatMap(({ id: who, event }) =>
        who === id && event.type === 'vote' && event.candidate === candidate ? [event.term] : [],
      );
    const ofVoter = new Set(voted(voter));
    return voted(candidate).filter((term) => ofVoter.has(term));
  };
  const [first = [], ...others] = pairs.map(termsOf);
  return first.find((term) => others.every((terms) => terms.includes(term))) ?? null;
}

export const slowLeader: Scene = {
  name: 'slow-leader',
  title: 'The slow leader',
  explanation: [
    'A leader must be heard in time. One that is too slow is as good as dead to the others.',
    'They elect another. Nothing is lost: what was committed is on a majority.',
    'The slow one hears of the higher term and follows. Two never lead in one term.',
  ],
  nodesMin: 3,
  async play(stage) {
    const { operations, cluster } = stage;
    const old = await stage.prepare(this.nodesMin);
    let ms = old.election.heartbeatMs;
    const another = () => {
      const { leader } = cluster;
      return leader !== null && leader.id !== old.id && leader.term > old.term ? leader : null;
    };
    await stage.say(`${old.id} leads. It becomes slower and slower.`);
    while (another() === null && ms < SLOW_ENOUGH * old.election.timeoutMaxMs) {
      ms *= 2;
      await operations.slow(old.id, Math.min(ms, SLOW_MOST_MS));
      await stage.say(`All that ${old.id} hears and sends is ${ms} ms late now.`);
      await stage.until(another, ms + old.election.timeoutMaxMs);
    }
    const leader = await stage.expect('the others have elected another leader', another);
    await stage.expect(`${old.id} has heard of it, and leads no longer`, () => {
      return stage.node(old.id).role !== 'leader';
    });
    await stage.say(`${leader.id} leads in term ${leader.term}. ${old.id} is fast again.`);
    await operations.slow(old.id, 0);
    await stage.expect('all nodes follow one leader', () => stage.settledLeader());
    await stage.expect('all tables are equal', () => stage.equal());
  },
};

/** A pause of so many of the longest time-outs is noticed for certain. */
const SLOW_ENOUGH = 4;
const SLOW_MOST_MS = 60_000;
