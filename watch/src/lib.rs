//! The watch hub: it takes what was applied and brings it to everyone who asked for it.
//!
//! It must never make a write wait: [`Publisher::publish`] puts a batch into an inbox and returns.
//! It must never skip, repeat or reorder an event for a watcher, nor split a revision unless the
//! watcher asked for fragments; a watcher that cannot be served any more is told so. It knows no
//! clock, no task and no socket: its owner spawns [`Hub::run`], calls [`Hub::tick`] and polls each
//! [`WatchStream`], so a simulator can do the same.
//!
//! Start reading at [`Hub`]; the states of a watcher are drawn in `docs/internals/watch.md`.

mod core;
mod event;
mod fragment;
mod hub;
mod inbox;
mod index;
mod interval;
mod options;
mod ring;
mod signal;
mod sink;
mod source;
mod stream;
mod target;

#[cfg(test)]
mod tests;

pub use hub::{Hub, Publisher, Stats};
pub use options::Options;
pub use source::Source;
pub use stream::{CreateError, WatchStream};
