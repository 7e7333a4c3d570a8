//! `berth register`: a sidecar that keeps one instance registered, and runs it if asked to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use sched::discovery::checks::{self, Check, Plan};
use sched::discovery::layout::{Health, HealthBy, Instance, Name, Status};
use sched::discovery::register::supervise::{Running, Supervised, exit_code};
use sched::discovery::register::{self, Registration};
use sched::kv::Store;
use sched::kv::grpc::ATTEMPT_MAX;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::address::{host_name, own_address};
use super::{duration, positive_duration, store};
use crate::ctl::args::Global;
use crate::ctl::failure::Failure;
use crate::ctl::tls;
use crate::serve::signals::Signals;

/// A lease is renewed after a third of its time; a member that does not answer must be left for
/// the next one well before the rest has passed.
const ATTEMPTS_IN_TTL: u32 = 6;

/// Registers an instance of a service, keeps it registered while this runs, and its health up to
/// date; with a COMMAND, runs it and registers it for as long as it runs.
///
/// On SIGTERM, SIGINT, SIGHUP and SIGQUIT it deregisters first, then stops the command.
#[derive(Debug, Parser)]
#[command(name = "berth register", disable_version_flag = true)]
pub(super) struct Register {
    #[command(flatten)]
    global: Global,
    /// Name of the service: one label of a DNS name
    #[arg(long, value_name = "NAME")]
    service: String,
    /// Port that the instance listens on
    #[arg(long)]
    port: u16,
    /// Address that the instance is reached at [default: the one this machine reaches the store
    /// from]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Name of the instance, unique in its service [default: HOST-PORT]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// How long the instance stays registered when this is killed or cut off; whole seconds
    #[arg(long, default_value = "10s", value_parser = ttl)]
    ttl: Duration,
    /// A tag to be found by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Something to be known of the instance; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Share of the load, beside the other instances' weights
    #[arg(long, default_value_t = 1)]
    weight: u16,
    /// A health check: http[s]://HOST:PORT/PATH, tcp://HOST:PORT, grpc://HOST:PORT[/SERVICE] or
    /// exec:COMMAND. May be repeated; all must pass. Without one, registered is passing
    #[arg(long = "check", value_name = "CHECK")]
    checks: Vec<Check>,
    /// Whom https checks trust, in place of the system's authorities: certificates as PEM
    #[arg(long, value_name = "FILE", conflicts_with = "check_insecure")]
    check_cacert: Option<PathBuf>,
    /// Let https checks trust any certificate
    #[arg(long)]
    check_insecure: bool,
    /// Between two questions of a check
    #[arg(long, default_value = "2s", value_parser = positive_duration)]
    interval: Duration,
    /// How long a check may take
    #[arg(long, default_value = "1s", value_parser = positive_duration)]
    timeout: Duration,
    /// Good answers in a row after which the instance is passing
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rise: u32,
    /// Bad answers in a row after which it is critical
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    fall: u32,
    /// How long the command goes on after it was deregistered, for clients that have yet to hear
    #[arg(long, default_value = "2s", value_parser = duration)]
    drain: Duration,
    /// How long the command may take to end before it is killed
    #[arg(long, default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// The program to run, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) async fn run(flags: Register) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install_all().map_err(Failure::error)?;
    let attempt_max = (flags.ttl / ATTEMPTS_IN_TTL).min(ATTEMPT_MAX);
    let store = store::open(flags.global.clone(), attempt_max)?;
    let tls = flags.tls()?;
    let registration = flags.registration().await?;
    let mut running = flags.start()?;
    let outcome =
        sidecar(&store, &registration, &flags, &mut signals, tls.as_ref(), running.as_mut()).await;
    let status = match (outcome, running) {
        (Ok(Some(status)), _) => return Ok(ExitCode::from(exit_code(status))),
        (Ok(None), None) => return Ok(ExitCode::SUCCESS),
        (Ok(None), Some(mut running)) => {
            running.drain(signals.next()).await;
            running.stop(signals.next()).await
        }
        (Err(error), None) => return Err(store::failed(&error)),
        (Err(error), Some(mut running)) => {
            // Whoever runs it believes that it can be found. How it ends matters less than why.
            running.drain(signals.next()).await;
            let _ = running.stop(signals.next()).await;
            return Err(store::failed(&error));
        }
    };
    status.map(|status| ExitCode::from(exit_code(status))).map_err(|error| lost(&error))
}

/// Registers until a signal comes (then `None`) or the command has ended.
async fn sidecar(
    store: &Store,
    registration: &Registration,
    flags: &Register,
    signals: &mut Signals,
    tls: Option<&TlsConnector>,
    running: Option<&mut Running>,
) -> sched::kv::Result<Option<ExitStatus>> {
    let unknown = Health { status: Status::Critical, output: "not checked yet".to_owned() };
    let (health, found) = watch::channel(unknown);
    let plan = Plan {
        interval: flags.interval,
        timeout: flags.timeout,
        rise: flags.rise,
        fall: flags.fall,
    };
    let mut ended = None;
    let stop = async {
        tokio::select! {
            () = signals.next() => {}
            status = end_of(running) => ended = Some(status),
        }
    };
    tokio::select! {
        outcome = register::run(store, registration, found, stop) => outcome?,
        () = checks::run(&flags.checks, plan, tls, health) => {}
    }
    Ok(ended)
}

/// The end of the command, or never.
async fn end_of(running: Option<&mut Running>) -> ExitStatus {
    let Some(running) = running else { return std::future::pending().await };
    match running.ended().await {
        Ok(status) => {
            tracing::info!("the command has ended: {status}");
            status
        }
        // Our own child: it cannot be waited for only if somebody else did.
        Err(_) => std::future::pending().await,
    }
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::error(format!("cannot tell how the command ended: {error}"))
}

impl Register {
    fn start(&self) -> Result<Option<Running>, Failure> {
        if self.command.is_empty() {
            return Ok(None);
        }
        let command = self.command.clone();
        let supervised = Supervised { command, drain: self.drain, grace: self.grace };
        supervised.start().map(Some).map_err(Failure::error)
    }

    /// Whom https checks trust; `None`: there are none.
    fn tls(&self) -> Result<Option<TlsConnector>, Failure> {
        if !self.checks.iter().any(Check::is_secure) {
            return Ok(None);
        }
        let config = tls::pages(self.check_cacert.clone(), self.check_insecure);
        config.map(|config| Some(Arc::new(config).into())).map_err(Failure::bad_args)
    }

    async fn registration(&self) -> Result<Registration, Failure> {
        let instance = match &self.instance {
            Some(instance) => instance.clone(),
            None => format!("{}-{}", host_name(), self.port),
        };
        let address = match self.address {
            Some(address) => address,
            None => own_address(&self.global).await?,
        };
        if self.address.is_none() && address.is_loopback() {
            tracing::warn!(
                %address,
                "the store is on this machine, so this address is registered, which no other machine \
                 reaches: set --address"
            );
        }
        let health = if self.checks.is_empty() { HealthBy::None } else { HealthBy::Key };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Ok(Registration {
            name: Name::new(&self.service, &instance).map_err(Failure::bad_args)?,
            instance: Instance {
                address,
                port: self.port,
                tags: self.tags.clone(),
                metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
                weight: self.weight,
                health,
                registered_at: since.map(|since| since.as_secs()),
            },
            ttl_s: i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX),
        })
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if ttl.subsec_nanos() > 0 || ttl.as_secs() < 2 {
        return Err("leases count whole seconds, and at least 2".into());
    }
    Ok(ttl)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
