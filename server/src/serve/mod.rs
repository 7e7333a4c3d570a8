//! The life of one server, from flags to exit.
//!
//! The order is the point: nothing is bound before the settings are known to be good, nothing is
//! served before the node has caught up, and nothing is released before the streams have ended.
//! Every way out that is not a signal ends in one clear line and an exit code other than zero.
//!
//! Start at [`run`], then [`lifecycle`].

mod addresses;
mod auto_compaction;
mod bootstrap;
mod connections;
mod data_dir;
mod end_streams;
mod files;
mod front;
mod greeting;
mod leaderless;
mod lifecycle;
mod listen;
mod member;
mod proposals;
mod publish;
pub(crate) mod signals;
pub mod tls;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::{self, Invocation, Notice, Settings, Stop};
use crate::{discovery, failpoints, log, orchestrator, umask};

/// Runs the server until it is told to stop or cannot go on; `arguments` are those after `serve`.
pub fn run(mut arguments: Vec<OsString>, invocation: Invocation) -> ExitCode {
    let bare = invocation.bare;
    let is_alone = arguments.is_empty() && !invocation.as_etcd;
    let orchestrator = match orchestrator::flags::take(&mut arguments, &environment(), is_alone) {
        Ok(flags) => flags,
        Err(line) => return refuse(&Stop::Usage(line)),
    };
    let dns = match discovery::serve::take(&mut arguments, &environment(), is_alone) {
        Ok(flags) => flags,
        Err(line) => return refuse(&Stop::Usage(line)),
    };
    let settings = match config::load(arguments, &environment(), invocation) {
        Ok(settings) => settings,
        Err(stop) => return refuse(&stop),
    };
    if let Err(line) = log::install(&settings.log) {
        return refuse(&Stop::Invalid(line));
    }
    // After the log's files: who may read those is for the operator to say.
    umask::tighten();
    announce(&settings);
    if let Err(line) = failpoints::start(&environment()) {
        return fail(&line);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    let outcome = runtime.block_on(lifecycle::serve(settings, bare, orchestrator, dns));
    // A thread that hangs in a system call must not hold up the exit: all that counts is on disk.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => fail(&line),
    }
}

fn environment() -> Vec<(String, String)> {
    let text = |(key, value): (OsString, OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// There is no log yet: what is wrong goes to stderr as a line for people.
fn refuse(stop: &Stop) -> ExitCode {
    match stop {
        Stop::Help => {
            let (orchestrator, dns) = (orchestrator::flags::HELP, discovery::serve::HELP);
            print!("{}{orchestrator}{dns}", config::help());
            ExitCode::SUCCESS
        }
        Stop::Usage(line) => {
            eprintln!("{line}\n{}", config::FLAGS_HINT);
            ExitCode::from(2)
        }
        Stop::Invalid(line) => {
            eprintln!("berth: {line}");
            ExitCode::FAILURE
        }
    }
}

fn fail(line: &str) -> ExitCode {
    tracing::error!(error = line, "the server cannot go on");
    ExitCode::FAILURE
}

/// Says what the operator should know of the settings.
fn announce(settings: &Settings) {
    tracing::info!(
        version = crate::VERSION,
        etcd_version = crate::ETCD_VERSION,
        name = settings.name,
        data_dir = %settings.data_dir.display(),
        "starting berth"
    );
    for notice in &settings.notices {
        match notice {
            Notice::Warning(text) => tracing::warn!("{text}"),
            Notice::Remark(text) => tracing::info!("{text}"),
            Notice::NoEffect { flag, value, reason } => {
                tracing::info!(flag, value, reason, "this flag has no effect here");
            }
        }
    }
}
