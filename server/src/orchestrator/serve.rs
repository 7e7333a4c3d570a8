//! Everything of the orchestrator that runs in the server: the one place where it is started.
//!
//! All of it is a client of this server's own store, through an address like any other client's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use sched::apiserver::{self, ApiServer, AuditLog};
use sched::kv::Store;
use sched::objects::Objects;
use sched::{agent, controllers, scheduler};

use super::flags::{self, Extent, Flags};
use super::listen::Listener;
use super::runtime::{self, Opened, Wanted};
use crate::config::{Settings, Url};
use crate::discovery::address::host_name;
use crate::discovery::store;

/// How long after a failure a part is begun again.
const AGAIN: Duration = Duration::from_secs(1);
const AGENT_AGAIN: Duration = Duration::from_secs(5);

/// The orchestrator of a server, ready to run; it may be nothing at all.
pub(crate) struct Orchestrator {
    parts: Option<Parts>,
}

/// What runs the pods of this machine, and for whom.
struct OwnAgent {
    runtime: Opened,
    settings: agent::Settings,
}

struct Parts {
    store: Store,
    listener: Listener,
    api: ApiServer,
    scheduler: scheduler::Settings,
    agent: Option<OwnAgent>,
}

/// Takes the API's address and looks for a runtime.
///
/// # Errors
/// One line: what was asked for cannot be had.
pub(crate) async fn open(flags: Flags, settings: &Settings) -> Result<Orchestrator, String> {
    if flags.extent == Extent::Off {
        return Ok(Orchestrator { parts: None });
    }
    let is_default = flags.is_default;
    match parts(flags, settings).await {
        Ok(parts) => Ok(Orchestrator { parts: Some(parts) }),
        Err(line) if is_default => {
            tracing::warn!("the orchestrator is not started, the store is: {line}");
            Ok(Orchestrator { parts: None })
        }
        Err(line) => Err(line),
    }
}

async fn parts(flags: Flags, settings: &Settings) -> Result<Parts, String> {
    let store = store::own(settings, "the orchestrator", None)?;
    let (listener, api) = api(&store, &flags).await?;
    let agent = match flags.extent {
        Extent::All => Some(own_agent(&flags, settings).await?),
        Extent::Control | Extent::Off => None,
    };
    Ok(Parts { store, listener, api, scheduler: scheduler(&flags), agent })
}

async fn api(store: &Store, flags: &Flags) -> Result<(Listener, ApiServer), String> {
    let listener = Listener::bind(flags).await?;
    let audit = flags
        .audit
        .as_ref()
        .map(|path| AuditLog::open(path).map_err(|error| format!("{}: {error}", path.display())));
    let api = apiserver::Settings { rbac: listener.knows_callers(), ..Default::default() };
    let api = ApiServer::new(Objects::new(store.clone()), api, audit.transpose()?);
    Ok((listener, api))
}

fn scheduler(flags: &Flags) -> scheduler::Settings {
    scheduler::Settings { strategy: flags.strategy, ..scheduler::Settings::default() }
}

async fn own_agent(flags: &Flags, settings: &Settings) -> Result<OwnAgent, String> {
    let root = match &flags.agent_root {
        Some(root) => root.clone(),
        None => beside(&settings.data_dir),
    };
    let wanted = Wanted {
        choice: flags.runtime,
        root: root.clone(),
        bridge: runtime::BRIDGE.to_owned(),
        docker_socket: runtime::DOCKER_SOCKET.into(),
        insecure_registries: Vec::new(),
    };
    let runtime = runtime::open(&wanted).await.map_err(|failure| failure.message)?;
    // Behind a translation of addresses, an address is none of this machine's.
    let is_ours = |address: IpAddr| std::net::TcpListener::bind((address, 0)).is_ok();
    let address = reached_at(&settings.addresses.advertise_client, is_ours);
    let mut agent = agent::Settings::new(host_name().to_lowercase(), root, address);
    agent.cluster_dns = flags.cluster_dns;
    Ok(OwnAgent { runtime, settings: agent })
}

/// Who runs pods here, or that nobody does, and why.
fn pods_of(Opened { runtime, lacking }: &Opened) -> String {
    match lacking.as_slice() {
        [] => format!("Pods run here by {}.\n", runtime.name()),
        lacking => format!(
            "Pods are only pretended here, nothing runs in them, for want of a runtime:\n  {}\n",
            lacking.join("\n  ")
        ),
    }
}

