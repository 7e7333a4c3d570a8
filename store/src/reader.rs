//! Reads, from any thread, while the writer goes on.

use std::sync::Arc;

use api::berthpb::{Command, Principal, PublishMember};
use api::etcdserverpb::{
    AlarmMember, AlarmType, Member, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use api::mvccpb::KeyValue;
use bytes::Bytes;

use crate::authorize::Caller;
use crate::shared::Shared;
use crate::txn::{self, Plan};
use crate::view::{View, range_response};
use crate::work::{Calls, Work};
use crate::write::key_value;
use crate::{AuthView, Entry, Error, Event, Position, RangePlan, check, hash, history};

/// A view of the newest state. Cheap to clone, safe to call from many threads.
#[derive(Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

/// A hash over all that is visible at a revision.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    pub compact_revision: i64,
    /// The revision that was hashed.
    pub hash_revision: i64,
}

/// A live lease.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    pub id: i64,
    /// Time to live as granted, in seconds.
    pub ttl_s: i64,
    /// The log index that granted it.
    pub grant_index: u64,
    /// Seconds of the time to live that were left at the last checkpoint; 0: all of them.
    pub remaining_s: i64,
    /// How many keys are attached.
    pub keys: usize,
}

/// A part of the past. It always ends with a whole revision.
#[derive(Clone, Debug, Default)]
pub struct HistoryChunk {
    pub events: Vec<Event>,
    /// The first revision that is not in here: where to go on.
    pub next: i64,
}

/// How much there is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of keys, values and overhead of all retained versions, and of the nodes of the v2
    /// API: what a quota counts.
    pub live_bytes: u64,
    /// Bytes the engine takes.
    pub engine_bytes: u64,
    /// Keys that exist.
    pub keys: u64,
    /// Bytes applied but not yet handed to the engine.
    pub pending_bytes: usize,
}

impl Reader {
    pub fn revision(&self) -> i64 {
        self.shared.state.read().revision
    }

    /// The newest compacted revision; -1 before the first compaction, as etcd has it.
    pub fn compact_revision(&self) -> i64 {
        self.shared.state.read().compact_revision
    }

    pub fn position(&self) -> Position {
        self.shared.state.read().position.clone()
    }

    /// The last membership given to [`crate::Store::advance`].
    pub fn membership(&self) -> Option<Bytes> {
        self.shared.state.read().membership.clone()
    }

    /// Stateless checks that etcd makes before it proposes: key given, operations counted,
    /// duplicate keys, sort options. A command that fails them must not enter the log.
    pub fn check(&self, command: &Command) -> Result<(), Error> {
        check::check(command, self.shared.options.max_txn_ops)
    }

    /// The same for a range, which is no command.
    pub fn check_range(&self, request: &RangeRequest) -> Result<(), Error> {
        check::check_range(request)
    }

    /// The same for a transaction that may be read-only.
    pub fn check_txn(&self, request: &TxnRequest) -> Result<(), Error> {
        check::check_txn(request, self.shared.options.max_txn_ops)
    }

    /// The whole answer to a range request. Reads by many keys are better answered by
    /// [`Reader::range_plan`], which needs not hold all values at once.
    pub fn range(
        &self,
        principal: Option<&Principal>,
        request: &RangeRequest,
    ) -> Result<RangeResponse, Error> {
        let view = self.view_for(principal, request)?;
        let found = view.find(request)?;
        range_response(&self.shared, found, request.keys_only, view.revision)
    }

    /// The same answer, to be taken in pieces.
    pub fn range_plan(
        &self,
        principal: Option<&Principal>,
        request: &RangeRequest,
    ) -> Result<RangePlan, Error> {
        RangePlan::new(self.view_for(principal, request)?, request)
    }

    fn view_for(
        &self,
        principal: Option<&Principal>,
        request: &RangeRequest,
    ) -> Result<View, Error> {
        let view = View::now(&self.shared, |state| {
            Caller { state, principal }.may_range(&request.key, &request.range_end)
        })?;
        self.shared.work.add(Calls { ranges: 1, ..Calls::default() });
        Ok(view)
    }

