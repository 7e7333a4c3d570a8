//! `berth ctl`: a command line client with etcdctl's verbs, flags, environment and output.
//!
//! It is a client like any other: it speaks gRPC to the endpoints it is given and never touches a
//! data directory that a server has (`snapshot restore` makes one). What it prints is compared with
//! Debian's etcdctl by the tests, so a change of a word here is a change of behaviour.
//!
//! Start at [`args::Ctl`], then [`run`]; one file holds one family of verbs, `output/` prints.

mod alarm;
pub(crate) mod args;
mod auth;
mod check;
pub(crate) mod connect;
mod endpoint;
pub(crate) mod failure;
pub(crate) mod go_flags;
mod go_process;
mod id;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod make_mirror;
mod member;
pub(crate) mod output;
mod quote;
pub(crate) mod range;
mod role;
pub(crate) mod tls;
mod txn;
mod txn_syntax;
mod user;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;

use self::args::{Ctl, Verb};
use self::connect::Session;
use self::failure::{EXIT_BAD_ARGS, Failure, Outcome};
use self::maintenance::SnapshotVerb;
use crate::{CLUSTER_VERSION, ETCD_VERSION, completion, umask};

/// Runs `berth ctl ARGS` and returns the exit status that etcdctl would: 0, 1 for a refusal by
/// the server, 128 for wrong arguments, and the others of [`failure`].
///
/// `args` are those after `ctl`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let name = std::iter::once(OsString::from("berth ctl"));
    match go_flags::parse::<Ctl>(name.chain(args)) {
        Ok(ctl) => finish(perform(ctl)),
        Err(error) => report_usage(&error),
    }
}

/// All verbs and flags, for who completes them.
pub(crate) fn command() -> clap::Command {
    Ctl::command()
}

fn report_usage(error: &clap::Error) -> ExitCode {
    // Printing help can only fail when nobody reads it.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        ErrorKind::MissingRequiredArgument | ErrorKind::WrongNumberOfValues => {
            ExitCode::from(EXIT_BAD_ARGS)
        }
        _ => ExitCode::FAILURE,
    }
}

fn perform(ctl: Ctl) -> Outcome {
    match ctl.verb {
        // These talk to nobody.
        Verb::Completion { shell } => completion::print(shell, Ctl::command(), "etcdctl"),
        Verb::Version => print_version(),
        Verb::Snapshot { verb: SnapshotVerb::Status { file } } => {
            return maintenance::snapshot_status(&file, ctl.global.write_out);
        }
        Verb::Snapshot { verb: SnapshotVerb::Restore(restore) } => {
            umask::tighten();
            return restore.run().map_err(Failure::error);
        }
        _ => return block_on(ctl),
    }
    Ok(())
}

fn print_version() {
    println!("etcdctl version: {ETCD_VERSION}");
    println!("API version: {}", CLUSTER_VERSION.trim_end_matches(".0"));
}

fn block_on(ctl: Ctl) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start the client's runtime: {error}")))?;
    runtime.block_on(execute(ctl))
}

async fn execute(ctl: Ctl) -> Outcome {
    let mut session = Session::new(ctl.global.clone())?;
    match ctl.verb {
        Verb::Get(get) => kv::get(get, &mut session).await,
        Verb::Put(put) => kv::put(put, &mut session).await,
        Verb::SealKeygen => kv::seal_keygen(),
        Verb::Del(del) => kv::del(del, &mut session).await,
        Verb::Txn(txn) => txn::txn(&txn, &mut session).await,
        Verb::Watch(watch) => watch::watch(watch, &mut session).await,
        Verb::Compaction(compaction) => kv::compaction(&compaction, &mut session).await,
        Verb::Lock(lock) => lock::lock(lock, &session).await,
        Verb::Elect(elect) => lock::elect(elect, &session).await,
        Verb::Lease { verb } => lease::lease(verb, &mut session).await,
        Verb::Endpoint { verb, cluster } => endpoint::endpoint(verb, cluster, &mut session).await,
        Verb::Alarm { verb } => alarm::alarm(&verb, &mut session).await,
        Verb::Defrag { cluster } => maintenance::defrag(cluster, &mut session).await,
        Verb::Snapshot { verb: SnapshotVerb::Save { file } } => {
            maintenance::snapshot_save(&file, &session).await
        }
        Verb::User { verb } => user::user(verb, &mut session).await,
        Verb::Role { verb } => role::role(verb, &mut session).await,
        Verb::Auth { verb } => auth::auth(&verb, &mut session).await,
        Verb::Member { verb } => member::member(verb, &mut session).await,
        Verb::MakeMirror(flags) => make_mirror::make_mirror(flags, &ctl.global, &session).await,
        Verb::Check { verb } => check::check(verb, &session).await,
        Verb::Completion { .. }
        | Verb::Version
        | Verb::Snapshot { verb: SnapshotVerb::Status { .. } | SnapshotVerb::Restore(_) } => {
            unreachable!("it was done without a server")
        }
        Verb::MoveLeader { id } => member::move_leader(&id, &session).await,
    }
}

fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("Error: {}", failure.message);
            }
            ExitCode::from(failure.exit_code)
        }
    }
}