/// Where other nodes find this one's pods: where they find its store, which is nowhere if that is for
/// this machine alone.
fn reached_at(advertised: &[Url], is_ours: impl Fn(IpAddr) -> bool) -> IpAddr {
    let addresses = advertised.iter().filter_map(|url| url.address.parse::<SocketAddr>().ok());
    let mut addresses = addresses.map(|address| address.ip());
    let found = addresses
        .find(|address| !address.is_loopback() && !address.is_unspecified() && is_ours(*address));
    found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// `default.berth` has its agent in `default.berth-agent`, as an absolute path.
fn beside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_os_string();
    name.push("-agent");
    let path = data_dir.with_file_name(name);
    std::path::absolute(&path).unwrap_or(path)
}

impl Orchestrator {
    /// The same without a server around it and without an agent, on a store that runs elsewhere.
    ///
    /// # Errors
    /// One line: what was asked for cannot be had.
    pub(super) async fn beside(store: Store, flags: &Flags) -> Result<Self, String> {
        flags::check(flags)?;
        let (listener, api) = api(&store, flags).await?;
        let scheduler = scheduler(flags);
        Ok(Self { parts: Some(Parts { store, listener, api, scheduler, agent: None }) })
    }

    /// What a person at the terminal should know of it; `None`: it does not run.
    pub(crate) fn greeting(&self) -> Option<String> {
        let Parts { listener, agent, .. } = self.parts.as_ref()?;
        let url = listener.url();
        let mut text =
            format!("The Kubernetes API is on {url}:\n  kubectl --server={url} get nodes\n");
        if let Some(OwnAgent { runtime, .. }) = agent {
            text += &pods_of(runtime);
        }
        Some(text)
    }

    /// Runs until it is dropped; returns only if it cannot go on, with one line.
    pub(crate) async fn run(self) -> String {
        let Some(Parts { store, listener, api, scheduler: settings, agent }) = self.parts else {
            return std::future::pending().await;
        };
        let objects = Objects::new(store.clone());
        tracing::info!(address = %listener.url(), "the Kubernetes API is served");
        let identity = host_name();
        let control = controllers::Settings { identity, ..controllers::Settings::default() };
        // What fails here must not take the store along: it is told, and begun again.
        let mut tasks = tokio::task::JoinSet::new();
        let prepared = api.clone();
        tasks.spawn(async move { prepared.prepare().await });
        tasks.spawn(listener.run(api));
        let (controlled, scheduled) = (store.clone(), objects);
        tasks.spawn(kept("controllers", move || {
            controllers::run(controlled.clone(), control.clone(), std::future::pending())
        }));
        tasks.spawn(kept("scheduler", move || scheduler::run(scheduled.clone(), settings.clone())));
        // Dropped with this future: all of it ends with the server.
        tokio::select! {
            line = first_panic(tasks) => line,
            () = kept_agent(store, agent) => std::future::pending().await,
        }
    }
}

/// Runs the agent, and again when it cannot go on: its node is away meanwhile, and the store is not.
async fn kept_agent(store: Store, agent: Option<OwnAgent>) {
    let Some(OwnAgent { runtime, settings }) = agent else { return std::future::pending().await };
    loop {
        let (runtime, settings) = (runtime.runtime.clone(), settings.clone());
        let Err(error) = agent::run(store.clone(), runtime, settings, std::future::pending()).await
        else {
            return;
        };
        tracing::error!("no pods run here until the agent can go on: {}", error.message);
        tokio::time::sleep(AGENT_AGAIN).await;
    }
}

async fn first_panic(mut tasks: tokio::task::JoinSet<()>) -> String {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            return "a part of the orchestrator has panicked".to_owned();
        }
    }
    std::future::pending().await
}

/// Runs a part, and again after a panic, until it ends by itself.
async fn kept<F, R>(name: &'static str, run: F)
where
    F: Fn() -> R,
    R: Future,
{
    while AssertUnwindSafe(run()).catch_unwind().await.is_err() {
        tracing::error!(
            "the {name} panicked and are begun again. This is a defect in berth: please report it \
             with the message above"
        );
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;

    #[test]
    fn a_node_is_where_its_store_is() {
        // Proves that a store for other machines gives its node an address that they reach, and one
        // for this machine alone does not.
        let url = |address: &str| Url { scheme: Scheme::Http, address: address.into() };
        let urls = [url("127.0.0.1:2379"), url("node:2379"), url("10.0.0.7:2379")];
        assert_eq!(reached_at(&urls, |_| true).to_string(), "10.0.0.7");
        assert_eq!(reached_at(&urls, |_| false), IpAddr::V4(Ipv4Addr::LOCALHOST), "translated");
        for own in ["127.0.0.1:2379", "[::1]:2379", "0.0.0.0:2379", "localhost:2379"] {
            assert_eq!(reached_at(&[url(own)], |_| true), IpAddr::V4(Ipv4Addr::LOCALHOST), "{own}");
        }
    }
}
