//! Chooses between the server and the command-line client by the name and the first argument.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use berth::config::Invocation;
use berth::{
    ETCD_VERSION, VERSION, completion, ctl, discovery, mirror, orchestrator, serve, snapshot,
};

/// What the system's allocator keeps after values have come and gone is several times what lives.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
berth: an etcd-compatible store

Usage:
  berth [flags]          run the server (as `berth serve`)
  berth serve [flags]    run the server; `berth serve --help` lists the flags
  berth ctl <command>    talk to a server; `berth ctl --help` lists the commands
  berth mirror [flags]   keep a copy of another cluster; `berth mirror --help` lists the flags
  berth snapshot <cmd>   restore and inspect backups; `berth snapshot --help` lists the commands
  berth agent [flags]    run pods on this machine; `berth agent --help` lists the flags
  berth control [flags]  the Kubernetes API on a store elsewhere; see `berth control --help`
  berth image <cmd>      images for pods on this machine; see `berth image --help`
  berth dns [flags]      answer DNS queries for services; `berth dns --help` lists the flags
  berth register [flags] keep a service registered while it is well; see `berth register --help`
  berth services [NAME]  what is registered, and how it is; see `berth services --help`
  berth template [flags] render files from keys; `berth template --help` lists the flags
  berth completion SHELL print a script that completes all this in a shell
  berth --version        print versions

Called through a link named `etcd` it is `berth serve`, through `etcdctl` it is `berth ctl`.
";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let called_as = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    match Path::new(&called_as).file_name().and_then(OsStr::to_str) {
        Some("etcd") => server(args, Invocation { as_etcd: true, ..Invocation::default() }),
        Some("etcdctl") => ctl::run(args),
        _ => berth(args),
    }
}

/// Called by its own name: the first argument chooses, flags alone mean the server.
fn berth(mut args: Vec<OsString>) -> ExitCode {
    match args.first().and_then(|arg| arg.to_str()) {
        Some("serve") => server(args.split_off(1), Invocation::default()),
        Some("ctl") => ctl::run(args.split_off(1)),
        Some("mirror") => mirror::run(args.split_off(1)),
        Some("snapshot") => snapshot::run(args.split_off(1)),
        Some("agent") => orchestrator::agent(args.split_off(1)),
        Some("control") => orchestrator::control(args.split_off(1)),
        Some("image") => orchestrator::image(args.split_off(1)),
        Some("container") => orchestrator::container(&args[1..]),
        Some("dns") => discovery::dns(args.split_off(1)),
        Some("register") => discovery::register(args.split_off(1)),
        Some("services") => discovery::services(args.split_off(1)),
        Some("template") => discovery::template(args.split_off(1)),
        Some("completion") => completion::run(args.split_off(1)),
        Some("help" | "-h" | "-help" | "--help") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("version") => version(),
        Some(word) if !word.starts_with('-') => {
            eprint!("berth: unknown command \"{word}\"\n\n{USAGE}");
            ExitCode::from(2)
        }
        _ => {
            let bare = args.is_empty();
            server(args, Invocation { bare, ..Invocation::default() })
        }
    }
}

fn server(args: Vec<OsString>, invocation: Invocation) -> ExitCode {
    let asks = |arg: &OsString| arg == "--version" || arg == "-version";
    if args.iter().any(asks) { version() } else { serve::run(args, invocation) }
}

/// The first line is the one that etcd's test harness parses.
fn version() -> ExitCode {
    println!("etcd Version: {ETCD_VERSION}");
    println!("berth Version: {VERSION}");
    ExitCode::SUCCESS
}
