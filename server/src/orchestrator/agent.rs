//! `berth agent`: runs the pods that are bound to this machine.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use k8s_openapi::jiff::SignedDuration;
use sched::agent::runtime::Cidr;
use sched::agent::{self, ClusterDns, Settings};
use sched::discovery::dns::Zone;
use sched::kv::grpc::ATTEMPT_MAX;

use super::runtime::{self, Choice};
use crate::ctl::args::Global;
use crate::ctl::failure::Failure;
use crate::discovery::address::{host_name, own_address};
use crate::discovery::{self, positive_duration, store};
use crate::serve::signals::Signals;

/// Where an agent keeps what it runs, unless told otherwise.
pub(super) const DEFAULT_ROOT: &str = "/var/lib/berth/agent";
/// A lease is renewed after a part of its time; a member that does not answer must be left for the
/// next one well before the rest has passed.
const ATTEMPTS_IN_TTL: u32 = 6;
/// Below this a busy machine would lose its lease for nothing.
const LEASE_TTL_S_MIN: u64 = 3;

/// Runs the pods that are bound to this machine, and keeps its node alive.
///
/// On SIGTERM and SIGINT it ends and leaves the pods running; the next one takes them over.
#[derive(Debug, Parser)]
#[command(name = "berth agent", disable_version_flag = true)]
struct Flags {
    #[command(flatten)]
    global: Global,
    /// The store to join: one or more endpoints, instead of --endpoints
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    join: Vec<String>,
    /// The node's name [default: the machine's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Address that others reach this machine at [default: the one it reaches the store from]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Port of logs and exec, for the API server; 0 is any
    #[arg(long, default_value_t = 10250)]
    port: u16,
    /// What runs containers
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    runtime: Choice,
    /// The Docker engine's socket
    #[arg(long, default_value = runtime::DOCKER_SOCKET, value_name = "PATH")]
    docker_socket: PathBuf,
    /// Where volumes, images and logs are kept
    #[arg(long, default_value = DEFAULT_ROOT, value_name = "DIR")]
    root: PathBuf,
    /// The bridge that pods are connected to
    #[arg(long, default_value = runtime::BRIDGE, value_name = "NAME")]
    bridge: String,
    /// A label of the node; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// All pods' addresses, of which this node takes a part
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    pod_cidr: Cidr,
    /// How long the node is believed in without a word of it; whole seconds
    #[arg(long, default_value = "9s", value_parser = lease_ttl)]
    lease_ttl: Duration,
    /// Before a container is started for the third time; each pause is twice the one before
    #[arg(long, default_value = "10s", value_parser = positive_duration)]
    restart_backoff: Duration,
    /// The longest of those pauses
    #[arg(long, default_value = "5m", value_parser = positive_duration)]
    restart_backoff_max: Duration,
    /// Who answers pods for names of services; off: pods ask whom the machine asks [default: this
    /// agent, on port 53 of the address that its pods have as their gateway]
    #[arg(long, value_name = "IP|off")]
    cluster_dns: Option<ClusterDns>,
    /// What names of services end with
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: Zone,
    /// Do not serve the addresses of services on this machine
    #[arg(long)]
    no_proxy: bool,
    /// Registries that speak plain HTTP, as HOST[:PORT]; may be repeated. Those on this machine do
    #[arg(long, value_name = "REGISTRY")]
    insecure_registry: Vec<String>,
}

/// Runs `berth agent ARGS` until it is told to stop.
pub fn run(args: Vec<OsString>) -> ExitCode {
    discovery::run("berth agent", args, agent)
}

async fn agent(mut flags: Flags) -> Result<ExitCode, Failure> {
    if !flags.join.is_empty() {
        flags.global.endpoints.clone_from(&flags.join);
    }
    let mut signals = Signals::install().map_err(Failure::error)?;
    let attempt_max = (flags.lease_ttl / ATTEMPTS_IN_TTL).min(ATTEMPT_MAX);
    let store = store::open(flags.global.clone(), attempt_max)?;
    let settings = flags.settings().await?;
    let wanted = runtime::Wanted {
        choice: flags.runtime,
        root: flags.root.clone(),
        bridge: flags.bridge.clone(),
        docker_socket: flags.docker_socket.clone(),
        insecure_registries: flags.insecure_registry.clone(),
    };
    let runtime = runtime::open(&wanted).await?;
    agent::run(store, runtime.runtime, settings, signals.stop())
        .await
        .map_err(|error| Failure::error(error.message))?;
    Ok(ExitCode::SUCCESS)
}

impl Flags {
    async fn settings(&self) -> Result<Settings, Failure> {
        let address = match self.address {
            Some(address) => address,
            None => own_address(&self.global).await?,
        };
        let node = self.node.clone().unwrap_or_else(|| host_name().to_lowercase());
        let mut settings = Settings::new(node, self.root.clone(), address);
        settings.listen = SocketAddr::new(address, self.port);
        settings.labels = self.labels.iter().cloned().collect();
        settings.pod_cidr = self.pod_cidr;
        settings.lease_ttl_s = i64::try_from(self.lease_ttl.as_secs()).unwrap_or(i64::MAX);
        settings.backoff_first = signed(self.restart_backoff);
        settings.backoff_max = signed(self.restart_backoff_max.max(self.restart_backoff));
        settings.proxy = settings.proxy.filter(|_| !self.no_proxy);
        settings.cluster_dns = self.cluster_dns.unwrap_or_default();
        settings.cluster_domain.clone_from(&self.cluster_domain);
        Ok(settings)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn lease_ttl(text: &str) -> Result<Duration, String> {
    let ttl = positive_duration(text)?;
    if ttl.subsec_nanos() > 0 || ttl.as_secs() < LEASE_TTL_S_MIN {
        return Err(format!("leases count whole seconds, and at least {LEASE_TTL_S_MIN}"));
    }
    Ok(ttl)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
