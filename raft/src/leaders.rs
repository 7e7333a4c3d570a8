//! Who leads, as far as this member can tell.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{AsyncRuntime, Instant, Raft, ServerState};

use crate::peer::Heard;
use crate::state_machine::StateMachine;
use crate::types::Types;

/// How long to wait for news of a leader before looking again.
const LOOK: Duration = Duration::from_millis(20);

/// A view on leadership. Clones are alike.
pub(crate) struct Leaders<R: AsyncRuntime> {
    raft: Raft<Types<R>, StateMachine<R>>,
    heard: Heard<R>,
    /// A leader that was not heard for this long is one no more.
    lost_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    /// This member.
    Here,
    There(u64),
    /// Nobody, or somebody who has not been heard for too long.
    Unknown,
}

impl<R: AsyncRuntime> Leaders<R> {
    pub(crate) fn new(
        raft: Raft<Types<R>, StateMachine<R>>,
        heard: Heard<R>,
        lost_after: Duration,
    ) -> Leaders<R> {
        Leaders { raft, heard, lost_after }
    }

    pub(crate) fn current(&self) -> Leader {
        // Not the smaller server metrics: openraft updates those a moment later.
        let metrics = self.raft.metrics();
        let (id, state, leader) = {
            let now = metrics.borrow_watched();
            (now.id, now.state, now.current_leader)
        };
        match leader {
            Some(leader) if leader == id && state == ServerState::Leader => self.own_leadership(),
            Some(leader) if leader != id && self.heard.within(self.lost_after) => {
                Leader::There(leader)
            }
            _ => Leader::Unknown,
        }
    }

    /// A leader that its majority has left does not know it, but it sees that nobody answers.
    fn own_leadership(&self) -> Leader {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let alone = now.membership_config.membership().voter_ids().count() == 1;
        let acked = now.last_quorum_acked.as_ref();
        // Without any answer yet it was elected this moment.
        let followed = acked.is_none_or(|at| at.elapsed() < self.lost_after);
        if alone || followed { Leader::Here } else { Leader::Unknown }
    }

    /// The leader's member id.
    pub(crate) fn id(&self, own_id: u64) -> Option<u64> {
        match self.current() {
            Leader::Here => Some(own_id),
            Leader::There(id) => Some(id),
            Leader::Unknown => None,
        }
    }

    /// Waits until there may be something new, and no longer than a moment.
    pub(crate) async fn news(&self) {
        let mut metrics = self.raft.server_metrics();
        // A new receiver takes everything for news.
        drop(metrics.borrow_and_update());
        if let Ok(Err(_)) = R::timeout(LOOK, metrics.changed()).await {
            // Consensus has ended, and nothing will change: whoever asks is about to be told.
            R::sleep(LOOK).await;
        }
    }

    /// Returns when somebody else leads than `leader`. Cancel safe.
    pub(crate) async fn changed_from(&self, leader: Leader) {
        while self.current() == leader {
            self.news().await;
        }
    }
}

impl<R: AsyncRuntime> Clone for Leaders<R> {
    fn clone(&self) -> Self {
        Leaders { raft: self.raft.clone(), heard: self.heard.clone(), lost_after: self.lost_after }
    }
}
