/** A mistake, made in a file of the built program: exactly one place is changed. */
export interface Mutation {
  readonly name: string;
  /** Under dist/. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/**
 * Mistakes that a simulation worth its name must find. Each is a small change of the built code,
 * made in memory when the module is loaded: the sources know nothing of them.
 */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'the vote of a term is forgotten after a restart',
    file: 'src/raft/node-state.js',
    from: 'this.outbox = new Outbox(restored.hardState, this.log);',
    to: 'this.outbox = new Outbox({ ...restored.hardState, vote: null }, this.log);',
  },
  {
    name: 'an append is acknowledged before it is synced',
    file: 'src/node/runtime.js',
    from: 'saver.add(ready.save, ready.messagesAfterSave);',
    to: 'saver.add(ready.save, []), this.sendAll(ready.messagesAfterSave);',
  },
  {
    name: 'a read is served before the first entry of the term is committed',
    file: 'src/raft/reads.js',
    from: 'if (this.node.hasCommittedInTerm && replication.reads.canBegin) {',
    to: 'if (replication.reads.canBegin) {',
  },
  {
    name: 'a read is served by a leader that was paused',
    file: 'src/raft/replication.js',
    from: 'return confirmed ? this.reads.end() : null;',
    to: 'return this.reads.end();',
  },
  {
    name: 'a lease is trusted to its end, although clocks run apart',
    file: 'src/base/lease-time.js',
    from: 'durationMs * USED_PART - passedMs',
    to: 'durationMs - passedMs',
  },
  {
    name: 'a lease is trusted by a machine that slept',
    file: 'src/base/lease-time.js',
    from: 'apartMs <= durationMs * CLOCK_TOLERANCE ?',
    to: 'apartMs >= 0 ?',
  },
  {
    name: 'a commit is counted without a majority',
    file: 'src/raft/quorum.js',
    from: 'return reached[majorityOf(reached.length) - 1] ?? 0;',
    to: 'return reached[Math.max(0, majorityOf(reached.length) - 2)] ?? 0;',
  },
  {
    name: 'a commit is counted by the new voters alone while the members change',
    file: 'src/raft/replication.js',
    from: 'this.quorums = voterSets(configuration).map(',
    to: 'this.quorums = voterSets({ ...configuration, outgoing: [] }).map(',
  },
  {
    // By joint consensus the second alone does no harm: an old change, too, is agreed by both majorities.
    name: 'the members change before the change before it and an entry of the term are committed',
    file: 'src/raft/member-changes.js',
    from: `        if (!this.node.hasCommittedInTerm || transfer !== null) {
            return { ok: false, reason: 'busy', message: 'the leader is taking or leaving office' };
        }
        if (latest.index > this.node.commitIndex || isJoint(latest.configuration)) {
            return { ok: false, reason: 'busy', message: 'another change of the members is under way' };
        }
`,
    to: '',
  },
  {
    name: 'a node that was removed, or is no voter yet, disrupts the others',
    file: 'src/raft/raft.js',
    from: `        else if (this.node.recovering || !this.node.mayStand)
            this.tickBystander();
        else if (this.node.electionElapsed >= this.node.electionTimeout)
            this.elections.startPreVote();
`,
    to: `        else if (this.node.recovering)
            this.tickBystander();
        else if (this.node.electionElapsed >= this.node.electionTimeout) {
            if (this.node.mayStand)
                this.elections.startPreVote();
            else
                this.elections.startElection({ transfer: true });
        }
`,
  },
  {
    name: 'a configuration that is not committed is lost at a restart',
    file: 'src/raft/configurations.js',
    from: 'if (entry.index > restored.appliedIndex)',
    to: 'if (false)',
  },
  {
    name: 'who starts dials only the members that its tree knows',
    file: 'src/node/runtime.js',
    from: 'transport.setPeers(membersOf(this.present.configuration.configuration));',
    to: 'transport.setPeers(membersOf(restored.configuration.configuration));',
  },
  {
    name: 'an entry of an old term is committed by counting',
    file: 'src/raft/leading.js',
    from: 'if (index <= this.node.commitIndex || this.node.log.terms.termAt(index) !== this.node.term)',
    to: 'if (index <= this.node.commitIndex)',
  },
  {
    name: 'a follower for whom everything was purged is never sent a snapshot',
    file: 'src/raft/replication.js',
    from: 'this.snapshotsTo.push(follower.id);',
    to: '',
  },
  {
    name: 'a snapshot leaves a conflicting log behind',
    file: 'src/storage/memory.js',
    from: 'log.entries = [];',
    to: '',
  },
  {
    name: 'a snapshot is acknowledged before it is durable',
    file: 'src/node/snapshots.js',
    from: 'await source.finish();',
    to: 'void source.finish();',
  },
  {
    name: 'the applied index is written apart from the tree',
    file: 'src/node/tree.js',
    from: 'this.store.write(overlay.changes(), mark).then(',
    to: 'this.store.write([], mark).then(() => this.store.write(overlay.changes(), mark)).then(',
  },
  {
    name: 'the sessions are missing in a snapshot',
    file: 'src/storage/memory.js',
    from: '.map((key) => [key, state.records.get(key) ?? Buffer.alloc(0)])',
    to: ".filter((key) => key[0] !== 's').map((key) => [key, state.records.get(key) ?? Buffer.alloc(0)])",
  },
  {
    name: 'a failed sync counts as one that succeeded later',
    file: 'src/node/saver.js',
    from: `            this.refuseMore();
            this.events.onFailed(error);
            this.ended();`,
    to: `            this.written += saves.length;
            this.events.onSaved(last.number, messages);
            this.ended();`,
  },
  {
    name: 'a node goes on when its disk has failed',
    file: 'src/node/saver.js',
    from: 'this.events.onFailed(error);',
    to: '',
  },
  {
    name: 'corruption is taken for the end of the log',
    file: 'src/node/recovery.js',
    from: 'await log.open();',
    to: `await log.open().catch(async (error) => {
        const truncateFrom = Number(/^entry (\\d+)/.exec(error.message)?.[1]);
        if (!(truncateFrom > 0)) throw error;
        await log.append([{ number: 0, hardState: null, truncateFrom, entries: [] }]);
        return log.open();
    });`,
  },
  {
    name: 'two incarnations of a cluster do not refuse each other',
    file: 'src/transport/check-greeting.js',
    from: 'return one !== 0 && other !== 0 && one !== other;',
    to: 'return false;',
  },
  {
    name: 'who recovers goes on behind its tree, and not behind its log',
    file: 'src/node/recover.js',
    from: `                truncateFrom: null,
                entries: [{ index: restored.lastIndex + 1,`,
    to: `                truncateFrom: mark.index + 1,
                entries: [{ index: mark.index + 1,`,
  },
  {
    name: 'commands that were decided are kept',
    file: 'src/node/proposals.js',
    from: `        this.proposed.delete(mark.index);
`,
    to: '',
  },
  {
    name: 'the checksums of stored records are not looked at',
    file: 'src/codec/records.js',
    from: 'if (checksumOf(key, payload) !== sealed.readUInt32LE()) {',
    to: 'if (sealed.length < CHECKSUM_BYTES) {',
  },
  {
    name: 'a leader with a hung disk goes on with its heartbeats',
    file: 'src/node/stall.js',
    from: 'return nowMs - this.sinceMs >= STALL_MS;',
    to: 'return false;',
  },
  // No pre-vote, and no vote is refused for a leader that the voter hears. Either alone does it not: who
  // does not reach the leader soon lacks an entry, and nobody votes for it.
  {
    name: 'a partial partition brings elections without end',
    file: 'src/raft/elections.js',
    from: "this.node.role = 'pre-candidate';",
    to: 'return this.startElection({ transfer: true });',
  },
  {
    name: 'a late save acknowledges entries that were replaced since',
    file: 'src/raft/log.js',
    from: 'save.lastIndex = Math.min(save.lastIndex, index - 1);',
    to: '',
  },
  {
    name: 'commands are applied twice after a crash',
    file: 'src/node/tree.js',
    from: 'const mark = await this.store.open();',
    to: 'const stored = await this.store.open(); const mark = { index: Math.max(0, stored.index - 1), term: stored.term };',
  },
  {
    name: 'the log is truncated below the commit index',
    file: 'src/raft/following.js',
    from: 'for (let i = Math.max(0, this.node.commitIndex - prevIndex); i < entries.length; i++) {',
    to: 'for (let i = 0; i < entries.length; i++) { if (entries[i].index <= log.lastIndex && entries[i].index > log.appliedIndex) log.truncate(entries[i].index);',
  },
  {
    name: 'a vote counts before it is durable',
    file: 'src/raft/outbox.js',
    from: 'if (save <= this.savedNumber)',
    to: "if (save <= this.savedNumber || message.type === 'vote-reply')",
  },
  {
    name: 'a candidate with an older log gets votes',
    file: 'src/raft/elections.js',
    from: '(candidate.lastTerm === lastTerm && candidate.lastIndex >= lastIndex)',
    to: 'candidate.lastTerm === lastTerm',
  },
  {
    name: 'a node that lost its disk votes at once',
    file: 'src/node/recovery.js',
    from: 'recovering: log.hardState.recovering || isFresh(log)',
    to: 'recovering: false',
  },
  {
    name: 'an append is taken without a look at what stands before it',
    file: 'src/raft/following.js',
    from: 'if (prevIndex > this.node.commitIndex && log.terms.termAt(prevIndex) !== prevTerm) {',
    to: 'if (prevIndex > log.lastIndex) {',
  },
  {
    name: 'the log is compacted before the tree is synced',
    file: 'src/node/compaction.js',
    from: 'await state.sync();',
    to: '',
  },
  {
    name: 'a command that comes again is carried out again',
    file: 'src/filesystem/state-machine.js',
    from: `if (first !== undefined) {
        return { outcome: { type: 'repeated', reply: first }, ...NOTHING_DONE };
    }
    if (sequence !== lastSequence + 1 ||`,
    to: `if (first !== undefined && sequence !== lastSequence) {
        return { outcome: { type: 'repeated', reply: first }, ...NOTHING_DONE };
    }
    if ((sequence !== lastSequence + 1 && sequence !== lastSequence) ||`,
  },
  {
    name: 'a command may come out of its order',
    file: 'src/filesystem/state-machine.js',
    from: 'if (sequence !== lastSequence + 1 ||',
    to: 'if (sequence <= lastSequence ||',
  },
  {
    name: 'answers leave although somebody keeps what they change',
    file: 'src/node/leases.js',
    from: 'const waits = nowMs < this.office.readyMs || answer.index >= this.limitFor(nowMs)(holder);',
    to: 'const waits = nowMs < this.office.readyMs;',
  },
  {
    name: 'a new leader does not wait for the leases of the old one',
    file: 'src/node/leases.js',
    from: 'readyMs: grantsOver ? nowMs : nowMs + this.leaseMs',
    to: 'readyMs: nowMs',
  },
  {
    name: 'a lease is granted without a round of heartbeats',
    file: 'src/node/service.js',
    from: 'reads.strong(() => confirmed(tree.applied.index), refused);',
    to: 'confirmed(tree.applied.index);',
  },
  {
    name: 'a confirmed read does not wait for the tree',
    file: 'src/node/reads.js',
    from: 'else if (index <= appliedIndex)',
    to: 'else if (index <= Number.MAX_SAFE_INTEGER)',
  },
  {
    name: 'session reads forget what the client has seen',
    file: 'src/client/reads.js',
    from: "level === 'session' ? this.highestIndex() : 0;",
    to: '0;',
  },
  {
    name: 'a client that was refused takes it for done by somebody',
    file: 'src/client/session-queue.js',
    from: 'return queued.uncertain === 0;',
    to: 'return true;',
  },
  {
    name: 'a mount goes on deciding about locks when it has returned that',
    file: 'src/mount/lock-delegations.js',
    from: 'this.delegated.delete(ino);',
    to: 'void ino;',
  },
  {
    name: 'a leader with write concern all commits without those it waits for',
    file: 'src/raft/replication.js',
    from: 'this.awaited = this.followers.filter(({ id }) => ids.includes(id));',
    to: '',
  },
  {
    name: 'a voter that lacks what is committed may read by itself',
    file: 'src/node/live-voters.js',
    from: `        if (!isCaughtUp(follower, leading.commitIndex))
            return 0;
`,
    to: '',
  },
  {
    name: 'a session that is closed lives on',
    file: 'src/filesystem/sessions.js',
    from: `'the end of a session is of a session');
    endSession(draft, session);`,
    to: "'the end of a session is of a session');",
  },
];
