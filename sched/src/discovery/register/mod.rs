//! Registering one instance and keeping it registered, until told to stop.
//!
//! Both keys of the instance hang on one lease: when the sidecar dies, or is cut off for longer than
//! the lease lasts, both go in one revision. It must never give up because the store cannot be
//! reached, and never leave a key that nobody vouches for: whatever is written names the lease.
//!
//! Start at [`run`]; `lease.rs` holds one lease's life, `claim.rs` says who may have a name,
//! [`supervise`] runs a command beside it.

mod claim;
mod lease;
pub mod supervise;

use std::future::Future;
use std::time::Duration;

use api::etcdserverpb::LeaseGrantRequest;
use tokio::sync::watch;

use self::lease::{End, Held};
use super::layout::{Health, HealthBy, Instance, Name};
use crate::kv::follow::Follower;
use crate::kv::{Error, Kind, Pause, Result, Store};

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
    fn has_health(&self) -> bool {
        self.instance.health == HealthBy::Key
    }
}

/// Registers, keeps the lease alive, follows `health`, registers again whenever the lease or a key
/// is lost, and deregisters once `stop` resolves.
///
/// # Errors
/// The store refuses the first registration (the user may not write there), or somebody else
/// registers under the same name. Then nothing of this registration is left. Being unable to reach
/// the store is no error, nor is, once registered, whatever it says.
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
    let mut registered = None;
    loop {
        let granted = tokio::select! {
            granted = grant(store, registration.ttl_s, registered.is_some()) => granted?,
            () = &mut stop => return Ok(()),
        };
        let mut held = Held::new(store, registration, granted, registered);
        let end = tokio::select! {
            end = held.keep(&mut health, &mut keys, &mut vouched) => end,
            () = &mut stop => End::Stop,
        };
        registered = held.registered();
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

/// Whether to try again after a failure of the store. One who is registered serves: a password that
/// was changed, or a role that was taken away by mistake, must not end all instances at once.
fn is_waited_out(error: &Error, is_registered: bool) -> bool {
    error.is_passing() || is_registered
}

fn warn(error: &Error) {
    if error.kind == Kind::Refused {
        tracing::error!("the store refuses the registration, which ends with its lease: {error}");
    } else {
        tracing::warn!("the store does not do what it is asked: {error}");
    }
}

/// A lease, however long it takes.
async fn grant(store: &Store, ttl_s: i64, is_registered: bool) -> Result<i64> {
    let mut pause = Pause::default();
    loop {
        let request = LeaseGrantRequest { ttl: ttl_s, id: 0 };
        match store.lease_grant(request).await {
            Ok(granted) => return Ok(granted.id),
            Err(error) if is_waited_out(&error, is_registered) => {
                if pause.failures() == 1 {
                    warn(&error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_registered_waits_out_whatever_may_pass() {
        // Proves that trouble of the store's own and refusals end a first try alone.
        for (kind, first, later) in [
            (Kind::Unreachable, true, true),
            (Kind::Failed, false, true),
            (Kind::Refused, false, true),
        ] {
            let error = Error::new(kind, "");
            let outcome = [false, true].map(|registered| is_waited_out(&error, registered));
            assert_eq!(outcome, [first, later], "{kind:?}");
        }
    }
}
