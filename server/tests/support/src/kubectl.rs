//! The real kubectl on some API server.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::{Finished, Script, require};
use crate::net::Namespace;
use crate::wait::eventually;

/// How long a change may take to be seen, on a busy machine.
const SEEN_S_MAX: u64 = 60;

/// The kubectls of this machine: the one on PATH, then those that `BERTH_TEST_KUBECTLS` names, which
/// is written as PATH is.
///
/// # Panics
/// There is none, or one that is named is missing.
pub fn kubectls() -> Vec<PathBuf> {
    let others = std::env::var_os("BERTH_TEST_KUBECTLS").unwrap_or_default();
    let others: Vec<PathBuf> =
        std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty()).collect();
    for missing in others.iter().filter(|path| !path.is_file()) {
        panic!("BERTH_TEST_KUBECTLS: {} is no program", missing.display());
    }
    std::iter::once(require("kubectl", "kubernetes-client")).chain(others).collect()
}

/// kubectl with a home of its own.
#[derive(Debug)]
pub struct Kubectl {
    /// What its command line begins with, the program last.
    words: Vec<String>,
    server: String,
    home: TempDir,
    /// How commands in containers are run, by those that know more than one way.
    websockets: bool,
}

impl Kubectl {
    /// On the API server at `url`.
    ///
    /// # Panics
    /// There is no kubectl on this machine.
    pub fn new(url: &str) -> Self {
        let program = require("kubectl", "kubernetes-client").display().to_string();
        let home = TempDir::new().expect("a temporary directory");
        let server = format!("--server={url}");
        Self { words: vec![program], server, home, websockets: true }
    }

    /// The same, run in a network of its own.
    pub fn within(namespace: &Namespace, url: &str) -> Self {
        let outside = Self::new(url);
        let words = namespace.only_network().into_iter().chain(outside.words).collect();
        Self { words, ..outside }
    }

    /// The same with another kubectl.
    #[must_use]
    pub fn by(&self, program: &Path) -> Self {
        let mut words = self.words.clone();
        words.pop();
        words.push(program.display().to_string());
        let home = TempDir::new().expect("a temporary directory");
        Self { words, server: self.server.clone(), home, websockets: self.websockets }
    }

    /// The same, but commands in containers are run over SPDY, as all did before 1.30.
    #[must_use]
    pub fn over_spdy(self) -> Self {
        Self { websockets: false, ..self }
    }

    fn script(&self, arguments: &[&str]) -> Script {
        let (program, first) = self.words.split_first().expect("a program");
        let first = first.iter().chain([&self.server]).map(String::as_str);
        let all: Vec<&str> = first.chain(arguments.iter().copied()).collect();
        // What is on this machine for other clusters is none of its business.
        Script::new(&PathBuf::from(program), &all)
            .env("HOME", &self.home.path().display().to_string())
            .env("KUBECONFIG", "/dev/null")
            // 1.29 has to be asked for WebSockets, later ones for SPDY; earlier ones have no choice.
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", &self.websockets.to_string())
    }

    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.script(arguments).run().await
    }

    /// The same with a file on its standard input.
    pub async fn run_with(&self, arguments: &[&str], file: &str) -> Finished {
        self.script(arguments).stdin(file).run().await
    }

    /// What it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.run(arguments).await)
    }

    /// The same with a file on its standard input.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok_with(&self, arguments: &[&str], file: &str) -> String {
        succeeded(arguments, self.run_with(arguments, file).await)
    }

    /// Runs a command that never ends by itself until it has printed `text`.
    pub async fn until(&self, arguments: &[&str], text: &str) -> String {
        self.script(arguments).until(text).run().await.stdout
    }

    /// Waits until a command prints `text`, and returns all that it prints then.
    ///
    /// # Panics
    /// When it does not.
    pub async fn shows(&self, arguments: &[&str], text: &str) -> String {
        let what = format!("kubectl {arguments:?} shows {text:?}");
        eventually(&what, SEEN_S_MAX, async || {
            let Finished { stdout, stderr, .. } = self.run(arguments).await;
            if stdout.contains(text) { Ok(stdout) } else { Err(format!("{stdout}{stderr}")) }
        })
        .await
    }

    /// Its version, as the 32 of 1.32.
    ///
    /// # Panics
    /// When it does not tell.
    pub async fn minor(&self) -> u32 {
        let said = self.ok(&["version", "--client", "--output=json"]).await;
        let version: serde_json::Value = serde_json::from_str(&said).expect("a version");
        let minor = version["clientVersion"]["minor"].as_str().expect("a minor version");
        minor.trim_end_matches('+').parse().expect("a number")
    }
}

fn succeeded(arguments: &[&str], finished: Finished) -> String {
    let Finished { code, stdout, stderr } = finished;
    assert_eq!(code, Some(0), "kubectl {arguments:?}: {stdout}{stderr}");
    stdout
}
