//! The task that turns deadlines into commands.

use std::time::Duration;

use api::berthpb::command::Op;
use api::berthpb::{Command, ExpireLeases, ExpiredLease};
use openraft::AsyncRuntime;
use openraft::async_runtime::Select2;
use store::Applied;

use super::{Due, Lessor};
use crate::error::Error;

/// Leases that one log entry ends. Thousands that are due together take a few entries, and no
/// entry holds up the others for long.
const LEASES_PER_ENTRY_MAX: usize = 1000;

/// How long after a deadline others are waited for, to share its entry: leases end this much late
/// (etcd looks every 500 ms).
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// How long to wait after an expiry could not be proposed.
const RETRY: Duration = Duration::from_millis(500);

/// Proposes the expiry of leases whose time is up, until the lessor is closed.
pub(crate) async fn run<R, P, F>(lessor: Lessor<R>, propose: P)
where
    R: AsyncRuntime,
    P: Fn(Command) -> F,
    F: Future<Output = Result<Applied, Error>>,
{
    while wait_for_due(&lessor).await {
        let due = lessor.take_due(LEASES_PER_ENTRY_MAX);
        if due.is_empty() {
            continue;
        }
        match propose(expire(&due)).await {
            // Applied, and observed: what is still there was refused, and would be again at once.
            Ok(_) => lessor.give_back(&due, RETRY),
            Err(error) => {
                tracing::debug!(%error, count = due.len(), "expiry of leases not proposed");
                lessor.give_back(&due, RETRY);
            }
        }
    }
}

/// True when a lease may be due; false when the lessor is closed.
async fn wait_for_due<R: AsyncRuntime>(lessor: &Lessor<R>) -> bool {
    loop {
        let changed = lessor.shared.changed.wait();
        let Some(next) = lessor.next_look() else {
            if !changed.await {
                return false;
            }
            continue;
        };
        match R::select2(changed, R::sleep_until(next + GATHER)).await {
            Select2::First(false) => return false,
            Select2::First(true) => {}
            Select2::Second(()) => return true,
        }
    }
}

fn expire(due: &[Due]) -> Command {
    let leases =
        due.iter().map(|due| ExpiredLease { id: due.id, grant_index: due.grant_index }).collect();
    Command { principal: None, origin: None, op: Some(Op::ExpireLeases(ExpireLeases { leases })) }
}
