//! What is listened on, and who is behind it: decided from services and their endpoint slices.
//!
//! Pure: the same objects give the same answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::Settings;
use crate::objects::View;

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// How long a client stays with its endpoint if the service does not say.
const AFFINITY_S: i32 = 10_800;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// `None`: one that is not served (SCTP).
    pub fn new(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | "TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some(_) => None,
        }
    }
}

/// Where connections or datagrams come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(formatter, "{protocol}://{}", self.address)
    }
}

/// A port of the node that leads to a port of one pod on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub listen: Listen,
    pub target: SocketAddr,
}

/// Who is behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontend {
    /// Those that get new connections, in order.
    pub endpoints: Vec<SocketAddr>,
    /// How long a client keeps its endpoint; `None`: each connection is for itself.
    pub affinity: Option<Duration>,
    /// The address belongs to the service, not to the node.
    pub is_cluster_address: bool,
}

pub type Frontends = BTreeMap<Listen, Frontend>;

/// Everything that is served on a node. Who wants what is taken already gets nothing: host ports
/// come first, then services by name.
pub fn frontends(
    services: &View<Service>,
    slices: &View<EndpointSlice>,
    host_ports: &[HostPort],
    settings: &Settings,
) -> Frontends {
    let mut found = Frontends::new();
    for port in host_ports {
        let frontend = Frontend { endpoints: vec![port.target], ..Frontend::default() };
        found.entry(port.listen).or_insert(frontend);
    }
    let mut by_service: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
    for (name, slice) in slices.iter() {
        let labels = slice.object.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_LABEL)) {
            by_service.entry((&name.namespace, service)).or_default().push(&slice.object);
        }
    }
    for (name, service) in services.iter() {
        let Some(spec) = service.object.spec.as_ref() else { continue };
        let slices = by_service.get(&(name.namespace.as_str(), name.name.as_str()));
        let slices = slices.map(Vec::as_slice).unwrap_or_default();
        for port in spec.ports.iter().flatten() {
            add_port(&mut found, spec, port, slices, settings);
        }
    }
    found
}

fn add_port(
    found: &mut Frontends,
    spec: &ServiceSpec,
    port: &ServicePort,
    slices: &[&EndpointSlice],
    settings: &Settings,
) {
    let Some(protocol) = Protocol::new(port.protocol.as_deref()) else { return };
    let affinity = affinity(spec);
    let endpoints = |is_local: bool| {
        let node = is_local.then_some(settings.node.as_str());
        endpoints(slices, port.name.as_deref().unwrap_or_default(), protocol, node)
    };
    let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
    if let Ok(number) = u16::try_from(port.port) {
        for address in cluster_addresses(spec) {
            let listen = Listen { protocol, address: (address, number).into() };
            found.entry(listen).or_insert_with(|| Frontend {
                endpoints: endpoints(is_local(&spec.internal_traffic_policy)),
                affinity,
                is_cluster_address: true,
            });
        }
    }
    let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|p| *p > 0);
    for (address, number) in settings.node_addresses.iter().zip(std::iter::repeat(node_port)) {
        let Some(number) = number else { continue };
        let listen = Listen { protocol, address: (*address, number).into() };
        found.entry(listen).or_insert_with(|| Frontend {
            endpoints: endpoints(is_local(&spec.external_traffic_policy)),
            affinity,
            is_cluster_address: false,
        });
    }
}

fn cluster_addresses(spec: &ServiceSpec) -> BTreeSet<IpAddr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return BTreeSet::new();
    }
    // `None`, the word, is no address.
    let all = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    all.filter_map(|address| address.parse().ok()).collect()
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|one| one.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY_S);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Those that are ready; if nobody is, those that are leaving and still serve. On one node alone, if
/// one is given.
fn endpoints(
    slices: &[&EndpointSlice],
    port_name: &str,
    protocol: Protocol,
    node: Option<&str>,
) -> Vec<SocketAddr> {
    let (mut ready, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices {
        let ports = slice.ports.iter().flatten().filter(|port| {
            port.name.as_deref().unwrap_or_default() == port_name
                && Protocol::new(port.protocol.as_deref()) == Some(protocol)
        });
        for port in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            let here = slice.endpoints.iter().filter(|endpoint| {
                node.is_none_or(|node| endpoint.node_name.as_deref() == Some(node))
            });
            for endpoint in here {
                let Some(state) = state(endpoint) else { continue };
                // All addresses of an endpoint are the same one: the first will do.
                let address = endpoint.addresses.first().and_then(|one| one.parse().ok());
                let Some(address) = address.map(|ip: IpAddr| SocketAddr::from((ip, port))) else {
                    continue;
                };
                match state {
                    State::Ready => ready.insert(address),
                    State::Leaving => leaving.insert(address),
                };
            }
        }
    }
    (if ready.is_empty() { leaving } else { ready }).into_iter().collect()
}

enum State {
    Ready,
    Leaving,
}

fn state(endpoint: &Endpoint) -> Option<State> {
    let conditions = endpoint.conditions.as_ref();
    let of = |value: Option<bool>, default: bool| value.unwrap_or(default);
    let ready = of(conditions.and_then(|one| one.ready), true);
    let is_leaving = of(conditions.and_then(|one| one.terminating), false);
    let serves = of(conditions.and_then(|one| one.serving), ready);
    match (ready, is_leaving, serves) {
        (true, false, _) => Some(State::Ready),
        (_, true, true) => Some(State::Leaving),
        _ => None,
    }
}
