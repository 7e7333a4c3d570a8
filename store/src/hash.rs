//! Hashes over the state, to tell replicas apart that should be equal.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;

use crate::history::is_retained;
use crate::persist::records;
use crate::shared::{SLICE_KEYS_MAX, Shared};
use crate::state::{State, revision_of};
use crate::v2::Frozen;
use crate::view::View;
use crate::walk::Walk;
use crate::{Entry, Error, HashKv};

/// Over all versions that are retained at `revision`, however far physical compaction has come.
pub(crate) fn hash_kv(shared: &Arc<Shared>, revision: i64) -> Result<HashKv, Error> {
    let view = View::now(shared, |_| Ok(()))?;
    let at = revision_of(revision, view.revision, view.compact_revision)?;
    let mut hasher = Hasher::new();
    hash_versions(&view, at, &mut hasher)?;
    Ok(HashKv {
        hash: hasher.finalize(),
        compact_revision: view.compact_revision,
        hash_revision: at,
    })
}

/// Over everything that is replicated. Consistent only while nothing is applied.
pub(crate) fn hash(shared: &Arc<Shared>) -> Result<u32, Error> {
    let mut hasher = Hasher::new();
    let mut v2 = Frozen::default();
    let view = View::now(shared, |state| {
        hash_small(state, &mut hasher);
        v2 = state.v2.freeze();
        Ok(())
    })?;
    hasher.update(&view.revision.to_be_bytes());
    hasher.update(&view.compact_revision.to_be_bytes());
    hash_versions(&view, view.revision, &mut hasher)?;
    v2.records(&mut |key, record| {
        hasher.update(&key);
        hasher.update(&record);
        Ok::<(), Error>(())
    })?;
    Ok(hasher.finalize())
}

fn hash_small(state: &State, hasher: &mut Hasher) {
    for (id, lease) in state.leases.iter() {
        hasher.update(&records::lease_key(id));
        hasher.update(&records::encode_lease(&lease.term));
    }
    for (key, record) in state.auth.records() {
        hasher.update(&key);
        hasher.update(&record);
    }
    hasher.update(&records::encode_alarms(state.alarms.of_type(0)));
    hasher.update(&records::encode_members(&state.members));
}

fn hash_versions(view: &View, at: i64, hasher: &mut Hasher) -> Result<(), Error> {
    each_version(view, at, |key, entry, value| {
        hasher.update(&records::version_key(entry.revision));
        hasher.update(&records::encode_version(key, entry));
        hasher.update(value);
        Ok(())
    })
}

/// Visits the versions that are retained up to `at`, in the order of revisions, with their values:
/// the order in which the engine has them.
pub(crate) fn each_version(
    view: &View,
    at: i64,
    mut visit: impl FnMut(&[u8], &Entry, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut walk = Walk::new(0, at);
    while walk.next <= at {
        let mut versions: Vec<(Bytes, Entry)> = Vec::new();
        walk.part(&view.shared, |_| Ok(()), &mut |key, entry, _| {
            versions.push((Bytes::copy_from_slice(key), *entry));
            versions.len() >= SLICE_KEYS_MAX
        })?;
        {
            let state = view.shared.state.read();
            versions.retain(|(key, entry)| is_retained(&state, key, entry, view.compact_revision));
        }
        let values = view.shared.pinned_values(versions.iter().map(|(_, entry)| entry))?;
        for ((key, entry), value) in versions.iter().zip(values) {
            visit(key, entry, &value)?;
        }
    }
    Ok(())
}