    /// A transaction without puts and deletes.
    ///
    /// # Panics
    /// If the branch that is taken has one: ask [`crate::txn_is_read_only`] before.
    pub fn txn(
        &self,
        principal: Option<&Principal>,
        request: &TxnRequest,
    ) -> Result<TxnResponse, Error> {
        let view = View::now(&self.shared, |state| Caller { state, principal }.may_txn(request))?;
        let mut outcome = txn::read(&view, Plan::new(&view, request)?)?;
        outcome.revision = view.revision;
        self.shared.work.add(outcome.reads());
        outcome.response(&self.shared)
    }

    /// Hash of the logical state at `revision` (0: now): equal on all replicas that have applied
    /// the same, however far each has come with physical compaction.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`], [`Error::Engine`].
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Error> {
        hash::hash_kv(&self.shared, revision)
    }

    /// Hash of everything replicated at this moment: keys, leases, auth, alarms, members.
    pub fn hash(&self) -> Result<u32, Error> {
        hash::hash(&self.shared)
    }

    /// Events with a main revision in `from..=to` whose key passes `filter`, in order. At least
    /// one whole revision is looked at; then it stops near `bytes_max` bytes of keys and values,
    /// or when it has looked at many versions that do not pass. `next` says where to go on; it is
    /// behind `to`, or behind the store's revision, when there is nothing more.
    ///
    /// # Errors
    /// [`Error::Compacted`] if `from` is below the compacted revision; [`Error::Engine`].
    pub fn history(
        &self,
        from: i64,
        to: i64,
        filter: &dyn Fn(&[u8]) -> bool,
        bytes_max: usize,
    ) -> Result<HistoryChunk, Error> {
        history::history(&self.shared, from, to, filter, bytes_max)
    }

    pub fn lease(&self, id: i64) -> Option<LeaseInfo> {
        self.shared.state.read().leases.get(id).map(|lease| lease.info(id))
    }

    /// Keys attached to a lease, sorted; `None` if there is no such lease.
    pub fn lease_keys(&self, id: i64) -> Option<Vec<Bytes>> {
        let state = self.shared.state.read();
        let keys = state.leases.get(id)?.keys.iter();
        Some(keys.map(|key| Bytes::copy_from_slice(key)).collect())
    }

    /// All leases, by id.
    pub fn leases(&self) -> Vec<LeaseInfo> {
        self.shared.state.read().leases.iter().map(|(id, lease)| lease.info(id)).collect()
    }

    /// The value of a retained version; `None` if it has been compacted away.
    pub fn value_of(&self, entry: &Entry) -> Result<Option<Bytes>, Error> {
        self.shared.value(entry)
    }

    /// The whole key-value of a retained version; `None` if it has been compacted away.
    pub fn key_value(&self, key: &Bytes, entry: &Entry) -> Result<Option<KeyValue>, Error> {
        Ok(self.shared.value(entry)?.map(|value| key_value(key.clone(), entry, value)))
    }

    pub fn auth(&self) -> AuthView {
        AuthView(Arc::clone(&self.shared.state.read().auth))
    }

    pub fn alarms(&self) -> Vec<AlarmMember> {
        self.shared.state.read().alarms.of_type(AlarmType::None as i32)
    }

    /// What members have published about themselves, by id.
    pub fn members(&self) -> Vec<Member> {
        self.published().into_iter().filter_map(|published| published.member).collect()
    }

    /// The same with what members do not show to clients.
    pub fn published(&self) -> Vec<PublishMember> {
        self.shared.state.read().members.values().cloned().collect()
    }

    /// Bytes applied but not yet in the engine.
    pub fn pending_bytes(&self) -> usize {
        self.shared.state.read().pending.bytes()
    }

    /// What a quota counts: [`Size::live_bytes`], without asking the engine.
    pub fn live_bytes(&self) -> u64 {
        let state = self.shared.state.read();
        state.live_bytes + state.v2.bytes()
    }

    /// What this replica has done since it was opened.
    pub fn work(&self) -> Work {
        self.shared.work.read()
    }

    /// All sizes. It asks the engine for its own, which may mean looking at many files: not for
    /// every request.
    pub fn size(&self) -> Size {
        // An engine that cannot even say this fails elsewhere, where it matters.
        let engine_bytes = self.shared.engine.size_bytes().unwrap_or(0);
        let state = self.shared.state.read();
        Size {
            live_bytes: state.live_bytes + state.v2.bytes(),
            engine_bytes,
            keys: state.index.live() as u64,
            pending_bytes: state.pending.bytes(),
        }
    }
}
