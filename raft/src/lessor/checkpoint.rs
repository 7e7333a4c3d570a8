//! The task that writes down how much is left of long leases.

use std::time::Duration;

use api::berthpb::command::Op;
use api::berthpb::{CheckpointLeases, CheckpointedLease, Command};
use openraft::AsyncRuntime;
use store::Applied;

use super::deadlines::Reset;
use super::{Left, Lessor};
use crate::error::Error;

/// Leases in one log entry.
const LEASES_PER_ENTRY_MAX: usize = 1000;

/// How often the clock is looked at.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Proposes checkpoints when they are due, until the lessor is closed.
pub(crate) async fn run<R, P, F>(lessor: Lessor<R>, propose: P)
where
    R: AsyncRuntime,
    P: Fn(Command) -> F,
    F: Future<Output = Result<Applied, Error>>,
{
    let Some(interval) = lessor.shared.checkpoint_interval else { return };
    while !lessor.is_closed() {
        let taken = lessor.take_checkpoints(LEASES_PER_ENTRY_MAX);
        if taken.is_empty() {
            R::sleep(LOOK_MAX.min(interval / 4)).await;
            continue;
        }
        if let Err(error) = propose(checkpoint(&taken)).await {
            tracing::debug!(%error, count = taken.len(), "checkpoint of leases not proposed");
        }
        // After an error it may be applied yet.
        lessor.checkpoints_proposed(&taken);
    }
}

/// Says that a lease has its full time again.
pub(crate) fn reset(reset: &Reset) -> Command {
    let (id, grant_index) = (reset.id, reset.grant_index);
    checkpoint(&[Left { id, grant_index, remaining_s: 0 }])
}

fn checkpoint(left: &[Left]) -> Command {
    let lease = |left: &Left| CheckpointedLease {
        id: left.id,
        grant_index: left.grant_index,
        remaining_s: left.remaining_s,
    };
    let leases = left.iter().map(lease).collect();
    let op = Op::CheckpointLeases(CheckpointLeases { leases });
    Command { principal: None, origin: None, op: Some(op) }
}
