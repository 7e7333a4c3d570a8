//! The agent's life: the node, its lease, and a worker for each pod bound to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;

use super::context::Context;
use super::lease::Keeper;
use super::machine::Machine;
use super::node::{self, Registration};
use super::pod::plan::Lease;
use super::pod::spec;
use super::pod::status::Host;
use super::pod::worker::{Orders, Worker, is_of};
use super::runtime::{Cidr, Runtime};
use super::{Settings, dns, http, ports, routes, steps, volumes};
use crate::kv::follow::{Follower, News};
use crate::kv::{Kind, Store};
use crate::objects::events::Recorder;
use crate::objects::notes::AgentNote;
use crate::objects::{Error, ErrorKind, Mirror, ObjectName, Objects, Result};
use crate::proxy::{self, HostPort};

/// Between two tries to register.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks for pods that nobody wants.
const SWEEP: Duration = Duration::from_secs(60);
/// Between two looks at how full the disk is.
const COLLECT: Duration = Duration::from_secs(300);
/// Containers that are started at a time.
pub(super) const STARTS_MAX: usize = 32;

pub(super) async fn run(store: Store, runtime: Arc<dyn Runtime>, settings: Settings) -> Result<()> {
    let objects = Objects::new(store.clone());
    prepare(&settings.root)?;
    volumes::release(&settings.root);
    let machine = Machine::look(&settings.root);
    let (state, lease) = watch::channel(Lease::Fading);
    let (taken, mut registered) = watch::channel(0);
    let mut first = registered.clone();
    let (serves, served) = watch::channel(0);
    let context = Arc::new(Context {
        runtime: runtime.clone(),
        services: Mirror::new(&objects),
        slices: Mirror::new(&objects),
        served,
        recorder: Arc::new(Recorder::new(objects.clone(), "kubelet", Some(&settings.node))),
        lease,
        host: Host { address: settings.address, runtime: runtime.name() },
        machine,
        nameserver: OnceLock::new(),
        starts: Semaphore::new(STARTS_MAX),
        volumes: Mutex::new(()),
        objects: objects.clone(),
        settings,
    });
    let settings = &context.settings;
    let cidr = claim(&store, settings).await?;
    ready_network(&context, &cidr).await;
    let token = http::token();
    let server = http::bind(settings.listen, context.clone(), &token).await?;
    let registration = Registration {
        settings,
        machine: &context.machine,
        address: settings.address,
        port: server.port(),
        runtime: version(&runtime).await,
        cidr,
    };
    let address = SocketAddr::new(settings.address, server.port()).to_string();
    let note = AgentNote { address, token };
    let keeper = Keeper {
        objects: objects.clone(),
        node: settings.node.clone(),
        holder: holder(&settings.root)?,
        ttl_s: settings.lease_ttl_s,
        runtime: runtime.clone(),
    };
    tokio::select! {
        () = keeper.run(state, taken) => Ok(()),
        () = server.run() => Ok(()),
        outcome = keep_registered(&objects, &registration, &note, &mut registered) => outcome,
        () = async {
            // Another agent may have this node.
            let _ = first.wait_for(|count| *count > 0).await;
            let (ports, host_ports) = watch::channel(Vec::new());
            let dns = dns::Server::open(&context, &cidr).await;
            tokio::join!(
                follow(context.clone(), ports),
                serve(&context, host_ports, serves),
                dns.run(&context),
                routes(&context),
                collect(&context)
            );
        } => Ok(()),
    }
}

/// Makes an agent's directory.
pub(super) fn prepare(root: &Path) -> Result<()> {
    // Secrets are below it.
    let close = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::create_dir_all(root)
        .and_then(|()| std::fs::set_permissions(root, close))
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("{}: {error}", root.display())))
}

/// What tells this agent from another of the same name: the same after a restart.
fn holder(root: &Path) -> Result<String> {
    let path = root.join("identity");
    if let Ok(identity) = std::fs::read_to_string(&path)
        && !identity.is_empty()
    {
        return Ok(identity);
    }
    let identity = format!("{:032x}", rand::random::<u128>());
    super::files::replace(&path, identity.as_bytes())
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("{}: {error}", path.display())))?;
    Ok(identity)
}

