//! The Endpoints object of the same name, for clients of the time before slices.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::action::Plan;
use super::super::model::{owners, pods};
use super::{Port, Target};

/// Addresses of one object; the first ones are given, as Kubernetes does.
const ADDRESSES_MAX: usize = 1000;
/// Marks what was made here.
const OWN: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

pub(super) fn is_own(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(OWN)).is_some_and(|by| by == MANAGER)
}

pub(super) fn plan(
    service: &Service,
    targets: &[Target<'_>],
    seen: Option<&Endpoints>,
    plan: &mut Plan,
) {
    let subsets = Some(subsets(targets)).filter(|subsets| !subsets.is_empty());
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(OWN.into(), MANAGER.into());
    match seen {
        None => plan.create(Endpoints {
            metadata: ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            subsets,
        }),
        Some(before) => {
            let metadata = ObjectMeta { labels: Some(labels), ..before.metadata.clone() };
            let after = Endpoints { metadata, subsets };
            if after != *before {
                plan.update(after);
            }
        }
    }
}

fn subsets(targets: &[Target<'_>]) -> Vec<EndpointSubset> {
    let mut groups: BTreeMap<&[Port], (Vec<EndpointAddress>, Vec<EndpointAddress>)> =
        BTreeMap::new();
    let living = targets.iter().filter(|target| !target.is_terminating);
    for target in living.take(ADDRESSES_MAX) {
        let (ready, not_ready) = groups.entry(&target.ports).or_default();
        if target.is_ready { ready.push(address(target)) } else { not_ready.push(address(target)) }
    }
    let some = |list: Vec<EndpointAddress>| Some(list).filter(|list| !list.is_empty());
    let subset = |(ports, (ready, not_ready)): (&[Port], _)| EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(not_ready),
        ports: Some(ports.iter().map(port).collect::<Vec<_>>()).filter(|all| !all.is_empty()),
    };
    groups.into_iter().map(subset).collect()
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

fn address(target: &Target<'_>) -> EndpointAddress {
    let meta = &target.pod.metadata;
    EndpointAddress {
        ip: target.address.clone(),
        hostname: target.hostname.clone(),
        node_name: pods::node(target.pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: meta.name.clone(),
            namespace: Some(owners::namespace(meta).to_owned()),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }),
    }
}
