//! Consensus: the replicated log, its durability, and the node that ties log, store and watch hub
//! together.
//!
//! The only crate that imports openraft. It must never acknowledge what is not on disk, serve a
//! read as linearizable without a barrier, or let anything but [`wal`] and [`snapshot`] carry a
//! promise: the store's engine is rebuilt from these two whenever there is doubt. Time, tasks and
//! files come from openraft's `AsyncRuntime` and from [`vfs`], so that a simulator can own them.
//!
//! Start reading at `node.rs`, then `log_store.rs`, `wal/`, `state_machine.rs`.

mod codec;
mod log_cache;
mod log_store;
mod types;
pub mod vfs;
pub mod wal;

pub use types::{Peer, Proposal, Types};
