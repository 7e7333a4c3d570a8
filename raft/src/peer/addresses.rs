//! Where each member listens for the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::types::{Membership, Peer};

/// Peer URLs by member id. Clones share it.
#[derive(Clone, Default)]
pub struct AddressBook {
    urls: Arc<RwLock<BTreeMap<u64, Vec<String>>>>,
}

impl AddressBook {
    /// Takes over what `membership` says. Members that are in it no longer are forgotten.
    pub(crate) fn follow(&self, membership: &Membership) {
        let urls = membership.nodes().map(|(id, peer)| (*id, peer.peer_urls.clone())).collect();
        *self.urls.write() = urls;
    }

    /// Takes over one member of a membership that is not applied yet.
    pub(crate) fn learn(&self, id: u64, peer: &Peer) {
        self.urls.write().insert(id, peer.peer_urls.clone());
    }

    pub(crate) fn urls(&self, id: u64) -> Vec<String> {
        self.urls.read().get(&id).cloned().unwrap_or_default()
    }
}
