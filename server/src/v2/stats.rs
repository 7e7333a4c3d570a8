//! `/v2/stats`: how this member is doing, as far as berth counts what etcd counted.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use store::v2::{Counts, Tally};

use super::{V2, json, members};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreStats {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SelfStats {
    name: String,
    id: String,
    state: &'static str,
    start_time: String,
    leader_info: LeaderInfo,
}

#[derive(Serialize)]
struct LeaderInfo {
    leader: String,
}

#[derive(Serialize)]
struct LeaderStats {
    leader: String,
    followers: BTreeMap<String, Follower>,
}

/// A voter that follows. What etcd measures of it is in the metrics of the network here.
#[derive(Serialize)]
struct Follower {}

/// When this member began to serve.
#[derive(Clone, Copy)]
pub(super) struct Started(SystemTime);

impl Started {
    pub(super) fn now() -> Started {
        Started(SystemTime::now())
    }

    fn text(self) -> String {
        // A clock before 1970 is no time to tell.
        humantime::format_rfc3339_nanos(self.0.max(UNIX_EPOCH)).to_string()
    }
}

/// Answers a request for what is behind `/v2/stats/`; `None`: there is no such thing.
pub(super) fn serve(v2: &V2, rest: &[u8], method: &Method) -> Option<Response> {
    let answer: fn(&V2) -> Response = match rest {
        b"store" => store,
        b"self" => own,
        b"leader" => leader,
        _ => return None,
    };
    if *method != Method::GET {
        return Some(super::method_not_allowed(&[Method::GET]));
    }
    Some(match v2.check_open() {
        Ok(()) => answer(v2),
        Err(refused) => refused.into_response(),
    })
}

fn store(v2: &V2) -> Response {
    let Counts { gets, sets, creates, updates, swaps, deletes, compared_deletes, expired } =
        v2.reader().v2_counts();
    let both = |tally: Tally| (tally.success, tally.fail);
    let (gets_success, gets_fail) = both(gets);
    let (sets_success, sets_fail) = both(sets);
    let (delete_success, delete_fail) = both(deletes);
    let (update_success, update_fail) = both(updates);
    let (create_success, create_fail) = both(creates);
    let (compare_and_swap_success, compare_and_swap_fail) = both(swaps);
    let (compare_and_delete_success, compare_and_delete_fail) = both(compared_deletes);
    let stats = StoreStats {
        gets_success,
        gets_fail,
        sets_success,
        sets_fail,
        delete_success,
        delete_fail,
        update_success,
        update_fail,
        create_success,
        create_fail,
        compare_and_swap_success,
        compare_and_swap_fail,
        compare_and_delete_success,
        compare_and_delete_fail,
        expire_count: expired,
        watchers: v2.notices.count() as u64,
    };
    json::response_unended(StatusCode::OK, &stats)
}

fn own(v2: &V2) -> Response {
    let (node, id) = (v2.context.node(), v2.context.member_id());
    let leader = node.leader();
    let own = node.members().into_iter().find(|member| member.id == id);
    let stats = SelfStats {
        name: own.map(|member| member.name).unwrap_or_default(),
        id: format!("{id:x}"),
        state: match leader {
            Some(leader) if leader == id => "StateLeader",
            _ => "StateFollower",
        },
        start_time: v2.started.text(),
        leader_info: LeaderInfo { leader: format!("{:x}", leader.unwrap_or(0)) },
    };
    json::response_unended(StatusCode::OK, &stats)
}

fn leader(v2: &V2) -> Response {
    let (node, id) = (v2.context.node(), v2.context.member_id());
    if node.leader() != Some(id) {
        return members::error(StatusCode::FORBIDDEN, "not current leader");
    }
    let others = node.members().into_iter().filter(|it| it.id != id && !it.is_learner);
    let followers = others.map(|member| (format!("{:x}", member.id), Follower {})).collect();
    let stats = LeaderStats { leader: format!("{id:x}"), followers };
    json::response_unended(StatusCode::OK, &stats)
}
