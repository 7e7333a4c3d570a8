//! `berth snapshot`: what is done with backup files without a server, as etcdutl does it.
//!
//! It reads files and makes directories, and never talks to anybody: saving is a client's business
//! (`berth ctl snapshot save`). What is in the files, `raft` and `store` know.
//!
//! One file holds one subcommand.

mod etcd;
mod export;
mod import;
mod output;
mod restore;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::umask;
pub(crate) use restore::Restore;
pub(crate) use status::status;

/// etcdutl's exit status for wrong arguments.
const EXIT_BAD_ARGS: u8 = 128;

/// Works on files that `snapshot save` wrote.
#[derive(Debug, Parser)]
#[command(name = "berth snapshot", disable_version_flag = true)]
struct Snapshot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Gets backend snapshot status of a given file
    Status(status::Status),
    /// Restores a member of a new cluster from a snapshot file
    Restore(Restore),
    /// Makes a snapshot file of berth from one of etcd
    Import(import::Import),
    /// Makes a snapshot file of etcd from one of berth
    Export(export::Export),
}

/// A message for the person; the exit status is 1.
pub(crate) type Outcome = Result<(), String>;

/// Runs `berth snapshot ARGS`: 0, 1 if it did not succeed, 128 for wrong arguments.
///
/// `args` are those after `snapshot`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let name = std::iter::once(OsString::from("berth snapshot"));
    let snapshot = match Snapshot::try_parse_from(name.chain(args)) {
        Ok(snapshot) => snapshot,
        Err(error) => return report_usage(&error),
    };
    umask::tighten();
    let outcome = match snapshot.verb {
        Verb::Status(flags) => flags.run(),
        Verb::Restore(restore) => restore.run(),
        Verb::Import(import) => import.run(),
        Verb::Export(export) => export.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// All subcommands and flags, for who completes them.
pub(crate) fn command() -> clap::Command {
    Snapshot::command()
}

fn report_usage(error: &clap::Error) -> ExitCode {
    // Printing help can only fail when nobody reads it.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_BAD_ARGS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_tree_is_well_formed() {
        // Proves that the subcommands and flags are consistent (clap checks it in debug builds).
        Snapshot::command().debug_assert();
    }

    #[test]
    fn a_bump_and_its_mark_belong_together() {
        // Proves etcdutl's rule: neither flag comes without the other, and a bump is more than 0.
        let parse = |flags: &[&str]| {
            let args = ["snapshot", "restore", "f", "--data-dir=d"].iter().chain(flags);
            Snapshot::try_parse_from(args).is_ok()
        };
        assert!(parse(&["--bump-revision=1", "--mark-compacted"]));
        assert!(parse(&[]));
        assert!(!parse(&["--bump-revision=1"]));
        assert!(!parse(&["--mark-compacted"]));
        assert!(!parse(&["--bump-revision=0", "--mark-compacted"]));
        assert!(!parse(&["--bump-revision=9223372036854775808", "--mark-compacted"]));
    }
}
