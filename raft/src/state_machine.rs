//! Openraft's state machine over the store: committed entries go in, answers and events come out.
//!
//! One task applies, in order, in memory. It never waits for a watcher, and for the disk only when
//! too much is pending. What it applied is on disk already, as log.

use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::command::Op;
use api::berthpb::{Command, Origin};
use fail::fail_point;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftSnapshotBuilder};
use smallvec::SmallVec;
use store::engine::Engine;
use store::{Applied, Position, Response, Store};

use crate::background;
use crate::behind::Behind;
use crate::codec;
use crate::config::AppliedObserver;
use crate::forward::Waiters;
use crate::lessor::Lessor;
use crate::peer::Roster;
use crate::snapshot::{SnapshotDir, SnapshotFile, SnapshotHeader};
use crate::sole::Sole;
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, Types};

/// Log bytes applied between two looks at whether a snapshot is due, at most: less where snapshots
/// are due sooner.
const SNAPSHOT_LOOK_BYTES_MAX: u64 = 1 << 20;

/// The type openraft's snapshots have here.
type SnapshotOf = Snapshot<crate::types::CommittedLeaderId, u64, crate::types::Peer, SnapshotFile>;

/// The owner of the store.
pub(crate) struct StateMachine<R: AsyncRuntime> {
    store: Store,
    engine: Arc<dyn Engine>,
    options: store::Options,
    cluster_id: u64,
    member_id: u64,
    publisher: watch::Publisher,
    lessor: Lessor<R>,
    on_applied: Option<AppliedObserver>,
    log_next: u64,
    snapshots: SnapshotDir,
    behind: Arc<Behind>,
    roster: Roster,
    waiters: Waiters,
    sole: Sole,
    /// Log bytes applied since the last look at whether a snapshot is due.
    unlooked_bytes: u64,
    look_bytes: u64,
}

/// What a state machine is made of.
pub(crate) struct Parts<R: AsyncRuntime> {
    pub(crate) store: Store,
    /// What `store` was opened on.
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) options: store::Options,
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) publisher: watch::Publisher,
    pub(crate) lessor: Lessor<R>,
    pub(crate) on_applied: Option<AppliedObserver>,
    /// Entries below were in the log when the node started: they may have been applied before.
    pub(crate) log_next: u64,
    pub(crate) snapshots: SnapshotDir,
    /// See [`Config::snapshot_log_bytes_min`](crate::Config::snapshot_log_bytes_min).
    pub(crate) snapshot_log_bytes_min: u64,
    pub(crate) behind: Arc<Behind>,
    pub(crate) roster: Roster,
    pub(crate) waiters: Waiters,
    pub(crate) sole: Sole,
}

impl<R: AsyncRuntime> StateMachine<R> {
    pub(crate) fn new(parts: Parts<R>) -> StateMachine<R> {
        StateMachine {
            store: parts.store,
            engine: parts.engine,
            options: parts.options,
            cluster_id: parts.cluster_id,
            member_id: parts.member_id,
            publisher: parts.publisher,
            lessor: parts.lessor,
            on_applied: parts.on_applied,
            log_next: parts.log_next,
            snapshots: parts.snapshots,
            behind: parts.behind,
            roster: parts.roster,
            waiters: parts.waiters,
            sole: parts.sole,
            unlooked_bytes: 0,
            look_bytes: SNAPSHOT_LOOK_BYTES_MAX.min(parts.snapshot_log_bytes_min / 4),
        }
    }

    /// A consistent view of the whole state now, and what it is.
    pub(crate) fn view(&self) -> io::Result<(SnapshotHeader, store::Snapshot)> {
        let (last_log_id, last_membership) = self.applied()?;
        let meta = SnapshotMeta { last_log_id, last_membership };
        Ok((SnapshotHeader { cluster_id: self.cluster_id, meta }, self.store.snapshot()))
    }

