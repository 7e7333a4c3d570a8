//! The deterministic state machine: a multi-version key-value store with leases, auth and alarms.
//!
//! The same commands give the same state and the same answers on every replica. So this crate
//! must never look at a clock, draw a random number, depend on hash order, or talk to anybody:
//! whatever a command needs is in the command.
//!
//! Start reading at [`Store::apply`]; reads are in [`Reader`].

#[cfg(any(test, feature = "fuzz"))]
pub mod against_model;
pub mod auth;
pub mod engine;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod planted;
pub mod snapshot;
pub mod v2;

mod apply;
mod attached;
mod auth_view;
mod authorize;
mod check;
mod compactor;
mod entry;
mod error;
mod event;
mod flusher;
mod hash;
mod history;
mod index;
mod key_range;
mod options;
mod outcome;
mod persist;
mod range_plan;
mod read_ahead;
mod reader;
mod response;
mod revision;
mod select;
mod shared;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod txn;
mod values;
mod view;
mod walk;
mod work;
mod write;

pub use auth::Access;
pub use auth_view::AuthView;
pub use compactor::Compactor;
pub use entry::Entry;
pub use error::Error;
pub use event::{Event, EventBatch, EventKind};
pub use flusher::Flusher;
pub use options::{LEASE_TTL_S_MAX, Options};
pub use range_plan::RangePlan;
pub use reader::{HashKv, HistoryChunk, LeaseInfo, Reader, Size};
pub use response::{Applied, Position, Response};
pub use revision::Revision;
pub use snapshot::{Snapshot, verify_snapshot};
pub use store::Store;
pub use txn::txn_is_read_only;
pub use work::Work;
