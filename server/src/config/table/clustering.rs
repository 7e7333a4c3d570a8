//! Who is in the cluster and how it starts.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT32};

const NO_DISCOVERY: &str = "name the members with --initial-cluster";
const BY_PINGS: &str = "a member that is gone is noticed by pings within seconds";
const BY_TIME: &str = "members are compared every --corrupt-check-time";

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    supported("initial-advertise-peer-urls", Urls, "http://localhost:2380", "peer addresses of this member, told to others"),
    supported("advertise-client-urls", Urls, "http://localhost:2379", "client addresses of this member, told to others"),
    supported("initial-cluster", Text, "default=http://localhost:2380", "NAME=URL of all first members, this one included"),
    supported("initial-cluster-state", Choice(&["new", "existing"]), "new", "whether the cluster is there already"),
    supported("initial-cluster-token", Text, "etcd-cluster", "enters the ids, so that clusters cannot be mixed up"),
    supported("strict-reconfig-check", Bool, "true", "refuse changes of members that would take the majority away"),
    accepted("pre-vote", Bool, "true", "members always ask before they stand for election"),
    supported("max-learners", UINT32, "1", "learners at a time"),
    supported("auto-promote-learners", Bool, "false", "make voters of learners as soon as they have caught up (berth's own)"),
    supported("serve-learner-reads", Bool, "false", "learners serve linearizable reads too, by the leader's index (berth's own)"),
    accepted("raft-read-timeout", Duration, "5s", BY_PINGS),
    accepted("raft-write-timeout", Duration, "5s", BY_PINGS),
    supported("corrupt-check-time", Duration, "0s", "how often the leader compares what the members hold; 0: never"),
    accepted("compact-hash-check-time", Duration, "1m", BY_TIME),
    supported("force-new-cluster", Bool, "false", "make this member the only one; for when a majority is lost for good"),
    refused("discovery-endpoints", Words, "", NO_DISCOVERY),
    refused("discovery-token", Text, "", NO_DISCOVERY),
    refused("discovery-dial-timeout", Duration, "2s", NO_DISCOVERY),
    refused("discovery-request-timeout", Duration, "5s", NO_DISCOVERY),
    refused("discovery-keepalive-time", Duration, "2s", NO_DISCOVERY),
    refused("discovery-keepalive-timeout", Duration, "6s", NO_DISCOVERY),
    refused("discovery-insecure-transport", Bool, "true", NO_DISCOVERY),
    refused("discovery-insecure-skip-tls-verify", Bool, "false", NO_DISCOVERY),
    refused("discovery-cert", Text, "", NO_DISCOVERY),
    refused("discovery-key", Text, "", NO_DISCOVERY),
    refused("discovery-cacert", Text, "", NO_DISCOVERY),
    refused("discovery-user", Text, "", NO_DISCOVERY),
    refused("discovery-password", Text, "", NO_DISCOVERY),
    refused("discovery-srv", Text, "", NO_DISCOVERY),
    refused("discovery-srv-name", Text, "", NO_DISCOVERY),
    refused("discovery-proxy", Text, "", NO_DISCOVERY),
    refused("discovery-fallback", Choice(&["exit", "proxy"]), "exit", "there is no v2 proxy"),
];
