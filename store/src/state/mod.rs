//! Everything the commands have made, but for the values that are in the engine.
//!
//! It is changed by the writer alone, through [`crate::write::Write`], and must hold nothing that
//! the commands do not determine, except `pending` and `births`, which nobody can observe.

mod alarms;
mod births;
mod leases;
mod pending;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::berthpb::PublishMember;
use bytes::Bytes;

pub(crate) use self::alarms::Alarms;
pub(crate) use self::births::Births;
pub(crate) use self::leases::{LeaseTerm, Leases};
pub(crate) use self::pending::{Delta, Pending, Written};
use crate::auth::AuthState;
use crate::index::Index;
use crate::key_range::KeyRange;
use crate::v2::Tree;
use crate::{Entry, Error, Position};

/// The revision of a store that nobody has written to.
pub(crate) const REVISION_FRESH: i64 = 1;

/// The compacted revision of a store that was never compacted, as etcd has it.
pub(crate) const COMPACT_REVISION_FRESH: i64 = -1;

/// Bytes that a version takes beside its key and value, as the quota counts them.
const VERSION_OVERHEAD_BYTES: u64 = 64;

/// Invariant: `compact_revision <= revision`, and every version in `index` is at or below
/// `revision`.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    pub(crate) position: Position,
    pub(crate) membership: Option<Bytes>,
    pub(crate) leases: Leases,
    pub(crate) alarms: Alarms,
    /// What members have published, by id.
    pub(crate) members: BTreeMap<u64, PublishMember>,
    pub(crate) auth: Arc<AuthState>,
    /// Of the v2 API.
    pub(crate) v2: Tree,
    /// Of versions of keys alone.
    pub(crate) live_bytes: u64,
    pub(crate) births: Births,
    pub(crate) pending: Pending,
}

impl Default for State {
    fn default() -> Self {
        State {
            index: Index::default(),
            revision: REVISION_FRESH,
            compact_revision: COMPACT_REVISION_FRESH,
            position: Position::default(),
            membership: None,
            leases: Leases::default(),
            alarms: Alarms::default(),
            members: BTreeMap::new(),
            auth: Arc::default(),
            v2: Tree::default(),
            live_bytes: 0,
            births: Births::new(REVISION_FRESH),
            pending: Pending::default(),
        }
    }
}

impl State {
    /// How many keys of `range` exist at `at`, if that is known without walking them; `now` is
    /// the revision that the index shows.
    pub(crate) fn count(&self, range: &KeyRange, at: i64, now: i64) -> Option<usize> {
        let count = self.index.count(range);
        if at == now { Some(count) } else { self.births.count_then(range, at, count) }
    }
}

/// The revision that a read means. `requested` counts from 1; what is below means `now`.
pub(crate) fn revision_of(requested: i64, now: i64, compacted: i64) -> Result<i64, Error> {
    if requested > now {
        return Err(Error::FutureRevision);
    }
    let at = if requested <= 0 { now } else { requested };
    if at < compacted { Err(Error::Compacted) } else { Ok(at) }
}

/// What the quota counts for one version.
pub(crate) fn live_bytes_of(key: &[u8], entry: &Entry) -> u64 {
    key.len() as u64 + u64::from(entry.value_len) + VERSION_OVERHEAD_BYTES
}
