//! A leader whose log does not get to its disk gives leadership away.
//!
//! The others make the majority without it, so nothing would stop it from leading: until what it has
//! applied and may not write behind fills its memory, and every write waits. A disk that fails says
//! so; one that hangs says nothing.

use std::time::Duration;

use openraft::{AsyncRuntime, Instant};

use super::Node;
use crate::leaders::Leader;

/// How often one looks.
const LOOK: Duration = Duration::from_millis(500);

impl<R: AsyncRuntime> Node<R> {
    /// Hands over when nothing of the log became durable for as long as `stall_max` although
    /// something waits for it; and again after as long, if nobody took it. Ends with the node.
    pub(super) async fn leave_when_stalled(self, stall_max: Duration) {
        let (mut durable, mut since) = (0, R::Instant::now());
        while self.check_alive().is_ok() {
            R::sleep(LOOK).await;
            let (now, next) = (self.inner.wal.durable_next_index(), self.inner.wal.next_index());
            let leads = self.inner.leaders.current() == Leader::Here;
            let is_alone = self.membership().voter_ids().count() <= 1;
            if now != durable || next <= now || !leads || is_alone {
                (durable, since) = (now, R::Instant::now());
            } else if since.elapsed() > stall_max {
                tracing::warn!(
                    stalled = ?since.elapsed(),
                    "the disk does not take the log: leadership is offered to another member"
                );
                if let Err(error) = self.hand_over().await {
                    tracing::warn!(%error, "nobody took it");
                }
                since = R::Instant::now();
            }
        }
    }
}
