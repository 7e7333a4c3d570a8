//! What every black-box test of the `berth` binary needs: servers, clients, commands.
//!
//! A test starts real processes and speaks to them over the wire. Nothing here may know how berth
//! works inside. A missing program is a failure that names the package to install; only what the
//! kernel does not permit is skipped, and said ([`skipped`]). Start reading at [`Server`] for one
//! process, at [`Cluster`] for several.

mod bridge;
mod cgroup;
mod client;
mod cluster;
mod command;
mod dialogue;
mod history;
mod image;
mod kubectl;
mod layout;
mod net;
mod ports;
mod process;
mod processes;
mod program;
mod proxy;
mod server;
mod skip;
mod syncs;
mod wait;

pub use bridge::remove_bridge;
pub use cgroup::cpu_part;
pub use client::{Clients, bounded, connect, enable_auth, with_token};
pub use cluster::{Birth, Cluster, Member, Place};
pub use command::{Finished, Script, require};
pub use dialogue::Dialogue;
pub use history::{Follower, History, Ledger, Position, Promises, Timeline, Write};
pub use image::{busybox_archive, image_archive};
pub use kubectl::{Kubectl, kubectls};
pub use layout::Layout;
pub use net::{Namespace, Net, Wire};
pub use ports::free as free_port;
pub use processes::processes;
pub use program::{Kind, Program};
pub use proxy::{Proxy, Weather};
pub use server::Server;
pub use skip::skipped;
pub use syncs::Syncs;
pub use wait::eventually;

/// The server under test: the `berth` that cargo built, or real etcd when the environment says
/// `BERTH_TEST_SUBJECT=etcd` (which proves the tests themselves).
#[macro_export]
macro_rules! subject {
    () => {
        $crate::Program::subject(env!("CARGO_BIN_EXE_berth"))
    };
}

/// A number from the environment, or its default: how the long tests are scaled.
pub fn env_number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}
