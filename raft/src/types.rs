//! The types that openraft is instantiated with.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use api::berthpb::Command;
use bytes::Bytes;
use futures::channel::oneshot;
use openraft::raft::responder::Responder;
use openraft::{AsyncRuntime, EntryPayload, RaftTypeConfig, impls};

use crate::admission::Permit;
use crate::codec;
use crate::config::Trail;

/// Openraft's type configuration over a runtime: tokio in the server, a deterministic one in the
/// simulator. Nothing else in this crate names a runtime.
pub(crate) struct Types<R>(PhantomData<fn() -> R>);

/// At most one leader per term, so that `raft_term` means to clients what it means in etcd.
pub(crate) type LeaderId = impls::leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = <LeaderId as openraft::vote::RaftLeaderId>::Committed;

pub(crate) type Payload = EntryPayload<Proposal, u64, Peer>;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
pub(crate) type Vote = impls::Vote<LeaderId>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, Peer>;
pub(crate) type Entry = openraft::Entry<CommittedLeaderId, Payload>;

impl<R: AsyncRuntime> RaftTypeConfig for Types<R> {
    type D = Proposal;
    type R = store::Applied;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = R;
    type Responder<T>
        = Answer<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = impls::BoxedErrorSource;
}

/// A member as Raft needs to know it: what it is called and where its peers reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Of a learner: it becomes a voter by itself once it has caught up.
    pub wants_vote: bool,
}

/// A command on its way through the log: decoded for the state machine, encoded for disk and wire.
///
/// Encoded once where it is proposed, decoded once where it is read back; clones share both.
#[derive(Clone)]
pub(crate) struct Proposal {
    command: Arc<Command>,
    /// The whole payload of the log entry, as [`codec`] writes it.
    payload: Bytes,
    /// Who follows it here, as long as somebody does: cached entries must not keep them.
    trail: Option<Weak<dyn Trail>>,
}

impl Proposal {
    /// Encodes `command`.
    pub(crate) fn new(command: Command) -> Proposal {
        let payload = codec::encode_command(&command);
        Proposal { command: Arc::new(command), payload, trail: None }
    }

    /// The same, followed by `trail` on its way through this member.
    pub(crate) fn followed(self, trail: Option<&Arc<dyn Trail>>) -> Proposal {
        Proposal { trail: trail.map(Arc::downgrade), ..self }
    }

    /// What [`codec::decode_payload`] found in `payload`.
    pub(crate) fn from_parts(command: Command, payload: Bytes) -> Proposal {
        Proposal { command: Arc::new(command), payload, trail: None }
    }

    /// Who follows it, if somebody still does.
    pub(crate) fn trail(&self) -> Option<Arc<dyn Trail>> {
        self.trail.as_ref()?.upgrade()
    }

    pub(crate) fn command(&self) -> &Command {
        &self.command
    }

    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Bytes that it takes in the log.
    pub(crate) fn encoded_len(&self) -> usize {
        self.payload.len()
    }
}

// Commands carry values and hashed passwords, which have no place in a log line.
impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.payload.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a proposal's outcome goes.
///
/// It holds the proposal's permit: what its caller no longer waits for is still in flight.
pub(crate) struct Answer<T> {
    tx: oneshot::Sender<T>,
    permit: Permit,
}

impl<T> Answer<T> {
    /// The answer, and where to wait for it. Cancelled: the outcome will never be known.
    pub(crate) fn new(permit: Permit) -> (Answer<T>, oneshot::Receiver<T>) {
        let (tx, rx) = oneshot::channel();
        (Answer { tx, permit }, rx)
    }
}

impl<R: AsyncRuntime, T: Send + 'static> Responder<Types<R>, T> for Answer<T> {
    fn on_complete(self, result: T) {
        drop(self.permit);
        // A caller that has gone needs no answer.
        let _ = self.tx.send(result);
    }
}

// Openraft asks these of the configuration type. Derived, they would be asked of the runtime too.
impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Types<R> {}

impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}

impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<R> Eq for Types<R> {}

impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
