//! Discovery and a thin orchestrator on an etcd-compatible store, as clients of it.
//!
//! This room must never know which store it talks to: everything goes through [`kv::Kv`], whose
//! wire is etcd's. It sees neither `store` nor `raft`, and it owns no command line: `server/`
//! parses flags and hands over plain settings.
//!
//! Start at [`kv`], then [`discovery`]; the orchestrator begins at [`objects`].

pub mod agent;
pub mod apiserver;
pub mod controllers;
pub mod discovery;
pub mod kv;
pub mod objects;
pub mod proxy;
mod resolv_conf;
pub mod scheduler;
pub mod tls;

/// berth's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
