//! An agent for each node, with pretended containers.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use sched::agent::runtime::Cidr;
use sched::agent::runtime::fake::{Fake, Latency};
use sched::agent::{Capacity, Settings, hollow};
use sched::objects::{Mirror, Objects};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::in_store::connect;
use super::workloads::{CPU_MILLIS, MEMORY_BYTES, PODS, Workload};

/// As Kubernetes' nodes have it: renewed every 10 s, over after 40 s.
const LEASE_TTL_S: i64 = 40;
/// Nodes that share a connection to the store.
const SHARING: usize = 1000;
/// Without a new node for so long, the measurement gives up.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// Ended when this is dropped.
pub(super) struct Agents {
    running: Vec<JoinHandle<()>>,
    directory: TempDir,
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

impl Agents {
    /// All nodes registered.
    pub(super) async fn start(
        workload: Workload,
        count: usize,
        url: &str,
        objects: &Objects,
    ) -> Result<Self, Box<dyn Error>> {
        let directory = disk_of_nodes()?;
        let nodes: Vec<hollow::Node> =
            (0..count).map(|at| node(workload, at, &directory)).collect::<Result<_, _>>()?;
        let mut agents = Self { running: Vec::new(), directory };
        let mut nodes = nodes.into_iter().peekable();
        while nodes.peek().is_some() {
            let own = nodes.by_ref().take(SHARING).collect();
            let (store, root) = (connect(url)?, agents.directory.path().to_owned());
            agents.running.push(tokio::spawn(async move {
                if let Err(error) = hollow::run(store, own, &root).await {
                    eprintln!("the agents have ended: {error}");
                }
            }));
        }
        registered(objects, count).await?;
        Ok(agents)
    }
}

/// In memory where that can be: a thousand nodes have disks of their own, and would measure that of
/// the store here.
fn disk_of_nodes() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

fn node(workload: Workload, at: usize, root: &TempDir) -> Result<hollow::Node, Box<dyn Error>> {
    let model = workload.node(at).metadata;
    let name = model.name.unwrap_or_default();
    let root = root.path().join(&name);
    let mut settings = Settings::new(name, root, Ipv4Addr::LOCALHOST.into());
    settings.labels = model.labels.unwrap_or_default();
    settings.lease_ttl_s = LEASE_TTL_S;
    settings.capacity = Capacity {
        cpu_millis: Some(CPU_MILLIS),
        memory_bytes: Some(MEMORY_BYTES),
        pods: Some(PODS),
    };
    let [high, low] = u16::try_from(at)?.to_be_bytes();
    let cidr = Cidr { network: Ipv4Addr::new(10, high, low, 0), prefix: 24 };
    Ok(hollow::Node { settings, runtime: Arc::new(Fake::new(Latency::default())), cidr })
}

async fn registered(objects: &Objects, count: usize) -> Result<(), Box<dyn Error>> {
    let mut nodes = Mirror::<Node>::new(objects);
    let begun = Instant::now();
    while nodes.read().len() < count {
        let changed = tokio::time::timeout(SILENT_MAX, nodes.changed()).await;
        changed.map_err(|_| "no node registers any more")?;
    }
    println!("{count} agents registered after {:.1?}", begun.elapsed());
    Ok(())
}
