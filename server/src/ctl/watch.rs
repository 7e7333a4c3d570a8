//! watch: prints events, or runs a command for each.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::process::Command;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use api::mvccpb::Event;
use bytes::Bytes;
use clap::{Args, Parser};
use futures::channel::mpsc::{self, UnboundedSender};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::args::Format;
use super::connect::Session;
use super::failure::{EXIT_INTERRUPTED, Failure, Outcome};
use super::go_flags;
use super::go_process;
use super::kv;
use super::output::{fields, json, simple, unsupported};
use super::quote::quote;
use super::txn_syntax::words;

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// key or prefix, optionally the end of a range, and after `--` a command for each event
    #[arg(value_name = "key [range_end]")]
    keys: Vec<OsString>,
    #[arg(last = true, value_name = "exec-command")]
    command: Vec<String>,
    /// Watch on a prefix if prefix is set
    #[arg(long)]
    prefix: bool,
    /// Revision to start watching
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// get the previous key-value pair before the event happens
    #[arg(long)]
    prev_kv: bool,
    /// get periodic watch progress notification from server
    #[arg(long)]
    progress_notify: bool,
    /// Interactive mode: reads watch commands from standard input
    #[arg(short, long)]
    interactive: bool,
}

/// A line of the interactive mode.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
enum Line {
    Watch(Watch),
    Progress,
}

/// What to run for the events of each watch, by watch id: the server counts from 0.
type Commands = VecDeque<Vec<String>>;

pub(super) async fn watch(watch: Watch, session: &mut Session) -> Outcome {
    let (requests, sent) = mpsc::unbounded();
    let mut client = session.watch().await?;
    let mut commands = Commands::new();
    let interactive = watch.interactive;
    if !interactive {
        send_create(watch, &requests, &mut commands)?;
    }
    let mut answers = client.watch(sent).await?.into_inner();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            answer = answers.message() => match answer? {
                Some(answer) => print(&answer, &commands, session)?,
                None => return Err(Failure::new(EXIT_INTERRUPTED, "watch is canceled by the server")),
            },
            line = input.next_line(), if interactive => {
                let line = line.map_err(|error| Failure::io("cannot read standard input", &error))?;
                let Some(line) = line else {
                    return Err(Failure::invalid_input("Error reading watch request line: EOF"));
                };
                obey(&line, &requests, &mut commands);
            }
        }
    }
}

/// Carries out an interactive line; a wrong one is told and the watches go on.
fn obey(line: &str, requests: &UnboundedSender<WatchRequest>, commands: &mut Commands) {
    let done = words(line).and_then(|words| {
        let parsed = go_flags::parse::<Line>(&words).map_err(|_| {
            Failure::bad_args(format!("Invalid command {line} (only support watch)"))
        })?;
        match parsed {
            Line::Watch(watch) => send_create(watch, requests, commands),
            Line::Progress => {
                send(requests, RequestUnion::ProgressRequest(WatchProgressRequest {}))
            }
        }
    });
    if let Err(failure) = done {
        eprintln!("{}", failure.message);
    }
}

fn send_create(
    watch: Watch,
    requests: &UnboundedSender<WatchRequest>,
    commands: &mut Commands,
) -> Outcome {
    let (request, command) = watch.request()?;
    commands.push_back(command);
    send(requests, RequestUnion::CreateRequest(request))
}

fn send(requests: &UnboundedSender<WatchRequest>, union: RequestUnion) -> Outcome {
    requests
        .unbounded_send(WatchRequest { request_union: Some(union) })
        .map_err(|_| Failure::new(EXIT_INTERRUPTED, "watch is canceled by the server"))
}

impl Watch {
    fn request(self) -> Result<(WatchCreateRequest, Vec<String>), Failure> {
        let keys = if self.keys.is_empty() { keys_from_environment()? } else { self.keys };
        let (key, range_end) = kv::key_range("watch", keys, self.prefix, false)?;
        let request = WatchCreateRequest {
            key,
            range_end,
            start_revision: self.rev,
            prev_kv: self.prev_kv,
            progress_notify: self.progress_notify,
            ..WatchCreateRequest::default()
        };
        Ok((request, self.command))
    }
}

/// Without words, the key and the range end come from the environment.
fn keys_from_environment() -> Result<Vec<OsString>, Failure> {
    let key = std::env::var_os("ETCDCTL_WATCH_KEY")
        .ok_or_else(|| Failure::bad_args("bad number of arguments"))?;
    Ok(std::iter::once(key).chain(std::env::var_os("ETCDCTL_WATCH_RANGE_END")).collect())
}

fn print(answer: &WatchResponse, commands: &Commands, session: &Session) -> Outcome {
    if answer.created && !answer.canceled {
        return Ok(());
    }
    if !answer.canceled && answer.events.is_empty() {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        println!("progress notify: {revision}");
    }
    print_events(answer, session)?;
    if answer.canceled {
        return Err(canceled(answer));
    }
    let command = usize::try_from(answer.watch_id).ok().and_then(|id| commands.get(id));
    match command {
        Some(command) if !command.is_empty() => {
            answer.events.iter().try_for_each(|event| execute(command, answer, event))
        }
        _ => Ok(()),
    }
}

/// Tells why the server ended the watch.
fn canceled(answer: &WatchResponse) -> Failure {
    let reason = match (answer.compact_revision, answer.cancel_reason.as_str()) {
        (0, reason) => reason,
        _ => "etcdserver: mvcc: required revision has been compacted",
    };
    eprintln!("watch was canceled ({reason})");
    Failure::new(EXIT_INTERRUPTED, "watch is canceled by the server")
}

fn print_events(answer: &WatchResponse, session: &Session) -> Outcome {
    match session.out.format {
        Format::Simple => {
            answer.events.iter().for_each(|event| simple::event(session.out.hex, event));
        }
        Format::Fields => {
            fields::header(answer.header.as_ref());
            answer.events.iter().for_each(fields::event);
        }
        Format::Json => json::print(&json::full_object([
            ("Header", json::header(answer.header.as_ref())),
            ("Events", answer.events.iter().map(json::event).collect()),
            ("CompactRevision", answer.compact_revision.into()),
            ("Canceled", answer.canceled.into()),
            ("Created", answer.created.into()),
        ])),
        Format::Table => return Err(unsupported(Format::Table)),
    }
    Ok(())
}

/// Runs the command with the event in its environment and waits for it.
fn execute(command: &[String], answer: &WatchResponse, event: &Event) -> Outcome {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let field = |pick: fn(&api::mvccpb::KeyValue) -> &Bytes| {
        event.kv.as_ref().map(|kv| quote(pick(kv))).unwrap_or_default()
    };
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let status = Command::new(program)
        .args(arguments)
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", quote(fields::event_type(event).as_bytes()))
        .env("ETCD_WATCH_KEY", field(|kv| &kv.key))
        .env("ETCD_WATCH_VALUE", field(|kv| &kv.value))
        .status();
    let ended = match status {
        Ok(status) => go_process::outcome(status),
        Err(error) => Err(go_process::not_started(OsStr::new(program), &error)),
    };
    ended.map_err(|why| {
        let words: Vec<String> = command.iter().map(|word| quote(word.as_bytes())).collect();
        eprintln!("command [{}] error ({why})", words.join(" "));
        Failure::silent()
    })
}
