//! The end of keys whose time is up: the leader says when, in the log.

use std::time::Duration;

use api::berthpb::V2Expire;
use api::berthpb::command::Op;

use super::now_ns;
use crate::grpc::Context;

/// How often the leader looks, as in etcd.
const INTERVAL: Duration = Duration::from_millis(500);

/// Nodes that one log entry ends, so that none holds up the others for long.
const NODES_PER_ENTRY_MAX: u32 = 1000;

/// Ends what is due whenever this member leads; never returns. It runs on every member, with the
/// v2 API or without: a leader must do it for those that serve it.
pub async fn run(context: Context) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        while leads(&context) && is_due(&context) {
            let expire = V2Expire { now_ns: now_ns(), count_max: NODES_PER_ENTRY_MAX };
            if let Err(error) = context.propose(None, Op::V2Expire(expire)).await {
                tracing::debug!(?error, "expiry of v2 keys not proposed");
                break;
            }
        }
    }
}

fn leads(context: &Context) -> bool {
    context.node().leader() == Some(context.member_id())
}

fn is_due(context: &Context) -> bool {
    let next = context.node().reader().v2_next_deadline_ns();
    next.is_some_and(|deadline_ns| deadline_ns <= now_ns())
}
