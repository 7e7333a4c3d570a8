//! `berth dns`: the DNS server beside the store, or anywhere else.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sched::discovery::dns::{self, Metrics, Resolvers, SKYDNS_PATH, Settings, Zone};
use sched::kv::grpc::ATTEMPT_MAX;

use super::{duration, metrics, store};
use crate::ctl::args::Global;
use crate::ctl::failure::Failure;
use crate::serve::signals::Signals;

const DNS_PORT: u16 = 53;

/// Answers DNS queries for registered services, the orchestrator's Services and SkyDNS records,
/// from memory: no query waits for the store.
#[derive(Debug, Parser)]
#[command(name = "berth dns", disable_version_flag = true)]
pub(super) struct Dns {
    #[command(flatten)]
    global: Global,
    /// Addresses to listen on, by UDP and TCP
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:53", value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,
    /// Domains to answer for: <service>.service.DOMAIN, <service>.<namespace>.svc.DOMAIN, and
    /// what lies below /skydns/
    #[arg(long, value_delimiter = ',', default_value = "cluster.local", value_name = "DOMAIN")]
    domain: Vec<Zone>,
    /// How long clients may keep an answer; less where a lease is shorter
    #[arg(long, default_value = "5s", value_parser = duration)]
    ttl: Duration,
    /// Resolvers to ask for other names; without one, those are refused
    #[arg(long, value_delimiter = ',', value_name = "IP[:PORT]", value_parser = resolver)]
    forward: Vec<SocketAddr>,
    /// Where SkyDNS records lie
    #[arg(long, default_value = SKYDNS_PATH, value_name = "PREFIX")]
    skydns_path: String,
    /// Serve Prometheus metrics by HTTP on this address
    #[arg(long, value_name = "IP:PORT")]
    listen_metrics: Option<SocketAddr>,
}

pub(super) async fn run(flags: Dns) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install().map_err(Failure::error)?;
    let store = store::open(flags.global, ATTEMPT_MAX)?;
    let counted = Metrics::default();
    if let Some(address) = flags.listen_metrics {
        let counted = counted.clone();
        metrics::serve(address, move || counted.render()).await.map_err(Failure::error)?;
    }
    let settings = Settings {
        listen: flags.listen,
        zones: flags.domain,
        skydns_path: flags.skydns_path,
        ttl_s: u32::try_from(flags.ttl.as_secs()).unwrap_or(u32::MAX),
        forward: Resolvers::Named(flags.forward),
    };
    dns::serve(&store, &settings, counted, signals.stop()).await.map_err(Failure::error)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| (address, DNS_PORT).into());
    address.or_else(|_| text.parse()).map_err(|_| "write it as IP or IP:PORT".to_owned())
}
