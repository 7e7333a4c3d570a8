//! A lease that is kept alive for as long as it is held.

use std::time::Duration;

use api::etcdserverpb::LeaseGrantRequest;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Pause, Result, Store};

/// A lease is renewed after this part of its time: two renewals may be lost.
const RENEWALS: u32 = 3;

/// A lease, renewed by a task of its own. Dropped, it ends when its time is over.
pub struct Lease {
    store: Store,
    id: i64,
    lost: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Lease {
    /// Takes a lease of `ttl_s` seconds and begins to renew it. Must be called within a runtime.
    ///
    /// # Errors
    /// The store does not answer, or refuses.
    pub async fn grant(store: &Store, ttl_s: i64) -> Result<Self> {
        let asked = Instant::now();
        let granted = store.lease_grant(LeaseGrantRequest { ttl: ttl_s, id: 0 }).await?;
        let ttl = Duration::from_secs(granted.ttl.unsigned_abs());
        let (tell, lost) = watch::channel(false);
        let keep = keep(store.clone(), granted.id, ttl, asked);
        let task = tokio::spawn(async move {
            keep.await;
            tell.send_replace(true);
        });
        Ok(Self { store: store.clone(), id: granted.id, lost, task })
    }

    pub fn id(&self) -> i64 {
        self.id
    }

    /// Resolves when the lease is gone, or may be: whatever rests on it must end. Cancel safe.
    pub async fn lost(&self) {
        // The sender goes with the task, which ends by telling.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    /// Ends it, with all keys that hang on it.
    ///
    /// # Errors
    /// The store does not answer, or refuses; then it ends by itself.
    pub async fn revoke(self) -> Result<()> {
        self.store.lease_revoke(self.id).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Renews until that is too late. `renewed`: when the lease was asked for; its time may have begun
/// then.
async fn keep(store: Store, id: i64, ttl: Duration, mut renewed: Instant) {
    let mut pause = Pause::default();
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep_until(renewed + ttl) => return,
            asked = async {
                tokio::time::sleep_until(renewed + ttl / RENEWALS).await;
                let asked = Instant::now();
                store.lease_keep_alive(id).await.map(|ttl_s| (asked, ttl_s))
            } => asked,
        };
        match asked {
            Ok((asked, 1..)) => {
                renewed = asked;
                pause.reset();
            }
            Ok(_) => return,
            Err(error) if error.is_passing() => tokio::select! {
                () = tokio::time::sleep_until(renewed + ttl) => return,
                () = pause.wait() => {}
            },
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::testing::Fake;

    #[tokio::test]
    async fn a_lease_is_lost_when_its_time_is_over() {
        // Proves that no pause between two tries to renew it holds up the news. Both timers are
        // looked at in order, however late.
        let ttl = Duration::from_secs(2);
        let granted = Instant::now();
        tokio::select! {
            biased;
            () = keep(Fake::refusing(Duration::ZERO), 1, ttl, granted) => {}
            () = tokio::time::sleep_until(granted + ttl + ttl / 20) => panic!("told late"),
        }
        assert!(granted.elapsed() >= ttl);
    }
}
