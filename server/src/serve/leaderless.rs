//! Notices that there has been no leader for a while.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::ServerNode;
use tokio_util::sync::CancellationToken;

/// Looks without a leader, one after the other, that make a loss: etcd's.
const LOOKS_MAX: u32 = 3;

/// The next loss. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Leaderless {
    next: Arc<Mutex<CancellationToken>>,
}

impl Leaderless {
    /// Cancelled at the next loss.
    pub(super) fn current(&self) -> CancellationToken {
        self.next.lock().clone()
    }

    /// There is a loss, now.
    pub(super) fn now(&self) {
        std::mem::take(&mut *self.next.lock()).cancel();
    }

    /// Looks once per `election`, as etcd does; never returns.
    pub(super) async fn watch(self, node: ServerNode, election: Duration) {
        let mut looks = 0;
        loop {
            tokio::time::sleep(election).await;
            looks = if node.leader().is_some() { 0 } else { looks + 1 };
            if looks == LOOKS_MAX {
                tracing::warn!("no leader for a while: ending the streams that need one");
                self.now();
                looks = 0;
            }
        }
    }
}
