//! A node on a disk of its own, for tests of services.

use std::time::Duration;

use raft::{Config, InitialMember, ServerNode};
use tempfile::TempDir;

use super::{Context, Options, Tokens};
use crate::config::AuthToken;
use crate::http::Metrics;

pub(super) struct Home {
    pub(super) context: Context,
    _dir: TempDir,
}

/// Starts a node whose store may hold `quota_bytes`.
pub(super) async fn home(quota_bytes: Option<u64>) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let member = InitialMember { id: 1, name: "one".to_owned(), peer_urls: Vec::new() };
    let tokens = Tokens::open(&AuthToken::Simple { ttl: Duration::from_secs(300) }).unwrap();
    let config = Config {
        unsafe_no_fsync: true,
        on_applied: tokens.observer(),
        ..Config::new(dir.path().join("data"), 2, 1, vec![member])
    };
    let node = ServerNode::start(config).await.unwrap();
    let options = Options {
        cluster_id: 2,
        member_id: 1,
        request_bytes_max: 1536 << 10,
        quota_bytes,
        serve_learner_reads: false,
        bcrypt_cost: 4,
    };
    let metrics = Metrics::new(false).services();
    Home { context: Context::new(node, options, tokens, metrics), _dir: dir }
}
