//! Reads, from any thread, while the writer goes on.

use api::berthpb::{Command, Principal};
use api::etcdserverpb::{
    AlarmMember, Member, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use api::mvccpb::KeyValue;
use bytes::Bytes;

use crate::{AuthView, Entry, Error, Event, Position, RangePlan};

/// A view of the newest state. Cheap to clone, safe to call from many threads.
#[derive(Clone)]
pub struct Reader {}

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
    /// Bytes of keys, values and overhead of all retained versions: what a quota counts.
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
        unimplemented!()
    }

    /// The newest compacted revision; 0 before the first compaction.
    pub fn compact_revision(&self) -> i64 {
        unimplemented!()
    }

    pub fn position(&self) -> Position {
        unimplemented!()
    }

    /// The last membership given to [`crate::Store::advance`].
    pub fn membership(&self) -> Option<Bytes> {
        unimplemented!()
    }

    /// Stateless checks that etcd makes before it proposes: key given, operations counted,
    /// duplicate keys, sort options. A command that fails them must not enter the log.
    pub fn check(&self, _command: &Command) -> Result<(), Error> {
        unimplemented!()
    }

    /// The same for a range, which is no command.
    pub fn check_range(&self, _request: &RangeRequest) -> Result<(), Error> {
        unimplemented!()
    }

    /// The same for a transaction that may be read-only.
    pub fn check_txn(&self, _request: &TxnRequest) -> Result<(), Error> {
        unimplemented!()
    }

    pub fn range(
        &self,
        _principal: Option<&Principal>,
        _request: &RangeRequest,
    ) -> Result<RangeResponse, Error> {
        unimplemented!()
    }

    /// The same answer, to be taken in pieces.
    pub fn range_plan(
        &self,
        _principal: Option<&Principal>,
        _request: &RangeRequest,
    ) -> Result<RangePlan, Error> {
        unimplemented!()
    }

    /// A transaction without puts and deletes.
    pub fn txn(
        &self,
        _principal: Option<&Principal>,
        _request: &TxnRequest,
    ) -> Result<TxnResponse, Error> {
        unimplemented!()
    }

    /// Hash of the logical state at `revision` (0: now).
    pub fn hash_kv(&self, _revision: i64) -> Result<HashKv, Error> {
        unimplemented!()
    }

    /// Hash of everything replicated at this moment: keys, leases, auth, alarms, members.
    pub fn hash(&self) -> Result<u32, Error> {
        unimplemented!()
    }

    pub fn lease(&self, _id: i64) -> Option<LeaseInfo> {
        unimplemented!()
    }

    /// Keys attached to a lease, sorted; `None` if there is no such lease.
    pub fn lease_keys(&self, _id: i64) -> Option<Vec<Bytes>> {
        unimplemented!()
    }

    /// All leases, by id.
    pub fn leases(&self) -> Vec<LeaseInfo> {
        unimplemented!()
    }

    /// Events with a main revision in `from..=to` whose key passes `filter`, in order. At least
    /// one whole revision is looked at; then it stops near `bytes_max` bytes of keys and values.
    ///
    /// # Errors
    /// [`Error::Compacted`] if `from` is at or below the compacted revision's past.
    pub fn history(
        &self,
        _from: i64,
        _to: i64,
        _filter: &dyn Fn(&[u8]) -> bool,
        _bytes_max: usize,
    ) -> Result<HistoryChunk, Error> {
        unimplemented!()
    }

    /// The value of a retained version; `None` if it has been compacted away.
    pub fn value_of(&self, _entry: &Entry) -> Result<Option<Bytes>, Error> {
        unimplemented!()
    }

    /// The whole key-value of a retained version; `None` if it has been compacted away.
    pub fn key_value(&self, _key: &Bytes, _entry: &Entry) -> Result<Option<KeyValue>, Error> {
        unimplemented!()
    }

    pub fn auth(&self) -> AuthView {
        unimplemented!()
    }

    pub fn alarms(&self) -> Vec<AlarmMember> {
        unimplemented!()
    }

    /// What members have published about themselves, by id.
    pub fn members(&self) -> Vec<Member> {
        unimplemented!()
    }

    pub fn size(&self) -> Size {
        unimplemented!()
    }
}
