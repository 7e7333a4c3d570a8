//! What every black-box test of the `berth` binary needs: servers, clients, commands.
//!
//! A test starts real processes on loopback ports and speaks to them over the wire. Nothing here
//! may know how berth works inside, and nothing here may skip a test: a missing program is a
//! failure that names the package to install. Start reading at [`Server`].

mod client;
mod command;
mod ports;
mod program;
mod server;

pub use client::{Clients, bounded, connect, with_token};
pub use command::{Finished, Script, require};
pub use ports::free as free_port;
pub use program::{Kind, Program};
pub use server::Server;

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
