//! One lease's life: the keys under it, renewals, and how it ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Registration, claim, is_waited_out, warn};
use crate::discovery::layout::Health;
use crate::kv::follow::{Change, Changes, Follower, News};
use crate::kv::{Error, Kind, Pause, Result, Store};

/// A lease is renewed after this part of its time: two renewals may be lost.
const RENEWALS: u32 = 3;
/// No pause between two tries is longer than this part of it.
const PAUSES: u32 = 6;

/// Why a lease is no longer held.
pub(super) enum End {
    /// It has run out, or was revoked by somebody else.
    Lost,
    /// It was to end.
    Stop,
    /// Another try would end the same.
    Failed(Error),
}

/// What keeps a step from being done.
enum Trouble {
    Store(Error),
    /// The name is somebody else's, as the error says.
    TakenOver(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

type Step = std::result::Result<(), Trouble>;

/// A granted lease and what has been written under it.
pub(super) struct Held<'a> {
    store: &'a Store,
    registration: &'a Registration,
    lease: i64,
    renewed: Instant,
    /// The lease of the last write that was acknowledged, which may be an earlier one; `None`: there
    /// was none yet.
    registered: Option<i64>,
    /// The revision of the last write that was acknowledged; `None`: something is to be written.
    written: Option<i64>,
    pause: Pause,
}

impl<'a> Held<'a> {
    /// `registered`: the lease under which the instance was registered before.
    pub(super) fn new(
        store: &'a Store,
        registration: &'a Registration,
        lease: i64,
        registered: Option<i64>,
    ) -> Self {
        let pause = Pause::up_to(ttl(registration) / PAUSES);
        let renewed = Instant::now();
        Self { store, registration, lease, renewed, registered, written: None, pause }
    }

    pub(super) fn registered(&self) -> Option<i64> {
        self.registered
    }

    /// Keeps keys and lease until one of them cannot be kept.
    pub(super) async fn keep(
        &mut self,
        health: &mut watch::Receiver<Health>,
        instance: &mut Follower,
        vouched: &mut Follower,
    ) -> End {
        loop {
            match self.step(health, instance, vouched).await {
                Ok(()) => {}
                Err(Trouble::TakenOver(error)) => return End::Failed(error),
                Err(Trouble::Store(error)) if error.kind == Kind::NoLease => return End::Lost,
                Err(Trouble::Store(error)) if is_waited_out(&error, self.registered.is_some()) => {
                    if self.pause.failures() == 1 {
                        warn(&error);
                    }
                    self.pause.wait().await;
                }
                Err(Trouble::Store(error)) => return End::Failed(error),
            }
        }
    }

    /// One thing that is due, or the wait for one.
    async fn step(
        &mut self,
        health: &mut watch::Receiver<Health>,
        instance: &mut Follower,
        vouched: &mut Follower,
    ) -> Step {
        let due = self.renewed + ttl(self.registration) / RENEWALS;
        if Instant::now() >= due {
            return self.renew().await.map_err(Trouble::Store);
        }
        if self.written.is_none() {
            return self.write(health).await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            Ok(()) = health.changed() => self.written = None,
            news = instance.next() => self.judge(&news, &self.registration.name.instance_key())?,
            news = vouched.next(), if self.registration.has_health() => {
                self.judge(&news, &self.registration.name.health_key())?;
            }
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<()> {
        let ttl_s = self.store.lease_keep_alive(self.lease).await?;
        if ttl_s <= 0 {
            return Err(Error::new(Kind::NoLease, "the lease is gone"));
        }
        self.renewed = Instant::now();
        if self.written.is_some() {
            self.pause.reset();
        }
        Ok(())
    }

    async fn write(&mut self, health: &mut watch::Receiver<Health>) -> Step {
        let now = health.borrow_and_update().clone();
        let request = claim::write(self.registration, self.lease, self.registered, &now)?;
        let answer = self.store.txn(request).await?;
        self.written = Some(claim::written(&answer).map_err(Trouble::TakenOver)?);
        self.registered = Some(self.lease);
        self.pause.reset();
        let name = &self.registration.name;
        tracing::info!(
            service = name.service,
            instance = name.instance,
            lease = format!("{:x}", self.lease),
            status = self.registration.has_health().then_some(now.status.name()),
            "registered"
        );
        Ok(())
    }

    /// Whether a key is still what was written last.
    fn judge(&mut self, news: &News, key: &str) -> Step {
        let News::Changes(Changes { list, revision }) = news else { return Ok(()) };
        let written = self.written.unwrap_or(0);
        match list.iter().rev().find(|change| change.key() == key.as_bytes()) {
            Some(Change::Put(kv)) if kv.lease != self.lease && kv.mod_revision > written => {
                Err(Trouble::TakenOver(claim::taken_over(kv)))
            }
            Some(Change::Delete(_)) if *revision > written => {
                tracing::warn!(key, "deleted by somebody else; writing it again");
                self.written = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn ttl(registration: &Registration) -> Duration {
    Duration::from_secs(registration.ttl_s.unsigned_abs())
}
