//! Session after session, each from the checkpoint of the one before.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::checkpoint::{self, Checkpoint};
use super::destination::Destination;
use super::flags::Mirror;
use super::follow::Follow;
use super::full::{self, Full};
use super::lag::Lag;
use super::mapping::Mapping;
use super::source::{Now, Source};
use super::trouble::{Result, Trouble};
use crate::ctl::failure::Failure;

/// How long to wait before connecting again: twice as long each time nothing came of it.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often in a row the checkpoint may have moved. It does when a transaction whose answer was
/// lost happens late; any more often, somebody else moves it.
const MOVED_MAX: u32 = 5;

/// A mirror at work.
pub(super) struct Cycle<'a> {
    flags: &'a Mirror,
    mapping: Mapping,
    lag: Mutex<Lag>,
}

impl<'a> Cycle<'a> {
    pub(super) fn new(flags: &'a Mirror) -> std::result::Result<Self, Failure> {
        if flags.checkpoint_key().is_some_and(<[u8]>::is_empty) {
            return Err(Failure::bad_args("--checkpoint-key must not be empty"));
        }
        Ok(Self { flags, mapping: flags.mapping(), lag: Mutex::default() })
    }

    /// Mirrors until something makes it impossible. Cancel safe: what is under way then is done
    /// with its checkpoint, or not at all.
    pub(super) async fn run(&self) -> Failure {
        let mut ticks = tokio::time::interval(self.flags.report_interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pause, mut moved) = (PAUSE_MIN, 0);
        loop {
            let before = self.lag.lock().transactions;
            let Err(trouble) = self.session(&mut ticks).await;
            if self.lag.lock().transactions > before {
                (pause, moved) = (PAUSE_MIN, 0);
            }
            match trouble {
                Trouble::Lasting(failure) => return failure,
                Trouble::Moved if moved == MOVED_MAX => return moved_by_others(),
                Trouble::Moved => {
                    moved += 1;
                    tracing::warn!("the checkpoint has moved meanwhile and is read again");
                }
                Trouble::Compacted => {}
                Trouble::Passing(error) => {
                    tracing::warn!(error, "the mirror waits and connects again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Says how far behind the copy is.
    pub(super) fn report(&self, message: &str) {
        let lag = self.lag.lock();
        tracing::info!(
            revision = lag.revision(),
            lag_revisions = lag.revisions(),
            lag_seconds = format!("{:.1}", lag.time(Instant::now()).as_secs_f64()),
            transactions = lag.transactions,
            "{message}"
        );
    }

    /// Connects to both sides and follows for as long as that goes well.
    async fn session(&self, ticks: &mut Interval) -> Result<Infallible> {
        let mut source = Source::connect(self.flags.source()).await?;
        let now = source.now(self.mapping.source_range().0).await?;
        self.lag.lock().sampled(Instant::now(), now.revision);
        let key = match self.flags.checkpoint_key() {
            Some(key) => Bytes::copy_from_slice(key),
            None => checkpoint::default_key(now.cluster_id, &self.mapping),
        };
        let mut destination = Destination::connect(self.flags.destination(), key).await?;
        let found = destination.checkpoint().await?;
        let mut again = match self.resume(found, &now, &mut destination).await? {
            Ok(checkpoint) => {
                tracing::info!(revision = checkpoint.revision, "following from the checkpoint");
                checkpoint
            }
            Err(why) => self.copy(&mut source, &mut destination, &now, why).await?,
        };
        loop {
            self.lag.lock().reached(again.revision);
            let follow = Follow {
                source: &mut source,
                destination: &mut destination,
                mapping: &self.mapping,
                checkpoint: again,
                ops_max: self.data_ops_max(),
                lag: &self.lag,
                held: Vec::new(),
            };
            match follow.run(ticks, &|| self.report("mirroring")).await {
                Err(Trouble::Compacted) => {
                    let now = source.now(self.mapping.source_range().0).await?;
                    let why = "the source has compacted what came after the checkpoint";
                    again = self.copy(&mut source, &mut destination, &now, why).await?;
                }
                Err(trouble) => return Err(trouble),
                Ok(never) => match never {},
            }
        }
    }

    /// The checkpoint to follow from, or why everything has to be copied.
    async fn resume(
        &self,
        found: Option<Checkpoint>,
        now: &Now,
        destination: &mut Destination,
    ) -> Result<std::result::Result<Checkpoint, &'static str>> {
        let Some(found) = found else {
            if !self.flags.replace() {
                full::check_empty(destination, &self.mapping).await?;
            }
            return Ok(Err("there is no checkpoint yet"));
        };
        if !found.is_of(&self.mapping) {
            return Err(Trouble::lasting(format!(
                "the checkpoint {} is of a mirror from prefix {:?} to {:?}: give another \
                 --checkpoint-key",
                destination.checkpoint_key().escape_ascii(),
                found.prefix,
                found.dest_prefix
            )));
        }
        Ok(if found.source_cluster != now.cluster_id {
            Err("the checkpoint is of another source")
        } else if !found.complete {
            Err("the last copy was cut short")
        } else if found.revision > now.revision {
            Err("the source's revision went back")
        } else {
            Ok(found)
        })
    }

    async fn copy(
        &self,
        source: &mut Source,
        destination: &mut Destination,
        now: &Now,
        why: &str,
    ) -> Result<Checkpoint> {
        tracing::info!(why, revision = now.revision, "copying everything");
        self.lag.lock().start_over();
        let full = Full {
            source,
            destination,
            mapping: &self.mapping,
            ops_max: self.data_ops_max(),
            applied: &|| self.lag.lock().transactions += 1,
        };
        let begun = Checkpoint::begun(now.cluster_id, &self.mapping, now.revision);
        let done = full.copy(begun).await?;
        tracing::info!(revision = done.revision, "everything is copied");
        Ok(done)
    }

    /// One operation of each transaction is the checkpoint's.
    fn data_ops_max(&self) -> usize {
        self.flags.ops_max() - 1
    }
}

fn moved_by_others() -> Failure {
    Failure::error(
        "the checkpoint at the destination keeps changing: another mirror is using it; stop that \
         one, or give another --checkpoint-key",
    )
}
