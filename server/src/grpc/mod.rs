//! etcd's gRPC services over one raft node.
//!
//! A call is checked, becomes a command or a read, and is answered in etcd's words. This room
//! translates: what a request means is `store`'s business, what is durable `raft`'s. It must never
//! answer a write before the node has, nor read ahead of the barrier that a read asked for.
//!
//! Start at [`Context`], which every service holds, then `kv.rs`; errors are in [`errors`].

mod caller;
mod context;
pub mod errors;
mod header;
mod passwords;
mod tokens;
pub mod watch;

pub use context::{Context, Options};
