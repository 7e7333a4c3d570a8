//! Consensus: the replicated log, its durability, and the node that ties log, store and watch hub
//! together.
//!
//! The only crate that imports openraft. It must never acknowledge what is not on disk, serve a
//! read as linearizable without a barrier, or let anything but the log and the snapshots carry a
//! promise: the store's engine is rebuilt from these two whenever there is doubt. Time, tasks and
//! files come from openraft's `AsyncRuntime` and from [`vfs`], so that a simulator can own them.
//!
//! Start reading at `node.rs`, then `log_store.rs`, `wal/`, `state_machine.rs`.

mod admission;
mod background;
mod barrier;
mod behind;
mod codec;
mod config;
#[cfg(test)]
mod crash_tests;
mod error;
mod failure;
mod forward;
mod leaders;
mod leadership;
mod lessor;
mod log_cache;
mod log_store;
mod node;
mod open;
pub mod peer;
mod read_index;
pub mod restore;
mod runtime;
mod signal;
mod snapshot;
mod snapshotter;
mod sole;
mod state_machine;
mod tally;
mod types;
pub mod vfs;
pub mod wal;

pub use config::{AppliedObserver, Config, InitialMember, LogObserver, Observe, Trail};
pub use error::Error;
pub use lessor::Lessor;
pub use node::{Agreement, Backup, MembersError, Node, ServerNode, Status};
pub use open::{Ended, EngineSource, RunWriter, SledSource, Surroundings, identity_in};
pub use runtime::{Runtime, threads};
