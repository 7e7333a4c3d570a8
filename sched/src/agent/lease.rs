//! The node's lease: as long as it is held, nobody else is told to run its pods.
//!
//! Its time counts from when the last renewal that succeeded was sent, not from its answer. Well
//! before it is over the node is said to be fading, so that what others will start has ended by
//! then.

use std::sync::Arc;
use std::time::Duration;

use api::etcdserverpb::LeaseGrantRequest;
use k8s_openapi::api::coordination::v1::{Lease as Document, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock;
use super::pod::plan::Lease;
use super::runtime::{Runtime, fence};
use crate::objects::{Beside, ErrorKind, Objects, Result};

pub(super) const NAMESPACE: &str = "kube-node-lease";
/// A lease is renewed after this part of its time.
const RENEWALS: u32 = 4;
/// After this part of it, without a renewal, the node fades: of 9 seconds the last 3 are for
/// containers to end in.
const FADES_NUMERATOR: u32 = 2;
const FADES_DENOMINATOR: u32 = 3;
/// Between two tries of what failed.
const RETRY: Duration = Duration::from_millis(500);

/// Whose lease, for how long.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) objects: Objects,
    pub(super) node: String,
    /// Tells this agent from another that calls itself the same.
    pub(super) holder: String,
    pub(super) ttl_s: i64,
    /// Ends what others will start, should we not be there to.
    pub(super) runtime: Arc<dyn Runtime>,
}

/// When a renewal was sent.
#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    /// The same since the machine booted: time that it slept counts.
    since_boot: Duration,
}

impl Sent {
    fn now() -> Self {
        Self { at: Instant::now(), since_boot: fence::now() }
    }
}

impl Keeper {
    fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s.unsigned_abs())
    }

    fn fades(&self) -> Duration {
        self.ttl() * FADES_NUMERATOR / FADES_DENOMINATOR
    }

    /// Says how long containers may run by a renewal that was sent then.
    async fn set_fence(&self, sent: Sent) {
        let until = sent.since_boot + fence::ask_after(self.ttl(), self.fades());
        // A disk that hangs must not hold up the next renewal; it is written once that can be.
        let telling = tokio::time::timeout(self.ttl() / RENEWALS, self.runtime.set_fence(until));
        let told = telling.await.map_err(|_| "it takes too long".to_owned());
        if let Err(error) = told.and_then(|told| told.map_err(|error| error.to_string())) {
            tracing::warn!(
                node = self.node,
                "cannot say how long containers may run should this agent be gone: {error}"
            );
        }
    }

    /// Takes the lease and keeps it, for ever. `state` says at each moment whether it is held;
    /// `taken` is told each time it was taken anew.
    pub(super) async fn run(self, state: watch::Sender<Lease>, taken: watch::Sender<u64>) {
        loop {
            let asked = Sent::now();
            match self.take().await {
                Ok(id) => {
                    // Before anything is started.
                    self.set_fence(asked).await;
                    tracing::info!(node = self.node, "the node's lease is held");
                    state.send_replace(Lease::Held);
                    taken.send_modify(|count| *count += 1);
                    self.keep(id, asked, &state).await;
                    state.send_replace(Lease::Fading);
                    tracing::warn!(node = self.node, "the node's lease is lost; taking it again");
                }
                Err(error) => {
                    tracing::warn!(node = self.node, "cannot take the node's lease: {error}");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// A new lease with the node's document on it.
    async fn take(&self) -> Result<i64> {
        let request = LeaseGrantRequest { ttl: self.ttl_s, id: 0 };
        let id = self.objects.store().lease_grant(request).await?.id;
        let beside = Beside { lease: id, ..Beside::default() };
        let outcome = self.write(&beside).await;
        if outcome.is_err() {
            // It ends by itself, too.
            let _ = self.objects.store().lease_revoke(id).await;
        }
        outcome.map(|()| id)
    }

    async fn write(&self, beside: &Beside) -> Result<()> {
        let now = Some(MicroTime(clock::now()));
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(self.ttl_s).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            ..LeaseSpec::default()
        };
        let Some(found) = self.objects.get::<Document>(Some(NAMESPACE), &self.node).await? else {
            let metadata = ObjectMeta {
                name: Some(self.node.clone()),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            };
            let document = Document { metadata, spec: Some(spec) };
            return self.objects.create_with(&document, beside).await.map(drop);
        };
        let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        if holder.is_some_and(|holder| holder != self.holder) {
            let message = format!(
                "another agent holds the node {:?}: give this one another name, or wait until that \
                 lease has ended",
                self.node
            );
            return Err(crate::objects::Error::new(ErrorKind::AlreadyExists, message));
        }
        let change = |document: &mut Document| document.spec = Some(spec);
        self.objects.update_with(&found, change, beside).await.map(drop)
    }

    /// Renews until the lease is gone, or must be taken to be.
    async fn keep(&self, id: i64, mut renewed: Sent, state: &watch::Sender<Lease>) {
        loop {
            let fades = renewed.at + self.fades();
            let ends = renewed.at + self.ttl();
            let renewing = async {
                tokio::time::sleep_until(renewed.at + self.ttl() / RENEWALS).await;
                loop {
                    let asked = Sent::now();
                    match self.objects.store().lease_keep_alive(id).await {
                        Ok(1..) => return Some(asked),
                        Ok(_) => return None,
                        Err(error) => {
                            tracing::debug!("cannot renew the node's lease: {error}");
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                }
            };
            let fading = async {
                tokio::time::sleep_until(fades).await;
                tracing::warn!(
                    node = self.node,
                    "the node's lease cannot be renewed; stopping pods"
                );
                state.send_replace(Lease::Fading);
                tokio::time::sleep_until(ends).await;
            };
            tokio::select! {
                asked = renewing => match asked {
                    Some(asked) => {
                        renewed = asked;
                        self.set_fence(asked).await;
                        state.send_if_modified(|state| {
                            std::mem::replace(state, Lease::Held) != Lease::Held
                        });
                    }
                    None => return,
                },
                () = fading => return,
            }
        }
    }
}
