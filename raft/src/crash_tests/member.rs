//! A member whose parts are driven by hand, as openraft and the snapshotter drive them.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;
use openraft::AsyncRuntime;
use openraft::async_runtime::Oneshot as _;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::vote::RaftLeaderId;
use openraft_rt_tokio::TokioRuntime;
use store::engine::Engine;

use super::disk::{Disk, Point};
use super::ledger::{Ledger, Link};
use super::recovery::{Assembled, apply, assemble, config, open};
use super::sender::Sending;
use crate::behind::Behind;
use crate::log_store::LogStore;
use crate::snapshot::{Incoming, SnapshotDir};
use crate::state_machine::StateMachine;
use crate::types::{CommittedLeaderId, Entry, LeaderId, LogId, Payload, Types, Vote};

type R = TokioRuntime;

/// Keys that one step of a compaction looks at: fewer than there are.
const KEYS_PER_STEP: usize = 2;

/// Who leads when this member does not.
const OTHER: u64 = 2;

pub(super) struct Member {
    pub(super) disk: Disk,
    log: LogStore,
    machine: StateMachine<R>,
    behind: Arc<Behind>,
    engine: Arc<dyn Engine>,
    snapshots: SnapshotDir,
    runtime: tokio::runtime::Runtime,
    vote: Vote,
    /// The last term that anybody had.
    term_last: u64,
    applied: Option<Arc<Link>>,
    incoming: Option<(Incoming, Sending)>,
    /// What waits for the log's writer.
    pub(super) waiting: usize,
}

impl Member {
    /// On an empty disk.
    pub(super) fn new() -> Member {
        let disk = Disk::new();
        let mut opened = open(disk.vfs(), Box::new(disk.clone())).unwrap();
        disk.set_writer(Box::pin(opened.take_writer().run()));
        let engine = opened.engine.clone();
        let Assembled { log, machine, behind, snapshots, .. } = assemble(opened);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let vote = Vote { leader_id: LeaderId::new(0, 0), committed: false };
        let (term_last, applied, incoming, waiting) = (0, None, None, 0);
        Member {
            disk,
            log,
            machine,
            behind,
            engine,
            snapshots,
            runtime,
            vote,
            term_last,
            applied,
            incoming,
            waiting,
        }
    }

    /// The last entry of the log.
    pub(super) fn last(&self) -> Option<Arc<Link>> {
        self.disk.with_ledger(|ledger| ledger.log().last.clone())
    }

    /// How many entries at the end of the log are not committed.
    pub(super) fn uncommitted(&self) -> u64 {
        next_index(self.last().as_ref()) - next_index(self.applied.as_ref())
    }

    /// Stands for election, in a term of its own.
    pub(super) fn stand(&mut self) {
        self.term_last += 1;
        self.save_vote(Vote {
            leader_id: LeaderId::new(self.term_last, config().member_id),
            committed: false,
        });
    }

    /// Somebody leads in a new term, and what `count` entries at the end hold is not what it has.
    pub(super) fn truncate(&mut self, count: u64) {
        self.term_last += 1;
        self.follow(self.term_last);
        self.truncate_after(next_index(self.last().as_ref()) - count);
    }

    /// Appends, and applies `committed` entries of what is in the log then.
    pub(super) fn append(&mut self, payloads: Vec<Payload>, committed: u64) {
        if !self.vote.committed {
            // It was elected.
            self.save_vote(Vote { committed: true, ..self.vote });
        }
        let mut before = self.last();
        let mut entries = Vec::new();
        self.disk.with_ledger(|ledger| {
            for payload in payloads {
                let log_id = log_id(self.vote.leader_id.term, next_index(before.as_ref()));
                entries.push(Entry { log_id, payload: payload.clone() });
                let link = ledger.link(before.as_ref(), log_id, payload);
                ledger.append(link.clone());
                before = Some(link);
            }
        });
        let (tx, told) = <R as AsyncRuntime>::Oneshot::channel();
        let appended =
            RaftLogStorage::<Types<R>>::append(&mut self.log, entries, IOFlushed::signal(tx));
        appended.now_or_never().expect("it waits for nothing").unwrap();
        self.disk.with_ledger(|ledger| ledger.expect(told));
        self.waiting += 1;
        // Which of the two ways the log goes on is open while another's snapshot is on its way.
        if self.incoming.is_none() {
            self.commit(committed);
        }
    }

    /// Applies the next `count` entries; their log's sync may be still to come.
    fn commit(&mut self, count: u64) {
        let from = next_index(self.applied.as_ref());
        let to = (from + count).min(next_index(self.last().as_ref()));
        let Some(last) = self.last().and_then(|last| last.at(to.checked_sub(1)?).cloned()) else {
            return;
        };
        let entries = last
            .up_from(from)
            .into_iter()
            .map(|link| Entry { log_id: link.log_id, payload: link.payload.clone() });
        apply(&mut self.machine, entries.collect()).now_or_never().expect("no wait").unwrap();
        self.now_applied(last);
    }

    fn now_applied(&mut self, last: Arc<Link>) {
        self.disk.with_ledger(|ledger| ledger.applied(last.log_id));
        self.applied = Some(last);
    }

    /// The log's writer takes its turn.
    pub(super) fn write(&mut self) {
        self.disk.write();
        self.waiting = 0;
    }

