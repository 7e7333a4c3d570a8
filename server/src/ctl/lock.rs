//! lock and elect: taking turns at a name.
//!
//! Both speak the recipe of etcd's clients, so that they share a queue with those.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitStatus;
use std::time::Duration;

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::{RangeRequest, RangeResponse};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use sched::kv::follow::Follower;
use sched::kv::grpc::ATTEMPT_MAX;
use sched::kv::turn::Turn;
use sched::kv::{Lease, Store};
use tokio::process::{Child, Command};
use tokio::signal::unix::SignalKind;
use tokio::time::timeout;

use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::go_process;
use super::output::{fields, json, simple};
use crate::discovery::store::{failed, of_session};
use crate::serve::signals::Signals;

/// How long a command whose lock is lost may take to end.
const END_MAX: Duration = Duration::from_secs(5);

/// What etcd's clients take for an election, and for a time below one.
const SESSION_TTL_S: i64 = 60;

#[derive(Debug, Args)]
pub(super) struct Lock {
    /// name of the lock, and a command to run while it is held; `--` goes before one with flags
    #[arg(value_name = "lockname [exec-command arg1 arg2 ...]")]
    words: Vec<OsString>,
    /// timeout for session
    #[arg(long, default_value_t = 10, allow_negative_numbers = true)]
    ttl: i64,
}

#[derive(Debug, Args)]
pub(super) struct Elect {
    /// name of the election, and what to tell those who observe it
    #[arg(value_name = "election-name [proposal]")]
    words: Vec<OsString>,
    /// observation mode
    #[arg(short, long)]
    listen: bool,
}

pub(super) async fn lock(lock: Lock, session: &Session) -> Outcome {
    let Some((name, command)) = lock.words.split_first() else {
        return Err(Failure::bad_args(
            "lock takes a lock name argument and an optional command to execute",
        ));
    };
    let name = text(name)?;
    let mut signals = Signals::install().map_err(Failure::error)?;
    let store = of_session(session, ATTEMPT_MAX)?;
    let ttl_s = if lock.ttl > 0 { lock.ttl } else { SESSION_TTL_S };
    let lease = Lease::grant(&store, ttl_s).await.map_err(|error| failed(&error))?;
    let held = match command.split_first() {
        Some((program, arguments)) => {
            run(&store, &name, &lease, Command::new(program).args(arguments), &mut signals).await
        }
        None => hold(&store, &name, &lease, "", session, &mut signals).await,
    };
    // The key goes with the lease.
    let left = lease.revoke().await.map_err(|error| failed(&error));
    held.and(left)
}

pub(super) async fn elect(elect: Elect, session: &Session) -> Outcome {
    let mut words = elect.words.iter();
    let (name, proposal) = match (words.next(), words.next(), words.next()) {
        (Some(name), proposal, None) => (text(name)?, proposal.map(text)),
        _ => {
            return Err(Failure::bad_args(
                "elect takes one election name argument and an optional proposal argument",
            ));
        }
    };
    let mut signals = Signals::install().map_err(Failure::error)?;
    let store = of_session(session, ATTEMPT_MAX)?;
    if elect.listen {
        if proposal.is_some() {
            return Err(Failure::bad_args("proposal given but -l is set"));
        }
        return tokio::select! {
            outcome = observe(&store, &name, session) => outcome,
            () = signals.next() => Ok(()),
        };
    }
    let Some(proposal) = proposal else {
        return Err(Failure::bad_args("no proposal argument but -l not set"));
    };
    let proposal = proposal?;
    let lease = Lease::grant(&store, SESSION_TTL_S).await.map_err(|error| failed(&error))?;
    let held = hold(&store, &name, &lease, &proposal, session, &mut signals).await;
    let left = lease.revoke().await.map_err(|error| failed(&error));
    held.and(left)
}

/// Waits for the turn; then prints the key and holds it until told to stop.
async fn hold(
    store: &Store,
    name: &str,
    lease: &Lease,
    value: &str,
    session: &Session,
    signals: &mut Signals,
) -> Outcome {
    let turn = take_turn(store, name, lease, value, signals).await?;
    let request = RangeRequest { key: turn.key().clone(), ..RangeRequest::default() };
    let found = store.range(request).await.map_err(|error| failed(&error))?;
    if found.kvs.is_empty() {
        return Err(Failure::error("lock lost on init"));
    }
    print(&found, session)?;
    tokio::select! {
        () = lease.lost() => Err(expired()),
        () = signals.next() => Ok(()),
    }
}

