//! `berth mirror`: keeps a copy of one cluster's keys in another, by watching.
//!
//! It is a client of both sides, etcd or berth. First it copies all keys as they are at one revision
//! of the source, then it follows: each revision of the source becomes one transaction at the
//! destination. How far it has come is a key at the destination, written in the same transaction as
//! the data: whatever happens to either side or to the mirror itself, nothing is left out and
//! nothing is done twice. `docs/internals/mirror.md` has the whole story.
//!
//! Start at [`run`], then `cycle.rs`, `follow.rs`, `full.rs`.

mod checkpoint;
mod cursor;
mod cycle;
mod destination;
mod flags;
mod follow;
mod full;
mod lag;
mod mapping;
mod pieces;
mod source;
mod trouble;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use self::flags::Mirror;
use crate::config::LogSettings;
use crate::ctl::failure::{EXIT_BAD_ARGS, Failure};
use crate::log;
use crate::serve::signals::Signals;

/// Runs `berth mirror ARGS` until it is told to stop (0) or cannot go on.
///
/// `args` are those after `mirror`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let mirror = match Mirror::parse(args) {
        Ok(mirror) => mirror,
        Err(error) => return report_usage(&error),
    };
    let settings =
        LogSettings { level: "info".into(), console: false, outputs: vec!["stderr".into()] };
    let outcome = log::install(&settings).map_err(Failure::error).and_then(|()| block_on(&mirror));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("Error: {}", failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// All flags, for who completes them.
pub(crate) fn command() -> clap::Command {
    flags::command()
}

fn report_usage(error: &clap::Error) -> ExitCode {
    // Printing help can only fail when nobody reads it.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_BAD_ARGS),
    }
}

fn block_on(mirror: &Mirror) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start the mirror's runtime: {error}")))?;
    runtime.block_on(async {
        let mut signals = Signals::install().map_err(Failure::error)?;
        let cycle = cycle::Cycle::new(mirror)?;
        let outcome = tokio::select! {
            failure = cycle.run() => Err(failure),
            () = signals.stop() => Ok(()),
        };
        cycle.report("stopped");
        outcome
    })
}
