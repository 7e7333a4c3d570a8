//! `berth control`: the Kubernetes API, the controllers and a scheduler beside a store that runs
//! elsewhere, be it berth or etcd.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sched::agent::ClusterDns;
use sched::kv::grpc::ATTEMPT_MAX;
use sched::scheduler::Strategy;

use super::flags::{self, Extent};
use super::runtime::Choice;
use super::serve::Orchestrator;
use crate::ctl::args::Global;
use crate::ctl::failure::Failure;
use crate::discovery::{self, store};
use crate::serve::signals::Signals;

/// Serves the Kubernetes API for a store, and runs the controllers and a scheduler on it.
///
/// Any number of these may run: the controllers elect one leader, schedulers work side by side.
#[derive(Debug, Parser)]
#[command(name = "berth control", disable_version_flag = true)]
struct Flags {
    #[command(flatten)]
    global: Global,
    /// The store: one or more endpoints, instead of --endpoints
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    join: Vec<String>,
    /// Address of the Kubernetes API; without certificates only loopback addresses are taken
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    api_listen: SocketAddr,
    /// Serve it over TLS with this certificate
    #[arg(long, requires = "api_key_file", value_name = "FILE")]
    api_cert_file: Option<PathBuf>,
    /// And this key
    #[arg(long, requires = "api_cert_file", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Clients with certificates of this authority are known: common name = user, organisation =
    /// group
    #[arg(long, value_name = "FILE")]
    api_client_ca_file: Option<PathBuf>,
    /// Lines of TOKEN,USER,UID[,"GROUP,GROUP"]: bearers of these tokens are known
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    /// One JSON line for each request goes to this file
    #[arg(long, value_name = "FILE")]
    api_audit_file: Option<PathBuf>,
    /// Which node a pod goes to, all else being equal: LeastAllocated spreads, MostAllocated packs
    #[arg(long, default_value = "LeastAllocated", value_name = "STRATEGY")]
    scheduler_strategy: Strategy,
}

/// Runs `berth control ARGS` until it is told to stop.
pub fn run(args: Vec<OsString>) -> ExitCode {
    discovery::run("berth control", args, control)
}

async fn control(mut flags: Flags) -> Result<ExitCode, Failure> {
    if !flags.join.is_empty() {
        flags.global.endpoints.clone_from(&flags.join);
    }
    let mut signals = Signals::install().map_err(Failure::error)?;
    let store = store::open(flags.global.clone(), ATTEMPT_MAX)?;
    let orchestrator = Orchestrator::beside(store, &flags.into()).await.map_err(Failure::error)?;
    tokio::select! {
        () = signals.stop() => Ok(ExitCode::SUCCESS),
        line = orchestrator.run() => Err(Failure::error(line)),
    }
}

impl From<Flags> for flags::Flags {
    fn from(flags: Flags) -> Self {
        Self {
            extent: Extent::Control,
            is_default: false,
            listen: flags.api_listen,
            certificate: flags.api_cert_file.zip(flags.api_key_file),
            client_ca: flags.api_client_ca_file,
            tokens: flags.api_token_file,
            audit: flags.api_audit_file,
            strategy: flags.scheduler_strategy,
            runtime: Choice::Auto,
            agent_root: None,
            cluster_dns: ClusterDns::default(),
        }
    }
}