/// Waits for the turn. Who is told to stop meanwhile has failed: what was to be done in the turn is
/// not done, and scripts must not take it for done.
async fn take_turn(
    store: &Store,
    name: &str,
    lease: &Lease,
    value: &str,
    signals: &mut Signals,
) -> Result<Turn, Failure> {
    let turn = async {
        let turn = Turn::queue(store, name, lease.id(), value.to_owned()).await?;
        turn.wait().await.map(|()| turn)
    };
    tokio::select! {
        turn = turn => turn.map_err(|error| failed(&error)),
        () = lease.lost() => Err(expired()),
        () = signals.next() => Err(Failure::error("context canceled")),
    }
}

fn expired() -> Failure {
    Failure::error("session expired")
}

/// Waits for the turn; then runs a command that knows what it holds. While it runs nobody else has
/// the turn: what tells us to stop tells the command.
async fn run(
    store: &Store,
    name: &str,
    lease: &Lease,
    command: &mut Command,
    signals: &mut Signals,
) -> Outcome {
    let turn = take_turn(store, name, lease, "", signals).await?;
    command
        .env("ETCD_LOCK_KEY", OsString::from_vec(turn.key().to_vec()))
        .env("ETCD_LOCK_REV", turn.revision().to_string());
    let mut child = command.spawn().map_err(|error| {
        Failure::error(go_process::not_started(command.as_std().get_program(), &error))
    })?;
    let status = tokio::select! {
        status = until_ended(&mut child, signals) => status,
        () = lease.lost() => {
            end(&mut child).await;
            return Err(expired());
        }
    };
    let status = status.map_err(|error| Failure::error(format!("wait: {error}")))?;
    go_process::outcome(status).map_err(Failure::error)
}

/// Waits for a command, and passes on the signals that come meanwhile.
async fn until_ended(child: &mut Child, signals: &mut Signals) -> std::io::Result<ExitStatus> {
    loop {
        let kind = tokio::select! {
            status = child.wait() => return status,
            kind = signals.next_kind() => kind,
        };
        let is_interrupt = kind == SignalKind::interrupt();
        if is_interrupt && std::io::stdin().is_terminal() {
            // The terminal has told the command too.
            continue;
        }
        tell(child, if is_interrupt { Signal::INT } else { Signal::TERM });
    }
}

fn tell(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
        tracing::warn!("cannot pass the signal on to the command: {error}");
    }
}

/// Somebody else may have the turn by now, or in a moment: the command must not go on.
async fn end(child: &mut Child) {
    eprintln!("the lock is lost: ending the command");
    tell(child, Signal::TERM);
    if timeout(END_MAX, child.wait()).await.is_err() {
        // One that is gone already needs no more.
        let _ = child.kill().await;
    }
}

/// Prints each leader, from the one of now on.
async fn observe(store: &Store, name: &str, session: &Session) -> Outcome {
    let mut changes = Follower::new(store.clone(), format!("{name}/"));
    let mut told = None;
    loop {
        let found = leader(store, name).await?;
        let now = found.kvs.first().map(|kv| (kv.key.clone(), kv.mod_revision));
        if now.is_some() && now != told {
            print(&found, session)?;
        }
        told = now;
        changes.next().await;
    }
}

/// The oldest key below `name/`, told as etcd's clients tell of leaders: without a count.
async fn leader(store: &Store, name: &str) -> Result<RangeResponse, Failure> {
    let request = RangeRequest {
        key: format!("{name}/").into(),
        // What follows the slash.
        range_end: format!("{name}0").into(),
        limit: 1,
        sort_target: SortTarget::Create.into(),
        sort_order: SortOrder::Ascend.into(),
        ..RangeRequest::default()
    };
    let found = store.range(request).await.map_err(|error| failed(&error))?;
    Ok(RangeResponse { more: false, count: 0, ..found })
}

fn print(found: &RangeResponse, session: &Session) -> Outcome {
    let hex = session.out.hex;
    session.out.print(|| simple::range(hex, found), || fields::range(found), || json::range(found))
}

fn text(word: &OsString) -> Result<String, Failure> {
    let text = word.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::bad_args(format!("{} is not UTF-8", word.display())))
}
