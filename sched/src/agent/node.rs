//! The node as the store knows it: its object, and the range of addresses that its pods get.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use api::etcdserverpb::TxnRequest;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::images::architecture;
use super::machine::Machine;
use super::runtime::Cidr;
use super::{Settings, clock};
use crate::kv::{self, Store};
use crate::objects::{ErrorKind, Objects, Result, notes};

const NODE_PREFIX: u8 = 24;
const PODS_MAX: u32 = 110;

/// What is told of this node.
pub(super) struct Registration<'a> {
    pub(super) settings: &'a Settings,
    pub(super) machine: &'a Machine,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// `runc://1.1.5`.
    pub(super) runtime: String,
    pub(super) cidr: Cidr,
}

/// Claims a range of addresses for the pods of a node; the one it has already, if so.
///
/// # Errors
/// The store fails, or there is none left.
pub(super) async fn claim_cidr(store: &Store, all: &Cidr, node: &str) -> kv::Result<Cidr> {
    let count = 1_u32 << u32::from(NODE_PREFIX.saturating_sub(all.prefix));
    let range = |number: u32| {
        let offset = number << (32 - u32::from(NODE_PREFIX));
        let network: Ipv4Addr = all.address(offset);
        Cidr { network, prefix: NODE_PREFIX.max(all.prefix) }
    };
    // A key's last part counts the ranges of [`NODE_PREFIX`] from the beginning.
    let claims = notes::pod_ranges();
    // Bounded: another node may be faster each time, but not for more numbers than there are.
    for _ in 0..=count {
        let found = store.range(kv::range(claims.as_bytes())).await?.kvs;
        let number =
            |key: &[u8]| std::str::from_utf8(key).ok()?.strip_prefix(&*claims)?.parse::<u32>().ok();
        let taken: BTreeMap<u32, &[u8]> =
            found.iter().filter_map(|kv| Some((number(&kv.key)?, kv.value.as_ref()))).collect();
        if let Some((number, _)) = taken.iter().find(|(_, owner)| **owner == node.as_bytes()) {
            return Ok(range(*number));
        }
        let Some(free) = (0..count).find(|number| !taken.contains_key(number)) else { break };
        let key = format!("{claims}{free}");
        let txn = TxnRequest {
            compare: vec![kv::is_absent(key.clone())],
            success: vec![kv::put(key, node.to_owned(), 0)],
            failure: Vec::new(),
        };
        if store.txn(txn).await?.succeeded {
            return Ok(range(free));
        }
    }
    let message = format!("no range of addresses is left for this node's pods in {all}");
    Err(kv::Error { kind: kv::Kind::Refused, message })
}

/// Creates the node's object, or brings it up to date. What others have written there stays.
///
/// # Errors
/// The store fails.
pub(super) async fn register(objects: &Objects, registration: &Registration<'_>) -> Result<()> {
    let name = &registration.settings.node;
    let update = |node: &mut Node| {
        let before = node.clone();
        registration.fill(node);
        *node != before
    };
    if objects.modify::<Node>(None, name, update).await?.is_some() {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let mut node = Node { metadata, ..Node::default() };
    registration.fill(&mut node);
    match objects.create(&node).await {
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            objects.modify::<Node>(None, name, update).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

/// Whether the node's object says that it is well.
pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
    let ready = conditions.unwrap_or_default().iter().find(|one| one.type_ == "Ready");
    ready.is_some_and(|ready| ready.status == "True")
}

impl Registration<'_> {
    fn fill(&self, node: &mut Node) {
        let labels = node.metadata.labels.get_or_insert_default();
        let own = [
            ("kubernetes.io/hostname", self.settings.node.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", architecture()),
        ];
        labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels.extend(self.settings.labels.clone());
        let spec = node.spec.get_or_insert_with(NodeSpec::default);
        spec.pod_cidr = Some(self.cidr.to_string());
        spec.pod_cidrs = Some(vec![self.cidr.to_string()]);
        let status = node.status.get_or_insert_with(NodeStatus::default);
        let capacity = self.capacity();
        status.capacity = Some(capacity.clone());
        status.allocatable = Some(capacity);
        let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
        status.addresses = Some(vec![
            address("InternalIP", self.address.to_string()),
            address("Hostname", self.settings.node.clone()),
        ]);
        let endpoint = DaemonEndpoint { port: self.port.into() };
        status.daemon_endpoints = Some(NodeDaemonEndpoints { kubelet_endpoint: Some(endpoint) });
        status.node_info = Some(self.info());
        let before = status.conditions.take().unwrap_or_default();
        status.conditions = Some(conditions(&before));
    }

    fn capacity(&self) -> BTreeMap<String, Quantity> {
        let given = &self.settings.capacity;
        let cpu = given.cpu_millis.unwrap_or(self.machine.cpu_millis);
        let memory = given.memory_bytes.unwrap_or(self.machine.memory_bytes);
        let cpu = match cpu % 1000 {
            0 => (cpu / 1000).to_string(),
            _ => format!("{cpu}m"),
        };
        [
            ("cpu", cpu),
            ("memory", format!("{}Ki", memory / 1024)),
            ("ephemeral-storage", format!("{}Ki", self.machine.disk_bytes / 1024)),
            ("pods", given.pods.unwrap_or(PODS_MAX).to_string()),
        ]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect()
    }

    fn info(&self) -> NodeSystemInfo {
        NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: self.machine.boot_id.clone(),
            container_runtime_version: self.runtime.clone(),
            kernel_version: self.machine.kernel.clone(),
            kubelet_version: format!("v1.33.0+berth.{}", env!("CARGO_PKG_VERSION")),
            machine_id: self.machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: self.machine.system.clone(),
            ..NodeSystemInfo::default()
        }
    }
}

fn conditions(before: &[NodeCondition]) -> Vec<NodeCondition> {
    let own = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "there is memory enough"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "there is disk enough"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "there are process numbers enough"),
        ("Ready", "True", "KubeletReady", "the agent holds the node's lease"),
    ];
    let now = Time(clock::now());
    let others = before.iter().filter(|one| own.iter().all(|(kind, ..)| one.type_ != *kind));
    let mut all: Vec<NodeCondition> = others.cloned().collect();
    all.extend(own.map(|(kind, status, reason, message)| {
        let old = before.iter().find(|one| one.type_ == kind).filter(|one| one.status == status);
        match old {
            Some(old) if old.reason.as_deref() == Some(reason) => old.clone(),
            old => NodeCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: old
                    .and_then(|old| old.last_transition_time.clone())
                    .or(Some(now.clone())),
            },
        }
    }));
    all
}
