//! The quota on live bytes: past it the NOSPACE alarm is raised, and the state machine refuses
//! what would add data. Deleting and compacting bring the state back below it; then the alarm is
//! lifted, if that was asked for, or waits for an operator, as in etcd.

use std::time::Duration;

use api::etcdserverpb::AlarmType;
use api::etcdserverpb::alarm_request::AlarmAction;
use raft::ServerNode;

use super::proposals;

/// How often the state is measured. What can be written in between passes the quota.
const INTERVAL: Duration = Duration::from_millis(100);

/// Watches for ever.
pub(super) async fn run(node: ServerNode, quota_bytes: u64, auto_disarm: bool) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let live_bytes = node.reader().size().live_bytes;
        let Some(action) = decide(live_bytes, quota_bytes, raised(&node), auto_disarm) else {
            continue;
        };
        let lifted = action == AlarmAction::Deactivate;
        match node.propose(proposals::nospace(node.member_id(), action)).await {
            Ok(applied) if applied.result.is_ok() => {
                tracing::warn!(live_bytes, quota_bytes, lifted, "NOSPACE alarm changed");
            }
            Ok(applied) => tracing::warn!(error = ?applied.result.err(), "NOSPACE alarm refused"),
            Err(error) => tracing::warn!(error = %error, "NOSPACE alarm not changed"),
        }
    }
}

/// Whether this member's own alarm is raised.
fn raised(node: &ServerNode) -> bool {
    let alarms = node.reader().alarms();
    alarms.iter().any(|a| a.member_id == node.member_id() && a.alarm() == AlarmType::Nospace)
}

/// What to propose, if anything.
fn decide(
    live_bytes: u64,
    quota_bytes: u64,
    raised: bool,
    auto_disarm: bool,
) -> Option<AlarmAction> {
    match (live_bytes >= quota_bytes, raised) {
        (true, false) => Some(AlarmAction::Activate),
        (false, true) if auto_disarm => Some(AlarmAction::Deactivate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_follows_the_state() {
        // Shows when it is raised, when it is lifted, and that by default nobody lifts it.
        assert_eq!(decide(9, 10, false, true), None);
        assert_eq!(decide(10, 10, false, false), Some(AlarmAction::Activate));
        assert_eq!(decide(11, 10, true, true), None);
        assert_eq!(decide(9, 10, true, true), Some(AlarmAction::Deactivate));
        assert_eq!(decide(9, 10, true, false), None);
    }
}
