//! Many nodes in one process, for tests of scale: what stands behind them is pretended.
//!
//! Each has its own lease, its own runtime, and a worker for each of its pods, the very same as on a
//! real node. They differ in what they share: one watch of the pods (which each agent has for
//! itself), of the services and of the slices. Nobody answers for logs and commands, no Service is
//! served, and a node's object is written once.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use futures::future::try_join_all;
use futures::stream;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use super::Settings;
use super::context::Context;
use super::lease::Keeper;
use super::machine::Machine;
use super::manager::{STARTS_MAX, manage, prepare, version};
use super::node::{self, Registration};
use super::pod::plan::Lease;
use super::pod::spec;
use super::pod::status::Host;
use super::runtime::{Cidr, Runtime};
use crate::kv::Store;
use crate::objects::events::Recorder;
use crate::objects::{Mirror, ObjectName, Objects, Result};

/// Nodes that register at a time.
const REGISTERING_MAX: usize = 32;

/// One node.
pub struct Node {
    /// As for an agent; where it listens and what it serves is not looked at.
    pub settings: Settings,
    pub runtime: Arc<dyn Runtime>,
    /// Its pods' addresses: nobody is asked for them.
    pub cidr: Cidr,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Node").field("name", &self.settings.node).finish_non_exhaustive()
    }
}

type Names = BTreeSet<ObjectName>;

/// What all nodes have together.
struct Shared {
    objects: Objects,
    machine: Machine,
    pods: Mirror<Pod>,
    services: Mirror<Service>,
    slices: Mirror<EndpointSlice>,
    registering: Semaphore,
}

/// Runs them until it is dropped. `root` is a directory that is there.
///
/// # Errors
/// A node cannot be registered.
pub async fn run(store: Store, nodes: Vec<Node>, root: &Path) -> Result<()> {
    let objects = Objects::new(store);
    let shared = Arc::new(Shared {
        machine: Machine::look(root),
        pods: Mirror::new(&objects),
        services: Mirror::new(&objects),
        slices: Mirror::new(&objects),
        registering: Semaphore::new(REGISTERING_MAX),
        objects,
    });
    tokio::join!(shared.pods.synced(), shared.services.synced());
    let mut senders = HashMap::new();
    let mut running = Vec::new();
    for node in nodes {
        let (sender, names) = mpsc::unbounded_channel();
        senders.insert(node.settings.node.clone(), sender);
        let task = tokio::spawn(live(shared.clone(), node, names));
        running.push(End(task));
    }
    let living = running.into_iter().map(|mut end| async move {
        // It ends with an error, or not at all.
        (&mut end.0).await.unwrap_or(Ok(()))
    });
    tokio::select! {
        () = sort(&shared.pods, &senders) => Ok(()),
        outcome = try_join_all(living) => outcome.map(drop),
    }
}

/// A task that ends with whoever holds it.
struct End(tokio::task::JoinHandle<Result<()>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn live(
    shared: Arc<Shared>,
    node: Node,
    names: mpsc::UnboundedReceiver<Names>,
) -> Result<()> {
    let Node { settings, runtime, cidr } = node;
    prepare(&settings.root)?;
    let (state, lease) = watch::channel(Lease::Fading);
    let (taken, mut held) = watch::channel(0);
    let (_serves, served) = watch::channel(i64::MAX);
    let keeper = Keeper {
        objects: shared.objects.clone(),
        node: settings.node.clone(),
        holder: settings.node.clone(),
        ttl_s: settings.lease_ttl_s,
        runtime: runtime.clone(),
    };
    let recorder = Recorder::new(shared.objects.clone(), "kubelet", Some(&settings.node));
    let context = Arc::new(Context {
        services: shared.services.clone(),
        slices: shared.slices.clone(),
        served,
        recorder: Arc::new(recorder),
        lease,
        host: Host { address: settings.address, runtime: runtime.name() },
        nameserver: OnceLock::new(),
        machine: shared.machine.clone(),
        starts: Semaphore::new(STARTS_MAX),
        volumes: Mutex::new(()),
        objects: shared.objects.clone(),
        runtime,
        settings,
    });
    if let Err(error) = context.runtime.set_pod_cidr(&cidr, &context.settings.pod_cidr).await {
        tracing::error!("pods get no network of their own: {error}");
    }
    // Not all at once: the store has other things to do. Never closed.
    let place = shared.registering.acquire().await;
    tokio::select! {
        () = keeper.run(state, taken) => Ok(()),
        outcome = async {
            // The sender goes with the keeper.
            let _ = held.wait_for(|count| *count > 0).await;
            register(&context, cidr).await?;
            drop(place);
            let (ports, _) = watch::channel(Vec::new());
            let names = stream::unfold(names, |mut names| async {
                names.recv().await.map(|some| (some, names))
            });
            manage(context, shared.pods.clone(), names, ports).await;
            Ok(())
        } => outcome,
    }
}

async fn register(context: &Context, cidr: Cidr) -> Result<()> {
    let registration = Registration {
        settings: &context.settings,
        machine: &context.machine,
        address: context.settings.address,
        port: 0,
        runtime: version(&context.runtime).await,
        cidr,
    };
    node::register(&context.objects, &registration).await
}

/// Tells each node of its pods. Never returns.
async fn sort(pods: &Mirror<Pod>, nodes: &HashMap<String, mpsc::UnboundedSender<Names>>) {
    let mut homes: HashMap<ObjectName, String> = HashMap::new();
    let mut updates = pods.updates();
    loop {
        let mut sorted: HashMap<String, Names> = HashMap::new();
        for name in updates.next().await {
            let pod = pods.get(&name.namespace, &name.name);
            let home = pod.and_then(|pod| spec::spec(&pod.object)?.node_name.clone());
            let before = match &home {
                Some(home) => homes.insert(name.clone(), home.clone()),
                None => homes.remove(&name),
            };
            for node in [home, before].into_iter().flatten() {
                sorted.entry(node).or_default().insert(name.clone());
            }
        }
        for (node, names) in sorted {
            if let Some(sender) = nodes.get(&node) {
                // It has ended: then all of them do.
                let _ = sender.send(names);
            }
        }
    }
}
