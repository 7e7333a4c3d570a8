//! The orchestrator in the server, and its commands.
//!
//! Flags in, settings for `sched` out; who listens and who a caller is is decided here, what an
//! object means there. It must never start by itself in a server that was given flags.
//!
//! Start at [`serve`].

mod agent;
mod container;
mod control;
pub(crate) mod flags;
mod idle;
mod image;
mod listen;
mod runtime;
pub(crate) mod serve;
mod tls;
mod users;

pub use agent::run as agent;
pub use container::run as container;
pub use control::run as control;
pub use image::run as image;
