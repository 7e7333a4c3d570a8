use std::collections::{BTreeMap, BTreeSet};

use crate::LeaseInfo;

/// Live leases and the keys attached to them.
///
/// Invariant: a key is attached to the lease of its newest version, if that is a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leases(BTreeMap<i64, Lease>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) term: LeaseTerm,
    pub(crate) keys: BTreeSet<Box<[u8]>>,
}

/// What a lease was granted, and what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaseTerm {
    pub(crate) ttl_s: i64,
    pub(crate) grant_index: u64,
    /// When it was checkpointed; 0: all of it.
    pub(crate) remaining_s: i64,
}

impl Leases {
    pub(crate) fn get(&self, id: i64) -> Option<&Lease> {
        self.0.get(&id)
    }

    pub(crate) fn contains(&self, id: i64) -> bool {
        self.0.contains_key(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.0.iter().map(|(id, lease)| (*id, lease))
    }

    pub(crate) fn grant(&mut self, id: i64, term: LeaseTerm) {
        self.0.insert(id, Lease { term, keys: BTreeSet::new() });
    }

    /// The lease as it is then; `None`: there is no such lease, or it is another grant.
    pub(crate) fn checkpoint(
        &mut self,
        id: i64,
        grant_index: u64,
        remaining_s: i64,
    ) -> Option<LeaseTerm> {
        let lease = self.0.get_mut(&id)?;
        (lease.term.grant_index == grant_index).then_some(())?;
        lease.term.remaining_s = remaining_s.clamp(0, lease.term.ttl_s.max(0));
        Some(lease.term)
    }

    pub(crate) fn remove(&mut self, id: i64) -> Option<Lease> {
        self.0.remove(&id)
    }

    /// False if there is no such lease.
    pub(crate) fn attach(&mut self, id: i64, key: &[u8]) -> bool {
        let Some(lease) = self.0.get_mut(&id) else { return false };
        lease.keys.insert(key.into());
        true
    }

    pub(crate) fn detach(&mut self, id: i64, key: &[u8]) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.remove(key);
        }
    }
}

impl Lease {
    pub(crate) fn info(&self, id: i64) -> LeaseInfo {
        let LeaseTerm { ttl_s, grant_index, remaining_s } = self.term;
        LeaseInfo { id, ttl_s, grant_index, remaining_s, keys: self.keys.len() }
    }
}