    /// The last applied entry and the membership then.
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let reader = self.store.reader();
        let log_id = codec::log_id_at(&reader.position())?;
        let membership = codec::decode_stored_membership(reader.membership().as_deref())?;
        Ok((log_id, membership))
    }

    /// A panic here is a defect in the store. Uncaught, it would end openraft's task of applying and
    /// nothing else: every caller would wait for ever.
    fn apply_caught(&mut self, entry: Entry) -> io::Result<(Applied, Option<Origin>)> {
        let index = entry.log_id.index + 1;
        // Whatever the panic left half done is not looked at again: the process ends.
        catch_unwind(AssertUnwindSafe(|| self.apply_entry(entry))).unwrap_or_else(|_| {
            let message = format!(
                "applying entry {index} of the log panicked. This is a defect in berth: please \
                 report it with the message above. Nothing that was acknowledged is lost"
            );
            self.behind.failure.set(message.clone());
            Err(io::Error::other(message))
        })
    }

    /// What came of it, and who may wait for that.
    fn apply_entry(&mut self, entry: Entry) -> io::Result<(Applied, Option<Origin>)> {
        let log_id = entry.log_id;
        let position = codec::position(&log_id);
        let index = position.index;
        let proposal = match entry.payload {
            EntryPayload::Normal(proposal) => proposal,
            EntryPayload::Blank => {
                self.store.advance(position, None);
                return Ok((self.nothing(), None));
            }
            EntryPayload::Membership(membership) => {
                if let Some(observer) = &self.on_applied {
                    observer.0.members_changed(index, membership.get_joint_config());
                }
                self.change_members(position, &StoredMembership::new(Some(log_id), membership))?;
                return Ok((self.nothing(), None));
            }
        };
        self.lessor.expect(proposal.command());
        let trail = proposal.trail();
        if let Some(trail) = &trail {
            trail.applying();
        }
        let applied = self.apply_command(position, proposal.command());
        if let Some(trail) = &trail {
            trail.applied();
        }
        match &applied.result {
            Err(store::Error::Engine(error)) => {
                return Err(io::Error::other(self.behind.engine_failed(error)));
            }
            // The codec lets none of these through. Were it to, passing over one would be worse.
            Err(store::Error::UnknownCommand) => {
                let message = format!("entry {index} of the log is {}", codec::LATER_VERSION);
                self.behind.failure.set(message.clone());
                return Err(io::Error::other(message));
            }
            Ok(Response::Compact(_)) => self.behind.compact.raise(),
            Ok(Response::PublishMember) => self.roster.follow(&self.store.reader())?,
            _ => {}
        }
        self.lessor.observe(index, proposal.command(), &applied);
        if let Some(observer) = &self.on_applied {
            let again = log_id.index < self.log_next;
            observer.0.applied(proposal.command(), &applied, again);
        }
        if !applied.events.is_empty() {
            self.publisher.publish(&applied.events);
        }
        self.unlooked_bytes += proposal.encoded_len() as u64;
        Ok((applied, proposal.command().origin))
    }

    /// Readers see what the command changed when this returns.
    fn apply_command(&mut self, position: Position, command: &Command) -> Applied {
        let compacts = matches!(command.op, Some(Op::Compact(_)));
        fail_point!("beforeApplyOneEntryNormal");
        if compacts {
            fail_point!("compactBeforeCommitScheduledCompact");
        }
        fail_point!("beforeWritebackBuf");
        let applied = self.store.apply(position, command);
        fail_point!("afterWritebackBuf");
        if compacts {
            fail_point!("compactAfterCommitScheduledCompact");
        }
        applied
    }

    /// Whoever is not in the new membership is removed for good.
    fn change_members(&mut self, position: Position, to: &StoredMembership) -> io::Result<()> {
        fail_point!("beforeApplyOneConfChange");
        let before = self.store.reader().membership();
        let mut removed = codec::decode_removed(before.as_deref())?;
        let stored = codec::decode_stored_membership(before.as_deref())?;
        let ids = stored.membership().nodes().map(|(id, _)| *id);
        let is_member = |id: &u64| to.membership().get_node(id).is_some();
        removed.extend(ids.filter(|id| !is_member(id)));
        self.store.advance(position, Some(codec::encode_membership_state(to, &removed)));
        self.roster.follow(&self.store.reader())
    }

    /// Tells whoever waits here for a command that travelled to the leader.
    fn tell_origin(&self, origin: Option<Origin>, applied: Applied) {
        if let Some(Origin { member_id, sequence }) = origin
            && member_id == self.member_id
        {
            self.waiters.applied(sequence, applied);
        }
    }

    /// Openraft wants an answer to entries without a command too; nobody reads it.
    fn nothing(&self) -> Applied {
        Applied {
            revision: self.store.reader().revision(),
            result: Ok(Response::ExpireLeases),
            events: SmallVec::new(),
        }
    }

    /// Wakes who works behind.
    fn call_behind(&mut self) {
        self.behind.flush.raise();
        if self.unlooked_bytes >= self.look_bytes {
            self.unlooked_bytes = 0;
            self.behind.snapshot.raise();
        }
    }
}

