//! A named network namespace.

use std::path::Path;
use std::process::Command;

use super::run;

/// Handle of a namespace; the network that made it removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// # Errors
    /// `File exists` when the name is taken, or why the kernel refuses.
    pub(crate) fn create(name: &str) -> Result<Self, String> {
        run(&format!("ip netns add {name}"))?;
        Ok(Self { name: name.to_owned() })
    }

    /// The namespace of that name, which exists.
    pub(crate) fn existing(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run `program` inside. `ip` turns into the program: the process id is
    /// the program's.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// The words that a command line begins with to run in this network and on the rest of this
    /// machine as it is: what runs containers needs its control groups, which [`Self::command`]
    /// hides.
    pub fn only_network(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.name)]
    }

    /// Runs a command line of plain words inside.
    pub(crate) fn run(&self, line: &str) -> Result<(), String> {
        run(&format!("ip netns exec {} {line}", self.name))
    }

    pub(crate) fn delete(&self) {
        // Failing to clean up is no reason to fail a test that has passed.
        if let Err(failure) = run(&format!("ip netns del {}", self.name)) {
            eprintln!("{failure}");
        }
    }
}
