import type { StateHashMessage } from '../codec/peer-messages.js';
import { tally, voterSets } from '../raft/quorum.js';
import type { Configuration, NodeId } from '../raft/types.js';

/** How often a leader asks, also when nothing changed: a message may be lost. */
const ASK_MS = 1_000;
/** A follower that has not answered by then is not waited for: it is away, or far behind. */
const ROUND_MS_MAX = 10_000;
/** Own digests remembered, by index: what is older is not compared. */
const REMEMBERED_MAX = 16_384;

/** Of this node and of a majority. */
export interface Divergence {
  readonly index: number;
  readonly own: number;
  readonly agreed: number;
}

export interface StateHashEvents {
  /** The voters that make a majority have another digest than this node. */
  onDiverged(divergence: Divergence): void;
  /** At a leader: all voters have answered, and no digest is that of a majority. */
  onDisputed(index: number): void;
}

/** A leader, and who else is a member. */
export interface HashOffice {
  readonly id: NodeId;
  readonly term: number;
  readonly configuration: Configuration;
  readonly others: readonly NodeId[];
}

/** What a leader asked for, and what it heard. */
interface Round {
  readonly office: HashOffice;
  readonly index: number;
  readonly hash: number;
  readonly sinceMs: number;
  readonly answers: Map<NodeId, number>;
}

/**
 * Compares the digests of the state between nodes at equal indexes. The leader asks all others for
 * theirs. Who differs is decided by a majority of the voters and not by the leader, which may be the
 * one that differs: a node stops when a majority has another digest.
 */
export class StateHashes {
  private readonly hashes = new Uint32Array(REMEMBERED_MAX);
  private readonly indexes = new Float64Array(REMEMBERED_MAX);
  private lastIndex = 0;
  private lastHash = 0;
  private askedMs = Number.NEGATIVE_INFINITY;
  private round: Round | null = null;
  private disputedTerm = 0;
  /** The leader was ahead of us when it asked this. */
  private asked: Extract<StateHashMessage, { type: 'state-hash' }> | null = null;

  constructor(
    private readonly events: StateHashEvents,
    private readonly send: (message: StateHashMessage) => void,
  ) {}

  /** This node's digest behind the command at `index`. */
  record(index: number, hash: number): void {
    this.hashes[index % REMEMBERED_MAX] = hash;
    this.indexes[index % REMEMBERED_MAX] = index;
    this.lastIndex = index;
    this.lastHash = hash;
    const { asked } = this;
    if (asked === null || asked.index > index) return;
    this.asked = null;
    this.answer(asked);
  }

  /** The tree was replaced. */
  reset(): void {
    this.indexes.fill(0);
    this.asked = null;
    this.round = null;
  }

  /** Called now and then at a leader. */
  tick(nowMs: number, office: HashOffice): void {
    if (nowMs - this.askedMs < ASK_MS || this.lastIndex === 0) return;
    this.askedMs = nowMs;
    if (this.round === null || this.isOver(this.round, nowMs, office)) {
      const { lastIndex: index, lastHash: hash } = this;
      const answers = new Map([[office.id, hash]]);
      this.round = { office, index, hash, sinceMs: nowMs, answers };
    }
    for (const to of office.others)
      if (!this.round.answers.has(to)) this.ask(this.round, to, false);
  }

  heard(message: StateHashMessage): void {
    if (message.type === 'state-hash-reply') this.onAnswer(message);
    else if (message.index > this.lastIndex) this.asked = message;
    else this.answer(message);
  }

  private isOver({ office, answers, sinceMs }: Round, nowMs: number, now: HashOffice): boolean {
    return (
      office.term !== now.term ||
      nowMs - sinceMs >= ROUND_MS_MAX ||
      now.others.every((id) => answers.has(id))
    );
  }

  private ask({ office, index, hash }: Round, to: NodeId, agreed: boolean): void {
    const { id: from, term } = office;
    this.send({ type: 'state-hash', from, to, term, index, hash, agreed });
  }

  /** A leader's question. */
  private answer(asked: Extract<StateHashMessage, { type: 'state-hash' }>): void {
    const { from, to, term, index, hash, agreed } = asked;
    const slot = index % REMEMBERED_MAX;
    const own = this.hashes[slot];
    if (this.indexes[slot] !== index || own === undefined) return;
    if (!agreed)
      this.send({ type: 'state-hash-reply', from: to, to: from, term, index, hash: own });
    else if (own !== hash) this.events.onDiverged({ index, own, agreed: hash });
  }

  private onAnswer(answer: Extract<StateHashMessage, { type: 'state-hash-reply' }>): void {
    const { round } = this;
    if (round === null || round.office.term !== answer.term || round.index !== answer.index) return;
    round.answers.set(answer.from, answer.hash);
    if (isAgreed(round, round.hash)) {
      for (const [to, hash] of round.answers) if (hash !== round.hash) this.ask(round, to, true);
    } else if (answer.hash !== round.hash && isAgreed(round, answer.hash)) {
      this.events.onDiverged({ index: round.index, own: round.hash, agreed: answer.hash });
    } else if (isDisputed(round) && this.disputedTerm !== answer.term) {
      this.disputedTerm = answer.term;
      this.events.onDisputed(round.index);
    }
  }
}

function isAgreed({ office, answers }: Round, hash: number): boolean {
  const same = new Map([...answers].map(([id, one]) => [id, one === hash]));
  return tally(same, voterSets(office.configuration)) === 'won';
}

function isDisputed({ office, answers }: Round): boolean {
  return voterSets(office.configuration).every((ids) => ids.every((id) => answers.has(id)));
}

/** As the status shows it. */
export function hashText(hash: number): string {
  return hash.toString(16).padStart(8, '0');
}
