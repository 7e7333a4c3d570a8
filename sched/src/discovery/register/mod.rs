//! Registering one instance and keeping it registered, until told to stop.
//!
//! Both keys of the instance hang on one lease: when the sidecar dies, or is cut off for longer than
//! the lease lasts, both go in one revision. It must never give up because the store cannot be
//! reached, and never leave a key that nobody vouches for: whatever is written names the lease.
//!
//! Start at [`run`]; `lease.rs` holds one lease's life, [`supervise`] a command beside it.

mod lease;
pub mod supervise;

use std::future::Future;
use std::time::Duration;

use api::etcdserverpb::{LeaseGrantRequest, TxnRequest};
use tokio::sync::watch;

use self::lease::{End, Held};
use super::layout::{Health, HealthBy, Instance, Name};
use crate::kv::follow::Follower;
use crate::kv::{Error, Kind, Pause, Result, Store, put};

/// How long the way out may take while the store does not answer; the lease ends it anyway.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// What to register.
#[derive(Clone, Debug)]
pub struct Registration {
    pub name: Name,
    pub instance: Instance,
    /// Seconds after which the instance is gone unless its lease is renewed. At least 1.
    pub ttl_s: i64,
}

impl Registration {
    /// All keys and values, under `lease`, in one transaction.
    fn write(&self, lease: i64, health: &Health) -> Result<TxnRequest> {
        let mut success = vec![put(self.name.instance_key(), json(&self.instance)?, lease)];
        if self.has_health() {
            success.push(put(self.name.health_key(), json(health)?, lease));
        }
        Ok(TxnRequest { success, ..TxnRequest::default() })
    }

    fn has_health(&self) -> bool {
        self.instance.health == HealthBy::Key
    }
}

fn json(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|error| Error::new(Kind::Refused, error.to_string()))
}

/// Registers, keeps the lease alive, follows `health`, registers again whenever the lease or a key
/// is lost, and deregisters once `stop` resolves.
///
/// # Errors
/// The store refuses (the user may not write there), or somebody else registers under the same
/// name. Then nothing of this registration is left. Being unable to reach the store is no error.
pub async fn run(
    store: &Store,
    registration: &Registration,
    mut health: watch::Receiver<Health>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let name = &registration.name;
    let mut keys = Follower::new(store.clone(), name.instance_key());
    let mut vouched = Follower::new(store.clone(), name.health_key());
    let mut stop = std::pin::pin!(stop);
    loop {
        let granted = tokio::select! {
            granted = grant(store, registration.ttl_s) => granted?,
            () = &mut stop => return Ok(()),
        };
        let mut held = Held::new(store, registration, granted);
        let end = tokio::select! {
            end = held.keep(&mut health, &mut keys, &mut vouched) => end,
            () = &mut stop => End::Stop,
        };
        match end {
            End::Lost => {
                tracing::warn!(
                    service = name.service,
                    instance = name.instance,
                    "the lease is lost; registering again"
                );
            }
            End::Stop => {
                say_farewell(store, granted).await;
                return Ok(());
            }
            End::Failed(error) => {
                say_farewell(store, granted).await;
                return Err(error);
            }
        }
    }
}

/// A lease, however long it takes.
async fn grant(store: &Store, ttl_s: i64) -> Result<i64> {
    let mut pause = Pause::default();
    loop {
        let request = LeaseGrantRequest { ttl: ttl_s, id: 0 };
        match store.lease_grant(request).await {
            Ok(granted) => return Ok(granted.id),
            Err(error) if error.is_passing() => {
                if pause.failures() == 1 {
                    tracing::warn!("cannot register yet: {error}");
                }
                pause.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Revokes the lease, which takes its keys with it.
async fn say_farewell(store: &Store, lease: i64) {
    let farewell = async {
        let mut pause = Pause::default();
        while let Err(error) = store.lease_revoke(lease).await {
            if !error.is_passing() {
                return tracing::warn!("cannot deregister: {error}; the lease will end by itself");
            }
            pause.wait().await;
        }
        tracing::info!("deregistered");
    };
    if tokio::time::timeout(FAREWELL_MAX, farewell).await.is_err() {
        tracing::warn!(
            "cannot deregister: the store does not answer; the lease will end by itself"
        );
    }
}
