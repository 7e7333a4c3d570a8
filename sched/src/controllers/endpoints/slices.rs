//! EndpointSlices: what has the same ports is together, at most so many in one slice.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::action::{How, Plan};
use super::super::kinds::Object;
use super::super::model::selectors::Labels;
use super::super::model::{names, owners, pods};
use super::{MANAGED_BY, MANAGER, Port, SERVICE_NAME, Target, is_headless};

/// Endpoints of one slice, as Kubernetes has it.
const ENDPOINTS_MAX: usize = 100;

pub(super) fn plan(
    service: &Service,
    targets: &[Target<'_>],
    seen: &[&EndpointSlice],
    plan: &mut Plan,
) {
    let wanted = wanted(service, targets, seen);
    let known: BTreeMap<&str, &EndpointSlice> =
        seen.iter().map(|slice| (owners::name(&slice.metadata), *slice)).collect();
    for (name, slice) in &wanted {
        match known.get(name.as_str()) {
            None => plan.create(slice.clone()),
            Some(before) => {
                let after = EndpointSlice {
                    metadata: ObjectMeta {
                        labels: slice.metadata.labels.clone(),
                        owner_references: slice.metadata.owner_references.clone(),
                        ..before.metadata.clone()
                    },
                    ..slice.clone()
                };
                if after != **before {
                    plan.update(after);
                }
            }
        }
    }
    for (name, slice) in known {
        if !wanted.contains_key(name) && !owners::is_deleting(&slice.metadata) {
            plan.remove(&Object::from(slice), How::Gracefully);
        }
    }
}

fn wanted(
    service: &Service,
    targets: &[Target<'_>],
    seen: &[&EndpointSlice],
) -> BTreeMap<String, EndpointSlice> {
    let mut groups: BTreeMap<(&str, &[Port]), Vec<&Target<'_>>> = BTreeMap::new();
    for target in targets {
        let family = if target.address.contains(':') { "IPv6" } else { "IPv4" };
        groups.entry((family, &target.ports)).or_default().push(target);
    }
    // A Service without pods has a slice too, which says so.
    if groups.is_empty() {
        groups.insert(("IPv4", &[]), Vec::new());
    }
    let mut slices = BTreeMap::new();
    for ((family, ports), targets) in groups {
        for (at, chunk) in chunks(&targets, family, ports, service, seen).into_iter().enumerate() {
            let name = name(service, family, ports, at);
            let slice = slice(service, family, ports, name.clone(), &chunk);
            slices.insert(name, slice);
        }
    }
    slices
}

/// Each endpoint stays in the slice where it is, so that one pod changes one slice alone; new ones
/// go where there is room.
fn chunks<'t, 'a>(
    targets: &[&'t Target<'a>],
    family: &str,
    ports: &[Port],
    service: &Service,
    seen: &[&EndpointSlice],
) -> Vec<Vec<&'t Target<'a>>> {
    let count = targets.len().div_ceil(ENDPOINTS_MAX).max(1);
    let mut chunks: Vec<Vec<&Target<'_>>> = vec![Vec::new(); count];
    let names: Vec<String> = (0..count).map(|at| name(service, family, ports, at)).collect();
    let mut home: BTreeMap<&str, usize> = BTreeMap::new();
    for slice in seen {
        let Some(at) = names.iter().position(|name| *name == owners::name(&slice.metadata)) else {
            continue;
        };
        for address in slice.endpoints.iter().flat_map(|one| &one.addresses) {
            home.insert(address, at);
        }
    }
    let (at_home, homeless): (Vec<&Target<'_>>, Vec<&Target<'_>>) =
        targets.iter().copied().partition(|target| home.contains_key(target.address.as_str()));
    let mut left_over = homeless;
    for target in at_home {
        let chunk = &mut chunks[home[target.address.as_str()]];
        if chunk.len() < ENDPOINTS_MAX { chunk.push(target) } else { left_over.push(target) }
    }
    for target in left_over {
        if let Some(chunk) = chunks.iter_mut().find(|chunk| chunk.len() < ENDPOINTS_MAX) {
            chunk.push(target);
        }
    }
    for chunk in &mut chunks {
        chunk.sort_by(|a, b| a.pod.metadata.name.cmp(&b.pod.metadata.name));
    }
    chunks
}

fn name(service: &Service, family: &str, ports: &[Port], at: usize) -> String {
    let ports = format!("{ports:?}");
    let uid = owners::uid(&service.metadata);
    let suffix = names::short(&[uid, family, &ports, &at.to_string()]);
    names::below(owners::name(&service.metadata), &suffix)
}

fn slice(
    service: &Service,
    family: &str,
    ports: &[Port],
    name: String,
    targets: &[&Target<'_>],
) -> EndpointSlice {
    let mut labels: Labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), owners::name(&service.metadata).into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    let ports = ports.iter().map(|port| EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.number),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        address_type: family.into(),
        endpoints: targets.iter().map(|target| endpoint(target)).collect(),
        metadata: ObjectMeta {
            name: Some(name),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![owners::reference("v1", "Service", &service.metadata)]),
            ..ObjectMeta::default()
        },
        ports: Some(ports.collect()),
    }
}

fn endpoint(target: &Target<'_>) -> Endpoint {
    let meta = &target.pod.metadata;
    Endpoint {
        addresses: vec![target.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(target.is_ready),
            serving: Some(target.is_serving),
            terminating: Some(target.is_terminating),
        }),
        hostname: target.hostname.clone(),
        node_name: pods::node(target.pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}
