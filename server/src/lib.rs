//! The binary `berth`: gRPC services, HTTP, configuration and wiring around one raft node.
//!
//! This room translates and decides nothing about data: a request comes in, is checked at the
//! edge, becomes a command or a read, and the answer goes out in etcd's words. What a key means is
//! `store`'s business, what is durable is `raft`'s.
//!
//! Start at [`serve::run`], which opens everything in order, then `grpc::kv`.

pub mod bolt;
pub mod completion;
pub mod config;
pub mod ctl;
pub mod discovery;
pub mod failpoints;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod log;
pub mod mirror;
pub mod orchestrator;
pub mod peer;
pub mod serve;
pub mod snapshot;
pub mod steps;
pub mod traces;
mod umask;
pub mod v2;

/// The etcd version whose contract is served; clients choose what they ask by it.
pub const ETCD_VERSION: &str = "3.7.1";
/// The cluster version of a cluster whose members all speak [`ETCD_VERSION`].
pub const CLUSTER_VERSION: &str = "3.7.0";
/// Berth's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
