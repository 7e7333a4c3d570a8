//! How soon what has expired is gone, and what a crowd that expires together costs others.
//!
//! Start at [`run`]; [`killed`] takes instances away one by one, [`wave`] many at once.

mod killed;
mod wave;

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use crate::figures::Report;
use crate::server::{Server, Subject, own_berth};

#[derive(Debug, Args)]
pub(crate) struct Expiry {
    /// Instances that are killed with SIGKILL, one after the other; and as many leases of our own
    /// that end
    #[arg(long, default_value_t = 100)]
    instances: usize,
    /// Leases that end together, each with a key
    #[arg(long, default_value_t = 10_000)]
    leases: usize,
    /// Seconds that all of them live unless they are renewed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..))]
    ttl_s: u64,
    /// What to measure: `berth` is the one built beside this program, any other word a program that
    /// takes etcd's flags
    #[arg(long, value_delimiter = ',', default_value = "berth,etcd")]
    subjects: Vec<String>,
    /// Where to keep the data (a directory for each server is made there, and removed)
    #[arg(long)]
    directory: Option<PathBuf>,
}

pub(crate) async fn run(expiry: &Expiry) -> Result<(), Box<dyn Error>> {
    let mut after = Vec::new();
    let mut waves = Vec::new();
    for word in &expiry.subjects {
        let command = match word.as_str() {
            "berth" => vec![own_berth()?.into(), "serve".into()],
            program => vec![program.into()],
        };
        let subject = Subject::new(word.clone(), command)?;
        println!("{word}: {}", subject.version()?);
        let directory = match &expiry.directory {
            Some(parent) => tempfile::tempdir_in(parent)?,
            None => tempfile::tempdir()?,
        };
        let mut server = Server::start(&subject, &directory.path().join("data"))?;
        let channel = server.first_read().await?;
        let figures = killed::measure(expiry, &server, &channel, directory.path()).await?;
        after.push((word.clone(), figures));
        waves.push((word.clone(), wave::measure(expiry, &server, &channel).await?));
        server.stop()?;
    }
    println!(
        "\n{} sidecars (`berth register`) with a TTL of {} s are killed, and as many leases of that \
         time are left to end: until the file that `berth template` keeps does not name them",
        expiry.instances, expiry.ttl_s
    );
    let mut report = Report::new(&[
        "from SIGKILL: p50",
        "p99",
        "longest",
        "beyond the TTL: p99",
        "from a lease's end: p50",
        "p99",
        "longest",
    ]);
    report.group("", &after);
    println!("{report}\n\n{} leases end together", expiry.leases);
    let mut report = Report::new(&[
        "renewed within",
        "gone within",
        "entries of the log",
        "others' writes and reads meanwhile",
        "longest write",
        "longest read",
    ]);
    report.group("", &waves);
    println!("{report}");
    Ok(())
}