    /// Writes a snapshot, if the last one is older than what was applied.
    pub(super) fn snapshot(&mut self) -> bool {
        let newest = self.snapshots.newest().and_then(|newest| newest.index());
        let Some(applied) = self.applied.clone() else { return false };
        if newest == Some(applied.log_id.index) {
            return false;
        }
        let built = self
            .runtime
            .block_on(async { self.machine.get_snapshot_builder().await.build_snapshot().await });
        let built = built.unwrap();
        assert_eq!(built.meta.last_log_id, Some(applied.log_id));
        let bytes = built.snapshot.piece(0, 1 << 20).unwrap();
        self.disk.with_ledger(|ledger| {
            ledger.wrote(applied.log_id, bytes.to_vec());
            ledger.finished(applied.log_id);
        });
        true
    }

    /// Writes to the engine what was applied, as far as the log is durable, and has it forget some of
    /// what was compacted. Whatever of that is not flushed, a power failure may leave.
    pub(super) fn flush(&mut self) -> bool {
        let before = self.disk.unflushed();
        self.behind.flush_all().unwrap();
        self.behind.compact_step(KEYS_PER_STEP).unwrap();
        self.disk.unflushed() > before
    }

    /// Purges the log behind the snapshot before the last, if it goes back further.
    pub(super) fn purge(&mut self) -> bool {
        let purged = self.disk.with_ledger(|ledger| ledger.log().purged.map(|it| it.index));
        let Some(upto) = self.snapshots.purge_to().filter(|upto| Some(*upto) > purged) else {
            return false;
        };
        self.behind.flush_all().unwrap();
        self.engine.flush().unwrap();
        while self.behind.compact_step(1000).unwrap() {}
        let upto = self.last().and_then(|last| last.at(upto).cloned()).expect("it is in the log");
        self.purge_log(&upto, 2);
        true
    }

    fn purge_log(&mut self, upto: &Arc<Link>, snapshots: usize) {
        self.disk.with_ledger(|ledger| ledger.purge(upto, snapshots));
        let purged = RaftLogStorage::<Types<R>>::purge(&mut self.log, upto.log_id);
        purged.now_or_never().expect("it waits for nothing").unwrap();
        self.waiting += 1;
    }

    /// Takes a piece of another's snapshot, the first if none was on its way; after the last it is
    /// installed.
    pub(super) fn receive(&mut self, begin: impl FnOnce(&mut Member) -> Option<Sending>) -> bool {
        if self.incoming.is_none() {
            let Some(sending) = begin(self) else { return false };
            self.incoming = Some((self.snapshots.receive().unwrap(), sending));
        }
        let Some((mut incoming, mut sending)) = self.incoming.take() else { return false };
        incoming.write(&sending.next_piece()).unwrap();
        if sending.is_over() {
            self.install(incoming, &sending);
        } else {
            self.incoming = Some((incoming, sending));
        }
        true
    }

    /// Its sender has gone.
    pub(super) fn forget(&mut self) -> bool {
        self.incoming.take().is_some()
    }

    /// As openraft orders it: the vote, what contradicts it, the snapshot, the log behind it.
    fn install(&mut self, incoming: Incoming, sending: &Sending) {
        let received = incoming.finish().unwrap();
        let upto = sending.last.clone();
        if sending.term < self.vote.leader_id.term
            || Some(upto.log_id) <= self.applied.as_ref().map(|applied| applied.log_id)
        {
            // Of a leader that was deposed meanwhile, or of no use.
            return;
        }
        self.follow(sending.term);
        let own = self.last().and_then(|last| last.at(upto.log_id.index).cloned());
        if own.is_some_and(|own| own.log_id != upto.log_id) {
            self.truncate_after(next_index(self.applied.as_ref()));
        }
        let meta = received.meta().clone();
        self.runtime.block_on(self.machine.install_snapshot(&meta, received)).unwrap();
        self.disk.with_ledger(|ledger| ledger.finished(upto.log_id));
        self.purge_log(&upto, 1);
        self.now_applied(upto);
    }

    /// The leader of another.
    pub(super) fn new_term(&mut self) -> u64 {
        self.term_last += 1;
        self.term_last
    }

    pub(super) fn machine(&self) -> (&StateMachine<R>, Option<&Arc<Link>>) {
        (&self.machine, self.applied.as_ref())
    }

    fn follow(&mut self, term: u64) {
        let vote = Vote { leader_id: LeaderId::new(term, OTHER), committed: true };
        if vote != self.vote {
            self.save_vote(vote);
        }
    }

    fn save_vote(&mut self, vote: Vote) {
        self.vote = vote;
        self.disk.with_ledger(|ledger| ledger.vote(vote));
        let mut log = self.log.clone();
        self.finish(RaftLogStorage::<Types<R>>::save_vote(&mut log, &vote));
    }

    /// The log ends before `next`.
    fn truncate_after(&mut self, next: u64) {
        let last = next.checked_sub(1).and_then(|index| self.last()?.at(index).cloned());
        self.disk.with_ledger(|ledger| ledger.truncate(last.clone()));
        let mut log = self.log.clone();
        let last = last.map(|last| last.log_id);
        self.finish(RaftLogStorage::<Types<R>>::truncate_after(&mut log, last));
    }

    /// Waits for what the log's writer has to do first.
    fn finish(&mut self, done: impl Future<Output = std::io::Result<()>>) {
        let mut done = pin!(done);
        assert!(done.as_mut().now_or_never().is_none(), "done before it was written");
        self.write();
        done.now_or_never().expect("it was written").unwrap();
        self.disk.with_ledger(Ledger::acknowledged);
    }

    /// Ends it: what was kept of its disk, and what it was promised.
    pub(super) fn end(self) -> (Vec<Point>, Ledger) {
        self.disk.keep();
        self.disk.finish()
    }
}

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(term), index }
}

pub(super) fn next_index(last: Option<&Arc<Link>>) -> u64 {
    last.map_or(0, |last| last.log_id.index + 1)
}
