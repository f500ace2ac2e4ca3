import type { NodeState } from './node-state.js';
import { tally, voterSets } from './quorum.js';
import type { PreVote, PreVoteReply, Vote, VoteReply } from './types.js';

/** Standing for election, and voting for others (thesis §3.4, §9.6, §4.2.3). */
export class Elections {
  constructor(private readonly node: NodeState) {}

  private isUpToDate(candidate: PreVote | Vote): boolean {
    const { lastTerm, lastIndex } = this.node.log;
    return (
      candidate.lastTerm > lastTerm ||
      (candidate.lastTerm === lastTerm && candidate.lastIndex >= lastIndex)
    );
  }

  startPreVote(): void {
    this.node.role = 'pre-candidate';
    this.node.setLeader(null);
    this.node.resetElectionTimer();
    this.node.votes.clear();
    this.node.votes.set(this.node.config.id, true);
    this.askForPreVotes();
    this.countVotes();
  }

  /**
   * Asks whoever has not answered. Again and again: who heard from the lost leader a little later
   * than this node says nothing yet, and to wait another timeout for that is time without service.
   * Learners, too: by now they may be the voters, and know that this node was removed.
   */
  askForPreVotes(): void {
    for (const to of this.node.peers) {
      if (this.node.votes.has(to)) continue;
      this.node.outbox.send({ type: 'pre-vote', to, ...this.candidacy(this.node.term + 1) });
    }
  }

  startElection({ transfer }: Pick<Vote, 'transfer'>): void {
    const term = this.node.term + 1;
    this.node.role = 'candidate';
    this.node.setLeader(null);
    this.node.resetElectionTimer();
    this.node.votes.clear();
    this.node.outbox.setHardState({
      ...this.node.outbox.hardState,
      term,
      vote: this.node.config.id,
    });
    // The own vote counts, and others are asked for theirs, once it is durable: after a crash this
    // node must not vote for somebody else in a term in which it was elected.
    for (const to of this.node.voterPeers) {
      this.node.outbox.sendDurably({ type: 'vote', to, transfer, ...this.candidacy(term) }, 0);
    }
  }

  private candidacy(term: number) {
    const { lastIndex, lastTerm } = this.node.log;
    return { from: this.node.config.id, term, lastIndex, lastTerm };
  }

  onPreVote(message: PreVote): void {
    if (this.node.recovering || this.node.hasLeader) return;
    const isUpToDate = this.isUpToDate(message);
    if (!isUpToDate) this.node.noteOlderLog();
    const granted = message.term > this.node.term && isUpToDate;
    this.node.outbox.sendDurably(
      {
        type: 'pre-vote-reply',
        from: this.node.config.id,
        to: message.from,
        term: granted ? message.term : this.node.term,
        granted,
      },
      0,
    );
  }

  onPreVoteReply(message: PreVoteReply): void {
    if (this.node.role !== 'pre-candidate') return;
    if (message.granted && message.term !== this.node.term + 1) return;
    this.node.votes.set(message.from, message.granted);
    this.countVotes();
  }

  /** It does not even learn the term from them. */
  ignoresVotes(message: Vote): boolean {
    return this.node.recovering || (this.node.hasLeader && !message.transfer);
  }

  onVote(message: Vote): void {
    if (this.node.recovering) return;
    const { vote } = this.node.outbox.hardState;
    const free = vote === message.from || (vote === null && this.node.leader === null);
    const granted = free && this.isUpToDate(message);
    if (granted) {
      if (vote === null) {
        this.node.outbox.setHardState({ ...this.node.outbox.hardState, vote: message.from });
      }
      this.node.resetElectionTimer();
    }
    this.replyToVote(message, granted);
  }

  replyToVote(message: Vote, granted: boolean): void {
    const { from, term } = this.node.sender();
    this.node.outbox.sendDurably({ type: 'vote-reply', from, to: message.from, term, granted }, 0);
  }

  onVoteReply(message: VoteReply): void {
    if (this.node.role !== 'candidate') return;
    this.node.votes.set(message.from, message.granted);
    this.countVotes();
  }

  countVotes(): void {
    const result = tally(this.node.votes, voterSets(this.node.configuration));
    if (result === 'lost') this.node.becomeFollower(this.node.term);
    else if (result === 'won' && this.node.role === 'pre-candidate')
      this.startElection({ transfer: false });
    // With others' votes alone it could win before its own is durable; then it waits for that.
    else if (result === 'won' && this.node.votes.has(this.node.config.id)) this.node.becomeLeader();
  }
}
