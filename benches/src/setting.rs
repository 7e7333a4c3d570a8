//! What every measurement of a cluster is asked, and what it tells of its circumstances.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use crate::server::{Subject, own_berth};

#[derive(Debug, Args)]
pub(crate) struct Setting {
    /// What to measure: `berth` is the one built beside this program, any other word a program
    /// that takes etcd's flags
    #[arg(long, value_delimiter = ',', default_value = "berth,etcd")]
    subjects: Vec<String>,
    /// Where to keep data and logs (a directory for each cluster is made there)
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
    /// Leave data and logs there afterwards
    #[arg(long, requires = "directory")]
    pub(crate) keep: bool,
}

impl Setting {
    /// What to measure, in the order of the tables.
    pub(crate) fn subjects(&self) -> Result<Vec<Subject>, Box<dyn Error>> {
        let subject = |word: &String| {
            let command = match word.as_str() {
                "berth" => vec![own_berth()?.into(), "serve".into()],
                program => vec![program.into()],
            };
            Ok(Subject::new(word.clone(), command)?)
        };
        self.subjects.iter().map(subject).collect()
    }

    /// Prints what a reader needs to know before any figure: the command, the versions, the
    /// machine.
    pub(crate) fn print(&self) -> Result<(), Box<dyn Error>> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        println!("cargo run --release -p benches -- {}", words.join(" "));
        for subject in self.subjects()? {
            println!("{}: {}", subject.name, subject.version()?);
        }
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("members on loopback, default timeouts, {cores} cores for them and the clients\n");
        Ok(())
    }
}
