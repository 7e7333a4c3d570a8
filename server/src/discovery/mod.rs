//! The commands of discovery: `berth register`, `services`, `dns`, `template`.
//!
//! Flags in, settings for `sched` out. What is registered, answered or rendered is decided there;
//! this room must never know a key.
//!
//! Start at [`register()`]; `store.rs` says how all of them reach the store.

pub(crate) mod address;
mod dns;
mod metrics;
mod register;
pub(crate) mod serve;
mod services;
pub(crate) mod store;
mod template;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::config::LogSettings;
use crate::ctl::failure::{EXIT_BAD_ARGS, Failure};
use crate::ctl::go_flags;
use crate::log;

/// Runs `berth register ARGS` until its command ends or it is told to stop, and returns the
/// command's status.
pub fn register(args: Vec<OsString>) -> ExitCode {
    run("berth register", args, register::run)
}

/// Runs `berth dns ARGS` until it is told to stop.
pub fn dns(args: Vec<OsString>) -> ExitCode {
    run("berth dns", args, dns::run)
}

/// Runs `berth services ARGS`.
pub fn services(args: Vec<OsString>) -> ExitCode {
    run("berth services", args, services::run)
}

/// Runs `berth template ARGS`, once or until it is told to stop.
pub fn template(args: Vec<OsString>) -> ExitCode {
    run("berth template", args, template::run)
}

/// Each command with its flags, for who completes them.
pub(crate) fn commands() -> impl Iterator<Item = (&'static str, clap::Command)> {
    let commands = [
        ("register", register::Register::command()),
        ("services", services::Services::command()),
        ("dns", dns::Dns::command()),
        ("template", template::Template::command()),
    ];
    commands.into_iter().map(|(name, command)| (name, store::hide_unused(command)))
}

/// Parses the flags, starts log and runtime, and runs a command to its end.
pub(crate) fn run<F, C>(
    name: &'static str,
    args: Vec<OsString>,
    command: impl FnOnce(F) -> C,
) -> ExitCode
where
    F: CommandFactory + FromArgMatches,
    C: Future<Output = Result<ExitCode, Failure>>,
{
    let flags = match parse(name, args) {
        Ok(flags) => flags,
        Err(error) => return report_usage(&error),
    };
    match start_log().and_then(|()| block_on(command(flags))) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("Error: {}", failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}

fn parse<F: CommandFactory + FromArgMatches>(
    name: &str,
    args: Vec<OsString>,
) -> Result<F, clap::Error> {
    let mut command = go_flags::with_values(store::hide_unused(F::command()));
    let args = std::iter::once(OsString::from(name)).chain(args);
    let matches = command.try_get_matches_from_mut(args)?;
    F::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn report_usage(error: &clap::Error) -> ExitCode {
    // Printing help can only fail when nobody reads it.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_BAD_ARGS),
    }
}

fn start_log() -> Result<(), Failure> {
    let level = std::env::var("BERTH_LOG").unwrap_or_else(|_| "info".into());
    let settings = LogSettings { level, console: false, outputs: vec!["stderr".into()] };
    log::install(&settings).map_err(Failure::error)
}

fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(command)
}

/// For flags that name a length of time.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 500ms or 5s"))
}

/// The same, and not none at all.
pub(crate) fn positive_duration(text: &str) -> Result<std::time::Duration, String> {
    match duration(text)? {
        std::time::Duration::ZERO => Err("it must be longer than nothing".into()),
        length => Ok(length),
    }
}
