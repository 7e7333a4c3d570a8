//! Flags that etcd itself has dropped or ignores, still found in unit files.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT};

const NO_PROXY: &str = "there is no v2 proxy";
const ETCD_TOO: &str = "etcd has ignored it since version 2";

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    accepted("v2-deprecation", Text, "", "the v2 API stays"),
    supported("enable-v2", Bool, "false", "serve the v2 API (on when started without arguments)"),
    refused("enable-v2v3", Text, "", "the v2 API has a tree of its own"),
    refused("discovery", Text, "", "v2 discovery is gone; name the members with --initial-cluster"),
    refused("proxy", Text, "off", NO_PROXY),
    accepted("proxy-failure-wait", UINT, "5000", NO_PROXY),
    accepted("proxy-refresh-interval", UINT, "30000", NO_PROXY),
    accepted("proxy-dial-timeout", UINT, "1000", NO_PROXY),
    accepted("proxy-write-timeout", UINT, "5000", NO_PROXY),
    accepted("proxy-read-timeout", UINT, "0", NO_PROXY),
    refused("debug", Bool, "false", "say --log-level=debug"),
    refused("log-package-levels", Text, "", "say --log-level"),
    accepted("cluster-active-size", Anything, "", ETCD_TOO),
    accepted("cluster-remove-delay", Anything, "", ETCD_TOO),
    accepted("cluster-sync-interval", Anything, "", ETCD_TOO),
    accepted("config", Anything, "", ETCD_TOO),
    accepted("force", Anything, "", ETCD_TOO),
    accepted("max-result-buffer", Anything, "", ETCD_TOO),
    accepted("max-retry-attempts", Anything, "", ETCD_TOO),
    accepted("peer-heartbeat-interval", Anything, "", ETCD_TOO),
    accepted("peer-election-timeout", Anything, "", ETCD_TOO),
    accepted("retry-interval", Anything, "", ETCD_TOO),
    accepted("snapshot", Anything, "", ETCD_TOO),
    accepted("v", Anything, "", ETCD_TOO),
    accepted("vv", Anything, "", ETCD_TOO),
];
