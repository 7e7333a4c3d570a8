//! One lease's life: the keys under it, renewals, and how it ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Registration;
use crate::discovery::layout::Health;
use crate::kv::follow::{Change, Changes, Follower, News};
use crate::kv::{Error, Kind, Pause, Result, Store, succeeded_with};

/// A lease is renewed after this part of its time: two renewals may be lost.
const RENEWALS: u32 = 3;

/// Why a lease is no longer held.
pub(super) enum End {
    /// It has run out, or was revoked by somebody else.
    Lost,
    /// It was to end.
    Stop,
    /// Another try would end the same.
    Failed(Error),
}

/// A granted lease and what has been written under it.
pub(super) struct Held<'a> {
    store: &'a Store,
    registration: &'a Registration,
    lease: i64,
    renewed: Instant,
    /// The revision of the last write that was acknowledged; `None`: something is to be written.
    written: Option<i64>,
    pause: Pause,
}

impl<'a> Held<'a> {
    pub(super) fn new(store: &'a Store, registration: &'a Registration, lease: i64) -> Self {
        let renewed = Instant::now();
        Self { store, registration, lease, renewed, written: None, pause: Pause::default() }
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
                Err(error) if error.kind == Kind::NoLease => return End::Lost,
                Err(error) if error.is_passing() => {
                    tracing::debug!("the store does not answer: {error}");
                    self.pause.wait().await;
                }
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// One thing that is due, or the wait for one.
    async fn step(
        &mut self,
        health: &mut watch::Receiver<Health>,
        instance: &mut Follower,
        vouched: &mut Follower,
    ) -> Result<()> {
        let due = self.renewed + self.renewal();
        if Instant::now() >= due {
            return self.renew().await;
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

    fn renewal(&self) -> Duration {
        Duration::from_secs(self.registration.ttl_s.unsigned_abs()) / RENEWALS
    }

    async fn renew(&mut self) -> Result<()> {
        let ttl_s = self.store.lease_keep_alive(self.lease).await?;
        if ttl_s <= 0 {
            return Err(Error::new(Kind::NoLease, "the lease is gone"));
        }
        self.renewed = Instant::now();
        self.pause.reset();
        Ok(())
    }

    async fn write(&mut self, health: &mut watch::Receiver<Health>) -> Result<()> {
        let now = health.borrow_and_update().clone();
        let request = self.registration.write(self.lease, &now)?;
        let answer = self.store.txn(request).await?;
        self.written = Some(succeeded_with(&answer)?);
        self.pause.reset();
        let name = &self.registration.name;
        tracing::info!(
            service = name.service,
            instance = name.instance,
            lease = format!("{:x}", self.lease),
            "registered, {}",
            now.status.name()
        );
        Ok(())
    }

    /// Whether a key is still what was written last.
    fn judge(&mut self, news: &News, key: &str) -> Result<()> {
        let News::Changes(Changes { list, revision }) = news else { return Ok(()) };
        let written = self.written.unwrap_or(0);
        match list.iter().rev().find(|change| change.key() == key.as_bytes()) {
            Some(Change::Put(kv)) if kv.lease != self.lease && kv.mod_revision > written => {
                Err(Error::new(
                    Kind::Refused,
                    format!(
                        "{key} was taken over under another lease ({:x}): two instances have the \
                         same name; give each its own with --instance",
                        kv.lease
                    ),
                ))
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
