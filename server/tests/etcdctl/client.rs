//! The command line that runs a script.

use std::path::PathBuf;

use testkit::{Script, require};

/// A program that takes etcdctl's verbs and flags.
#[derive(Debug)]
pub(crate) struct Client {
    program: PathBuf,
    leading: &'static [&'static str],
}

impl Client {
    /// Debian's etcdctl, the judge.
    pub(crate) fn etcdctl() -> Self {
        Self { program: require("etcdctl", "etcd-client"), leading: &[] }
    }

    /// `berth ctl`; `path` is the binary that cargo built.
    pub(crate) fn berth(path: &str) -> Self {
        Self { program: PathBuf::from(path), leading: &["ctl"] }
    }

    /// This client with these arguments, its endpoint given as operators give it.
    pub(crate) fn command(&self, endpoint: &str, arguments: &[String]) -> Script {
        let mut all: Vec<&str> = self.leading.to_vec();
        all.extend(arguments.iter().map(String::as_str));
        Script::new(&self.program, &all).env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", endpoint)
    }
}
