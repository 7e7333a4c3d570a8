//! Where a Service's traffic goes: EndpointSlices (what the proxy and DNS read), Endpoints (what
//! older clients read) and SkyDNS records, all from the pods that its selector takes.

mod legacy;
mod records;
mod slices;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::action::{Action, How, Plan};
use super::kinds::Object;
use super::model::{owners, pods, selectors};

/// The label by which a slice says whose endpoints it holds.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Slices of others are left alone.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// What is seen.
pub(crate) struct Observed<'a> {
    /// Pods of the Service's namespace.
    pub(crate) pods: &'a [&'a Pod],
    /// Slices that say they are of this Service.
    pub(crate) slices: &'a [&'a EndpointSlice],
    pub(crate) endpoints: Option<&'a Endpoints>,
    /// The Service's records, by their key.
    pub(crate) records: &'a BTreeMap<String, String>,
}

/// A port as one pod has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    protocol: String,
    number: i32,
    app_protocol: Option<String>,
}

/// A pod that a Service may send to.
#[derive(Clone, Debug)]
struct Target<'a> {
    pod: &'a Pod,
    address: String,
    is_ready: bool,
    is_serving: bool,
    is_terminating: bool,
    hostname: Option<String>,
    ports: Vec<Port>,
}

/// The name of the Service that a slice made here is of.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<&str> {
    let labels = selectors::labels(&slice.metadata.labels);
    let is_own = labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER);
    labels.get(SERVICE_NAME).filter(|_| is_own).map(String::as_str)
}

/// The prefix of the records of a Service.
pub(crate) fn records_prefix(domain: &str, namespace: &str, service: &str) -> String {
    records::prefix(domain, namespace, service)
}

/// The prefix of the records of all Services.
pub(crate) fn records_root(domain: &str) -> String {
    records::root(domain)
}

pub(crate) fn plan(service: &Service, seen: &Observed<'_>, domain: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &service.spec else { return plan };
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    let is_deleting = owners::is_deleting(&service.metadata);
    // Without a selector, somebody else says where the traffic goes.
    let Some(selector) = selector.filter(|_| !is_external && !is_deleting) else {
        return plan;
    };
    let own = seen.pods.iter().copied().filter(|pod| {
        !pods::is_finished(pod)
            && selectors::has_all(selectors::labels(&pod.metadata.labels), selector)
    });
    let mut targets: Vec<Target<'_>> = own.filter_map(|pod| target(service, pod)).collect();
    targets.sort_by(|a, b| a.pod.metadata.name.cmp(&b.pod.metadata.name));
    slices::plan(service, &targets, seen.slices, &mut plan);
    legacy::plan(service, &targets, seen.endpoints, &mut plan);
    let wanted = records::wanted(service, &targets, domain);
    push_records(records::changes(&wanted, seen.records), &mut plan);
    plan
}

/// Takes away what a Service left behind that is gone.
pub(crate) fn plan_absent(seen: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    seen.slices.iter().for_each(|slice| plan.remove(&Object::from(*slice), How::Gracefully));
    if let Some(endpoints) = seen.endpoints.filter(|one| legacy::is_own(one)) {
        plan.remove(&Object::from(endpoints), How::Gracefully);
    }
    push_records(records::changes(&BTreeMap::new(), seen.records), &mut plan);
    plan
}

fn push_records(changes: Vec<(String, Option<String>)>, plan: &mut Plan) {
    if !changes.is_empty() {
        plan.push(Action::Record(changes));
    }
}

/// `None`: the pod has no address yet.
fn target<'a>(service: &Service, pod: &'a Pod) -> Option<Target<'a>> {
    let address = pod.status.as_ref()?.pod_ip.clone().filter(|address| !address.is_empty())?;
    let spec = service.spec.as_ref()?;
    let is_terminating = owners::is_deleting(&pod.metadata);
    let is_serving = pods::is_ready(pod) || spec.publish_not_ready_addresses == Some(true);
    let own = pod.spec.as_ref()?;
    let is_named = own.subdomain.as_deref() == service.metadata.name.as_deref();
    let ports = spec.ports.iter().flatten().filter_map(|port| self::port(port, pod));
    Some(Target {
        pod,
        address,
        is_ready: is_serving && !is_terminating,
        is_serving,
        is_terminating,
        hostname: own.hostname.clone().filter(|host| is_named && !host.is_empty()),
        ports: ports.collect(),
    })
}

/// The port of a Service at one pod: a name means another number at another pod.
fn port(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => match name.parse() {
            Ok(number) => number,
            Err(_) => named_port(pod, name, &protocol)?,
        },
    };
    let app_protocol = port.app_protocol.clone();
    Some(Port { name: port.name.clone().unwrap_or_default(), protocol, number, app_protocol })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let containers = spec.containers.iter().chain(sidecars);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let fits = |own: &Option<String>| own.as_deref().unwrap_or("TCP") == protocol;
    ports
        .find(|port| port.name.as_deref() == Some(name) && fits(&port.protocol))
        .map(|port| port.container_port)
}

fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    address == Some("None")
}
