//! How long leases were granted for: nobody should believe in an instance longer than that.
//!
//! The store says so only when asked, lease by lease, so answers live for a moment alone until it
//! has. A lease's granted time never changes.

use std::collections::HashSet;
use std::sync::Arc;

use api::etcdserverpb::LeaseTimeToLiveRequest;
use futures::StreamExt;
use parking_lot::RwLock;

use super::view::View;
use crate::kv::Store;

/// Leases asked about at the same time.
const AT_ONCE: usize = 8;

pub(super) struct Leases {
    store: Store,
    view: Arc<RwLock<View>>,
}

impl Leases {
    pub(super) fn new(store: Store, view: Arc<RwLock<View>>) -> Self {
        Self { store, view }
    }

    /// Asks about every lease that is in use and not known, and forgets those out of use. Returns
    /// whether all are known now: one that nobody answers for is to be asked about again.
    pub(super) async fn learn(&self) -> bool {
        let used: HashSet<i64> = {
            let view = self.view.read();
            let all = view.services.leases().chain(view.skydns.leases());
            all.filter(|lease| *lease != 0).collect()
        };
        let new: Vec<i64> = {
            let mut view = self.view.write();
            view.lease_ttls_s.retain(|lease, _| used.contains(lease));
            used.into_iter().filter(|lease| !view.lease_ttls_s.contains_key(lease)).collect()
        };
        let ask = |id| async move {
            let request = LeaseTimeToLiveRequest { id, keys: false };
            let answer = self.store.lease_time_to_live(request).await.ok()?;
            u32::try_from(answer.granted_ttl)
                .ok()
                .filter(|ttl_s| *ttl_s > 0)
                .map(|ttl_s| (id, ttl_s))
        };
        let mut answers = futures::stream::iter(new).map(ask).buffer_unordered(AT_ONCE);
        let mut all_known = true;
        while let Some(answer) = answers.next().await {
            match answer {
                Some((id, ttl_s)) => _ = self.view.write().lease_ttls_s.insert(id, ttl_s),
                None => all_known = false,
            }
        }
        all_known
    }
}
