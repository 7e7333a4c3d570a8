//! What comes after the checkpoint, revision by revision.

use api::etcdserverpb::WatchResponse;
use api::mvccpb::Event;
use parking_lot::Mutex;
use tokio::time::{Instant, Interval};

use super::checkpoint::Checkpoint;
use super::destination::Destination;
use super::lag::Lag;
use super::mapping::Mapping;
use super::pieces;
use super::source::{Source, Watching};
use super::trouble::Result;

/// A session that has its checkpoint.
pub(super) struct Follow<'a> {
    pub(super) source: &'a mut Source,
    pub(super) destination: &'a mut Destination,
    pub(super) mapping: &'a Mapping,
    pub(super) checkpoint: Checkpoint,
    pub(super) ops_max: usize,
    pub(super) lag: &'a Mutex<Lag>,
    /// Events of a revision that is not known to be whole yet.
    pub(super) held: Vec<Event>,
}

impl Follow<'_> {
    /// Follows the source; calls `report` at every tick. Ends with trouble only.
    pub(super) async fn run(
        mut self,
        ticks: &mut Interval,
        report: &dyn Fn(),
    ) -> Result<std::convert::Infallible> {
        let (start, range) = (self.checkpoint.revision + 1, self.mapping.source_range());
        let mut watching = self.source.watch(range, start).await?;
        loop {
            tokio::select! {
                answer = watching.next() => self.take(answer?).await?,
                _ = ticks.tick() => {
                    self.look(&watching).await?;
                    report();
                }
            }
        }
    }

    /// Sees where the source is, and asks when the watch will have come so far.
    async fn look(&mut self, watching: &Watching) -> Result<()> {
        let now = self.source.now(self.mapping.source_range().0).await?;
        self.lag.lock().sampled(Instant::now(), now.revision);
        watching.ask_progress();
        Ok(())
    }

    async fn take(&mut self, answer: WatchResponse) -> Result<()> {
        if answer.created {
            return Ok(());
        }
        if answer.events.is_empty() {
            return self.progress(&answer).await;
        }
        let mut events = std::mem::take(&mut self.held);
        events.extend(answer.events);
        if answer.fragment {
            // The next answer may go on with the same revision.
            let last = events.last().map_or(0, revision_of);
            let whole = events.partition_point(|event| revision_of(event) < last);
            self.held = events.split_off(whole);
        }
        for events in events.chunk_by(|a, b| revision_of(a) == revision_of(b)) {
            self.apply(revision_of(&events[0]), events).await?;
        }
        Ok(())
    }

    /// The watch has come to a revision without events for us.
    async fn progress(&mut self, answer: &WatchResponse) -> Result<()> {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        // An answer to a question of ours (-1) may come too early from etcd before 3.4.25 and
        // 3.5.8 (its issue 15220): good enough for a report, not for a checkpoint.
        if answer.watch_id >= 0 && revision > self.checkpoint.revision {
            self.write(Vec::new(), self.checkpoint.done(revision)).await?;
        }
        self.lag.lock().reached(revision);
        Ok(())
    }

    /// All events of one revision: one transaction, or more if it is too large for one.
    async fn apply(&mut self, revision: i64, events: &[Event]) -> Result<()> {
        let key = self.destination.checkpoint_key();
        let mut rest = pieces::operations(events, self.mapping, key);
        let mut done = self.checkpoint.operations_of(revision).min(rest.len());
        rest.drain(..done);
        while !rest.is_empty() {
            let piece = pieces::next(&mut rest, self.ops_max);
            done += piece.len();
            let checkpoint = if rest.is_empty() {
                self.checkpoint.done(revision)
            } else {
                self.checkpoint.partly(revision, done)
            };
            self.write(piece, checkpoint).await?;
        }
        self.lag.lock().reached(revision);
        Ok(())
    }

    async fn write(
        &mut self,
        piece: Vec<api::etcdserverpb::RequestOp>,
        checkpoint: Checkpoint,
    ) -> Result<()> {
        self.destination.apply(piece, &checkpoint).await?;
        self.checkpoint = checkpoint;
        self.lag.lock().transactions += 1;
        Ok(())
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
