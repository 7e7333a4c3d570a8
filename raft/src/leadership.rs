//! Watches openraft: who leads, and whether it goes on at all.

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{AsyncRuntime, Raft, RaftMetrics, ServerState};

use crate::behind::Behind;
use crate::error;
use crate::lessor::Lessor;
use crate::peer::{Network, Roster, removed};
use crate::state_machine::StateMachine;
use crate::tally::Tally;
use crate::types::Types;
use crate::wal::Wal;

pub(crate) struct Watcher<R: AsyncRuntime> {
    pub(crate) raft: Raft<Types<R>, StateMachine<R>>,
    pub(crate) wal: Wal,
    pub(crate) behind: Arc<Behind>,
    pub(crate) lessor: Lessor<R>,
    pub(crate) network: Network<R>,
    pub(crate) roster: Roster,
    pub(crate) tally: Tally,
    pub(crate) member_id: u64,
}

/// What to do about the lease clock.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Promote,
    Demote,
    Nothing,
}

/// Follows one node's terms of leadership.
#[derive(Default)]
struct Terms {
    /// The term in which this node leads, and the index it must have applied before its clock
    /// counts: the end of its log when it was first seen to lead.
    leading: Option<(u64, Option<u64>)>,
    promoted: bool,
}

impl<R: AsyncRuntime> Watcher<R> {
    /// Ends when openraft does.
    pub(crate) async fn run(self) {
        let mut metrics = self.raft.metrics();
        let mut terms = Terms::default();
        loop {
            let now = metrics.borrow_and_update().clone();
            if let Err(fatal) = &now.running_state {
                if *fatal != Fatal::Stopped {
                    // The log's own words are clearer than what openraft makes of them.
                    let message = match self.wal.failed() {
                        Some(cause) => error::with_advice(&cause),
                        None => error::with_advice(fatal),
                    };
                    self.behind.failure.set(message);
                }
                return;
            }
            self.tally.leader(now.current_leader);
            self.follow_membership(&now);
            loop {
                match terms.turn(&now) {
                    Turn::Promote => self.lessor.promote(|| self.behind.reader().leases()),
                    Turn::Demote => self.lessor.demote(),
                    Turn::Nothing => break,
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

impl<R: AsyncRuntime> Watcher<R> {
    /// Where members are reached, and whether this is still one.
    fn follow_membership(&self, now: &RaftMetrics<Types<R>>) {
        let membership = now.membership_config.membership();
        self.network.book().follow(membership);
        self.network.keep_links(|id| membership.get_node(&id).is_some());
        // Not what the membership says: a member that joins reads about times before its own.
        if self.roster.is_removed(self.member_id) {
            self.behind.failure.set(removed(self.member_id));
        }
    }
}

impl Terms {
    fn turn<R: AsyncRuntime>(&mut self, now: &RaftMetrics<Types<R>>) -> Turn {
        let leads = now.state == ServerState::Leader;
        let applied = now.last_applied.map(|log_id| log_id.index);
        self.step(leads.then_some(now.current_term), now.last_log_index, applied)
    }

    fn step(&mut self, leads_in: Option<u64>, last: Option<u64>, applied: Option<u64>) -> Turn {
        let Some(term) = leads_in else {
            let was = std::mem::take(self);
            return if was.promoted { Turn::Demote } else { Turn::Nothing };
        };
        if self.leading.is_none_or(|(led, _)| led != term) {
            let leads = Terms { leading: Some((term, last)), promoted: false };
            // Another may have led between, and renewed what this clock would end.
            if std::mem::replace(self, leads).promoted {
                return Turn::Demote;
            }
        }
        let ready = self.leading.is_some_and(|(_, upto)| applied >= upto);
        if ready && !self.promoted {
            self.promoted = true;
            return Turn::Promote;
        }
        Turn::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_once_everything_before_is_applied() {
        // Proves that leases get their full time in each term led, and only after the log that was
        // there at its beginning is applied; until then a clock of an earlier term does not count.
        let mut terms = Terms::default();
        assert_eq!(terms.step(None, Some(5), Some(5)), Turn::Nothing);
        assert_eq!(terms.step(Some(2), Some(6), Some(5)), Turn::Nothing);
        assert_eq!(terms.step(Some(2), Some(9), Some(6)), Turn::Promote);
        assert_eq!(terms.step(Some(2), Some(9), Some(9)), Turn::Nothing);
        assert_eq!(terms.step(None, Some(9), Some(9)), Turn::Demote);
        assert_eq!(terms.step(None, Some(9), Some(9)), Turn::Nothing);
        assert_eq!(terms.step(Some(4), Some(9), Some(9)), Turn::Promote);
        assert_eq!(terms.step(Some(5), Some(10), Some(9)), Turn::Demote);
        assert_eq!(terms.step(Some(5), Some(10), Some(9)), Turn::Nothing);
        assert_eq!(terms.step(Some(5), Some(10), Some(10)), Turn::Promote);
    }
}