impl<R: AsyncRuntime> RaftStateMachine<Types<R>> for StateMachine<R> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder<R>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.applied()
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types<R>>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let (applied, origin) = self.apply_caught(entry)?;
            // Events were published: whoever sees the answer finds the watchers served soon.
            match responder {
                Some(responder) => ApplyResponder::send(responder, applied),
                None => self.tell_origin(origin, applied),
            }
            self.call_behind();
            if !background::wait_for_room::<R>(&self.behind).await {
                return Err(io::Error::other("the engine failed while much was pending"));
            }
        }
        Ok(())
    }

    /// None while the disk has no room for it: what is written until it is full would be in the way of
    /// the log, and what the snapshot holds cannot be compacted away meanwhile.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder<R>> {
        let bytes = self.store.reader().size().live_bytes;
        match self.snapshots.check_room(bytes) {
            Err(error) if !force => {
                tell_unwritten(&self.snapshots, &error);
                None
            }
            _ => Some(self.get_snapshot_builder().await),
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<R> {
        // An error shows, and is reported, when the snapshot is built.
        SnapshotBuilder {
            view: Some(self.view()),
            snapshots: self.snapshots.clone(),
            behind: self.behind.clone(),
            runtime: PhantomData,
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        if snapshot.meta() != meta || snapshot.header().cluster_id != self.cluster_id {
            return Err(io::Error::other("the snapshot is not the one that was announced"));
        }
        self.sole.replacing();
        let (snapshots, behind) = (self.snapshots.clone(), self.behind.clone());
        let (engine, options) = (self.engine.clone(), self.options.clone());
        let restored = R::spawn_blocking(move || {
            fail_point!("raftBeforeSaveSnap");
            // Durable first: from here on a crash finds it and starts from it.
            let snapshot = snapshots.adopt(&snapshot)?;
            fail_point!("raftAfterSaveSnap");
            fail_point!("raftBeforeApplySnap");
            let store = behind.replace(|| {
                fail_point!("applyBeforeOpenSnapshot");
                let store = Store::restore(engine, options, &mut snapshot.read_state());
                fail_point!("applyAfterOpenSnapshot");
                store
            });
            fail_point!("raftAfterApplySnap");
            store
        });
        self.store = restored.await??;
        self.publisher.reset(self.store.reader());
        self.waiters.forget_all();
        if let Some(observer) = &self.on_applied {
            observer.0.replaced();
        }
        self.roster.follow(&self.store.reader())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf>, io::Error> {
        let newest = self.snapshots.newest();
        Ok(newest.map(|file| Snapshot { meta: file.meta().clone(), snapshot: file }))
    }
}

#[cfg(test)]
mod tests;

/// A snapshot that could not be written, and that no older one stands in for, is tried again after
/// so many looks at whether the node ends.
const SNAPSHOT_RETRY_LOOKS: u32 = 60;
const SNAPSHOT_RETRY_LOOK: Duration = Duration::from_secs(1);

/// Writes the snapshot of one moment, while the state machine goes on.
pub(crate) struct SnapshotBuilder<R> {
    /// Taken by the one build there is.
    view: Option<io::Result<(SnapshotHeader, store::Snapshot)>>,
    snapshots: SnapshotDir,
    behind: Arc<Behind>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<Types<R>> for SnapshotBuilder<R> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf, io::Error> {
        let view = self.view.take().unwrap_or_else(|| Err(io::Error::other("built already")));
        let moment = Arc::new(view?);
        loop {
            let (moment, snapshots) = (moment.clone(), self.snapshots.clone());
            let written = R::spawn_blocking(move || {
                let (header, view) = &*moment;
                let write = |mut out: &mut dyn io::Write| view.write_to(&mut out);
                snapshots.write(header, |out| write(out).map_err(io::Error::other))
            });
            if let Some(file) = self.settle(written.await?) {
                return Ok(Snapshot { meta: file.meta().clone(), snapshot: file });
            }
            for _ in 0..SNAPSHOT_RETRY_LOOKS {
                R::sleep(SNAPSHOT_RETRY_LOOK).await;
                if self.behind.snapshot.is_closed() {
                    return Err(io::Error::other("the node ends"));
                }
            }
        }
    }
}

impl<R> SnapshotBuilder<R> {
    /// What is told to openraft. To it a failure would be the end of the node, and here it costs
    /// nothing but a longer log: an older snapshot is told again, and a newer one, installed
    /// meanwhile, does as well. `None`: there is none at all.
    fn settle(&self, written: io::Result<SnapshotFile>) -> Option<SnapshotFile> {
        match written {
            Ok(file) => Some(file),
            Err(error) => {
                tell_unwritten(&self.snapshots, &error);
                self.snapshots.newest()
            }
        }
    }
}

fn tell_unwritten(snapshots: &SnapshotDir, error: &io::Error) {
    snapshots.note_failure();
    tracing::warn!(
        %error,
        "a snapshot could not be written; the log grows until one can: is the disk full?"
    );
}
