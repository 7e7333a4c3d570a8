//! Telling the cluster this member's name, where clients reach it, and which data directory is its.

use std::time::Duration;

use api::berthpb::PublishMember;
use api::etcdserverpb::Member;
use raft::ServerNode;

use super::proposals;
use crate::config::{Settings, Url};

const RETRY: Duration = Duration::from_millis(500);

/// Returns when the cluster knows; tries for as long as it takes. Cancel safe.
pub(super) async fn publish(node: &ServerNode, settings: &Settings) {
    let published =
        PublishMember { member: Some(member(node, settings)), incarnation: node.incarnation() };
    fail::fail_point!("beforePublishing");
    while !node.reader().published().contains(&published) {
        match node.propose(proposals::publish(published.clone())).await {
            Ok(applied) if applied.result.is_ok() => return,
            Ok(applied) => {
                tracing::warn!(error = ?applied.result.err(), "this member is not published yet");
            }
            Err(error) => tracing::warn!(error = %error, "this member is not published yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn member(node: &ServerNode, settings: &Settings) -> Member {
    let texts = |urls: &[Url]| {
        let mut texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    };
    Member {
        id: node.member_id(),
        name: settings.name.clone(),
        peer_urls: texts(&settings.addresses.advertise_peer),
        client_urls: texts(&settings.addresses.advertise_client),
        is_learner: false,
    }
}
