//! Which server program to start, and how.

use std::path::PathBuf;

use crate::command::require;

/// The family of a server, for the few places where a test treats them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Berth,
    Etcd,
}

/// A server program on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    pub kind: Kind,
    pub path: PathBuf,
}

impl Program {
    /// The real etcd, the judge of every comparison.
    pub fn etcd() -> Self {
        Self { kind: Kind::Etcd, path: require("etcd", "etcd-server") }
    }

    /// The program under test. Called through [`crate::subject!`], which knows berth's path.
    pub fn subject(berth: &str) -> Self {
        match std::env::var("BERTH_TEST_SUBJECT").as_deref() {
            Ok("etcd") => Self::etcd(),
            Ok("berth") | Err(_) => Self { kind: Kind::Berth, path: PathBuf::from(berth) },
            Ok(other) => panic!("BERTH_TEST_SUBJECT={other}: expected berth or etcd"),
        }
    }

    /// Arguments that come before etcd's flags.
    pub(crate) fn leading_arguments(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Berth => &["serve"],
            Kind::Etcd => &["--logger=zap"],
        }
    }
}