/// Claims addresses for pods, however long it takes to reach the store.
async fn claim(store: &Store, settings: &Settings) -> Result<Cidr> {
    loop {
        match node::claim_cidr(store, &settings.pod_cidr, &settings.node).await {
            Err(error) if error.kind == Kind::Unreachable => {
                tracing::warn!("cannot reach the store: {error}");
                tokio::time::sleep(RETRY).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

async fn ready_network(context: &Context, cidr: &Cidr) {
    if let Err(error) = context.runtime.set_pod_cidr(cidr, &context.settings.pod_cidr).await {
        tracing::error!("pods get no network of their own: {error}");
    }
}

/// What a node says of its runtime.
pub(super) async fn version(runtime: &Arc<dyn Runtime>) -> String {
    let version = runtime.version().await.unwrap_or_else(|error| {
        tracing::warn!("the runtime does not tell its version: {error}");
        "unknown".into()
    });
    format!("{}://{version}", runtime.name())
}

/// Registers each time the lease was taken, and whenever the node's object says less than it should
/// while it is held.
async fn keep_registered(
    objects: &Objects,
    registration: &Registration<'_>,
    note: &AgentNote,
    taken: &mut watch::Receiver<u64>,
) -> Result<()> {
    let key = Objects::key::<Node>(None, &registration.settings.node);
    let mut follower = Follower::new(objects.store().clone(), key);
    // Not before the lease is held: a node is ready as long as that is there.
    let _ = taken.wait_for(|count| *count > 0).await;
    loop {
        let published = http::publish(objects.store(), &registration.settings.node, note).await;
        let registering = async {
            published?;
            node::register(objects, registration).await
        };
        match registering.await {
            Err(error) if error.is_passing() || error.kind == ErrorKind::Conflict => {
                tracing::warn!("cannot register the node: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            outcome => outcome?,
        }
        loop {
            tokio::select! {
                changed = taken.changed() => {
                    // The sender goes with this very agent.
                    if changed.is_err() {
                        return Ok(());
                    }
                    break;
                }
                news = follower.next() => {
                    if matches!(news, News::Changes(_)) && !is_registered(objects, registration).await {
                        break;
                    }
                }
            }
        }
    }
}

async fn is_registered(objects: &Objects, registration: &Registration<'_>) -> bool {
    match objects.get::<Node>(None, &registration.settings.node).await {
        Ok(Some(node)) => node::is_ready(&node.object),
        Ok(None) => false,
        // Asked again with the next change.
        Err(_) => true,
    }
}

struct Managed {
    orders: Orders,
    task: JoinHandle<()>,
}

/// The workers, by the uid of their pod.
struct Manager {
    context: Arc<Context>,
    workers: BTreeMap<String, Managed>,
    /// The uid of the pod that last had this name here.
    names: BTreeMap<ObjectName, String>,
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the addresses of services on this node, if it is to. Never returns.
async fn serve(
    context: &Context,
    host_ports: watch::Receiver<Vec<HostPort>>,
    serves: watch::Sender<i64>,
) {
    // There is nothing behind the addresses of pretended pods.
    let Some(settings) = context.settings.proxy.clone().filter(|_| context.runtime.has_network())
    else {
        // Nobody who does not serve is waited for.
        serves.send_replace(i64::MAX);
        return std::future::pending().await;
    };
    let (services, slices) = (context.services.clone(), context.slices.clone());
    proxy::run(services, slices, host_ports, settings, serves).await;
}

/// Keeps the ways to other nodes' pods, where pods have a network. Never returns.
async fn routes(context: &Context) {
    if !context.runtime.has_network() {
        return std::future::pending().await;
    }
    routes::keep(Mirror::new(&context.objects), &context.settings.node).await;
}

/// Keeps room on the disk. Never returns.
async fn collect(context: &Context) {
    loop {
        tokio::time::sleep(COLLECT).await;
        let removed = context.runtime.collect_images().await.unwrap_or_else(|error| {
            tracing::warn!("cannot remove unused images: {error}");
            Vec::new()
        });
        for name in removed {
            tracing::info!("removed the unused image {name}: the disk is nearly full");
        }
    }
}

/// Follows the pods. Never returns.
async fn follow(context: Arc<Context>, ports: watch::Sender<Vec<HostPort>>) {
    let pods: Mirror<Pod> = Mirror::new(&context.objects);
    tokio::join!(pods.synced(), context.services.synced());
    let names = stream::unfold(pods.updates(), |mut updates| async {
        Some((updates.next().await, updates))
    });
    manage(context, pods, names, ports).await;
}

/// Has a worker for each pod that is bound to the node, of those that are named. Returns when no
/// more names come.
pub(super) async fn manage(
    context: Arc<Context>,
    pods: Mirror<Pod>,
    names: impl Stream<Item = BTreeSet<ObjectName>>,
    ports: watch::Sender<Vec<HostPort>>,
) {
    let mut changes = context.runtime.changes();
    let mut names = std::pin::pin!(names);
    let mut manager = Manager { context, workers: BTreeMap::new(), names: BTreeMap::new() };
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // What is there first: what is not is nobody's.
            biased;
            names = names.next() => {
                let Some(names) = names else { return };
                manager.take(&pods, names);
                let now = manager.host_ports(&pods);
                ports.send_if_modified(|before| {
                    let differs = *before != now;
                    *before = now;
                    differs
                });
            }
            changed = changes.recv() => manager.look(changed.ok()),
            _ = sweep.tick() => manager.sweep(&pods).await,
        }
    }
}

impl Manager {
    fn take(&mut self, pods: &Mirror<Pod>, names: BTreeSet<ObjectName>) {
        for name in names {
            let node = &self.context.settings.node;
            let pod = pods.get(&name.namespace, &name.name).filter(|pod| is_of(&pod.object, node));
            let uid = pod.as_ref().map(|pod| spec::uid(&pod.object).to_owned());
            let before = match &uid {
                Some(uid) => self.names.insert(name, uid.clone()),
                None => self.names.remove(&name),
            };
            if let Some(before) = before.filter(|before| Some(before) != uid.as_ref())
                && let Some(worker) = self.workers.get(&before)
            {
                worker.orders.pod.send_replace(None);
            }
            let (Some(pod), Some(uid)) = (pod, uid) else { continue };
            match self.workers.get(&uid).filter(|worker| !worker.task.is_finished()) {
                Some(worker) => drop(worker.orders.pod.send_replace(Some(pod))),
                None => {
                    let (worker, orders) = Worker::new(self.context.clone(), pod);
                    let task = tokio::spawn(worker.run());
                    self.workers.insert(uid, Managed { orders, task });
                }
            }
        }
        self.workers.retain(|_, worker| !worker.task.is_finished());
    }

    /// Ports of the node that belong to pods on it.
    fn host_ports(&self, pods: &Mirror<Pod>) -> Vec<HostPort> {
        let names = self.names.keys();
        let own = names.filter_map(|name| pods.get(&name.namespace, &name.name));
        own.flat_map(|pod| ports::of(&pod.object)).collect()
    }

    /// `None`: too much has changed to name it.
    fn look(&mut self, uid: Option<String>) {
        match uid {
            Some(uid) => {
                if let Some(worker) = self.workers.get(&uid) {
                    worker.orders.look.notify_one();
                }
            }
            None => self.workers.values().for_each(|worker| worker.orders.look.notify_one()),
        }
    }

    /// Removes what the runtime has and the store has not. Only while the store is followed: what
    /// is not known is not gone.
    async fn sweep(&mut self, pods: &Mirror<Pod>) {
        self.workers.retain(|_, worker| !worker.task.is_finished());
        if !pods.is_synced() {
            return;
        }
        let found = match self.context.runtime.pods().await {
            Ok(found) => found,
            Err(error) => return tracing::warn!("cannot list what runs here: {error}"),
        };
        // Whose worker failed has none for now, and is wanted all the same.
        let without: BTreeSet<ObjectName> = self
            .names
            .iter()
            .filter(|(_, uid)| !self.workers.contains_key(*uid))
            .map(|(name, _)| name.clone())
            .collect();
        self.take(pods, without);
        let orphans = found.into_iter().filter(|pod| !self.workers.contains_key(&pod.uid));
        for pod in orphans {
            tracing::info!(
                pod = pod.name,
                namespace = pod.namespace,
                "removing a pod nobody wants"
            );
            let context = self.context.clone();
            tokio::spawn(async move { steps::remove_orphan(&context, &pod.uid).await });
        }
    }
}
