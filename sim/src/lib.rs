//! A deterministic simulator of a whole cluster: consensus, log, store, watches and leases of three
//! to seven members run in one thread, on simulated time, disks and network, and one seed decides
//! everything that happens.
//!
//! The room must never look at the machine's clock, throw a coin of its own, or know more of berth
//! than its interfaces: the code under test is the code that ships.
//!
//! Start at [`run`]; what goes wrong is in `nemesis.rs`, who judges in `oracle/`, and how time and
//! processes work in `runtime/`. `sim/README.md` is the legend of what it prints.

mod chance;
pub mod chaos;
mod clients;
mod cluster;
mod disk;
mod history;
mod log;
#[cfg(feature = "planted")]
pub mod mistakes;
mod nemesis;
mod network;
mod oracle;
pub mod panics;
pub mod plan;
mod run;
mod runtime;
mod world;

pub use run::{Report, run};
pub use world::Violation;
