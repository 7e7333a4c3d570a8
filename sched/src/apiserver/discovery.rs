//! What is served: how clients find it out.

use http::request::Parts;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::path::Route;
use super::status::{Failure, Result};
use super::{Body, openapi, respond};
use crate::objects::kinds::{self, Resource};

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The version of Kubernetes whose API this is a part of.
const MINOR: &str = "33";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub(super) fn answer(route: &Route, head: &Parts) -> Result<Response<Body>> {
    if head.method != http::Method::GET && head.method != http::Method::HEAD {
        return Err(Failure::method_not_allowed());
    }
    let document = match route {
        Route::Version => version(),
        Route::Health => return Ok(respond::bytes(StatusCode::OK, "text/plain", b"ok".to_vec())),
        Route::CoreVersions if wants_aggregated(head) => {
            return Ok(respond::bytes(StatusCode::OK, AGGREGATED, aggregated(str::is_empty)));
        }
        Route::Groups if wants_aggregated(head) => {
            return Ok(respond::bytes(
                StatusCode::OK,
                AGGREGATED,
                aggregated(|group| !group.is_empty()),
            ));
        }
        Route::CoreVersions => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        Route::Groups => {
            let groups: Vec<Value> =
                groups().iter().skip(1).map(|group| api_group(group)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        Route::Group(name) => {
            let group = groups().into_iter().find(|group| *group == name && !name.is_empty());
            let mut document = api_group(group.ok_or_else(Failure::unknown_path)?);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        Route::Resources { group, version } => resources(group, version)?,
        Route::OldOpenApi => return Ok(openapi::answer_old(&head.headers)),
        Route::OpenApi(rest) => openapi::answer(rest)?,
        Route::Review { .. } | Route::Object(_) => return Err(Failure::unknown_path()),
    };
    Ok(respond::json(StatusCode::OK, &document))
}

fn wants_aggregated(head: &Parts) -> bool {
    let accept = head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.unwrap_or_default().split(',').any(|choice| {
        choice.contains("as=APIGroupDiscoveryList") && choice.contains("v=v2;")
            || choice.contains("as=APIGroupDiscoveryList") && choice.ends_with("v=v2")
    })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0+berth"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// All groups, the core one first.
fn groups() -> Vec<&'static str> {
    let mut groups = Vec::new();
    let all = kinds::ALL.iter().flat_map(|resource| {
        std::iter::once(resource.group).chain(resource.aliases.iter().map(|(group, _)| *group))
    });
    for group in all.chain(["authorization.k8s.io", "authentication.k8s.io"]) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// The versions of a group, the one that is stored first.
pub(super) fn versions(group: &str) -> Vec<&'static str> {
    let mut versions = Vec::new();
    let stored = kinds::ALL.iter().map(|resource| (resource.group, resource.version));
    let others = kinds::ALL.iter().flat_map(|resource| resource.aliases.iter().copied());
    let reviews = ["authorization.k8s.io", "authentication.k8s.io"].map(|group| (group, "v1"));
    for (of, version) in stored.chain(others).chain(reviews) {
        if of == group && !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions
}

pub(super) fn group_versions() -> Vec<(&'static str, &'static str)> {
    let pairs = groups()
        .into_iter()
        .flat_map(|group| versions(group).into_iter().map(move |version| (group, version)));
    pairs.collect()
}

fn api_group(group: &str) -> Value {
    let versions: Vec<Value> = versions(group)
        .iter()
        .map(|version| json!({"groupVersion": kinds::api_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
}

/// A part of objects that is served by itself: its name, its kind, and what can be done.
struct Part {
    name: &'static str,
    kind: &'static str,
    group: &'static str,
    version: &'static str,
    verbs: &'static [&'static str],
}

const fn part(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Part {
    Part { name, kind, group: "", version: "", verbs }
}

fn parts(resource: &Resource) -> Vec<Part> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    let mut parts = Vec::new();
    if has_status(resource) {
        parts.push(part("status", resource.kind, CHANGE));
    }
    match resource.plural {
        "pods" => {
            parts.push(part("binding", "Binding", &["create"]));
            let eviction = part("eviction", "Eviction", &["create"]);
            parts.push(Part { group: "policy", version: "v1", ..eviction });
            parts.push(part("exec", "PodExecOptions", &["create", "get"]));
            parts.push(part("log", "Pod", &["get"]));
        }
        "deployments" | "replicasets" | "replicationcontrollers" => {
            let scale = part("scale", "Scale", CHANGE);
            parts.push(Part { group: "autoscaling", version: "v1", ..scale });
        }
        "namespaces" => parts.push(part("finalize", "Namespace", &["update"])),
        _ => {}
    }
    parts
}

/// Whether the status of a kind is written apart from the rest.
pub(super) fn has_status(resource: &Resource) -> bool {
    matches!(
        resource.plural,
        "namespaces"
            | "nodes"
            | "pods"
            | "replicationcontrollers"
            | "services"
            | "daemonsets"
            | "deployments"
            | "replicasets"
            | "jobs"
            | "cronjobs"
            | "horizontalpodautoscalers"
            | "poddisruptionbudgets"
            | "ingresses"
    )
}

/// Short names mean the kind in the group that it is stored in; elsewhere they would be ambiguous.
fn short_names(resource: &Resource, group: &str) -> &'static [&'static str] {
    if resource.group == group { resource.short_names } else { &[] }
}

/// Likewise: each object is in `all` once.
fn categories(resource: &Resource, group: &str) -> &'static [&'static str] {
    if resource.group == group { resource.categories } else { &[] }
}

fn resources(group: &str, version: &str) -> Result<Value> {
    let mut list = Vec::new();
    for resource in kinds::ALL.iter().filter(|resource| resource.is_in(group, version)) {
        list.push(json!({
            "name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.namespaced, "kind": resource.kind, "verbs": VERBS,
            "shortNames": short_names(resource, group), "categories": categories(resource, group),
        }));
        for part in parts(resource) {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, part.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": part.kind, "verbs": part.verbs,
            });
            if !part.group.is_empty() {
                entry["group"] = part.group.into();
                entry["version"] = part.version.into();
            }
            list.push(entry);
        }
    }
    for (plural, kind) in super::review::served(group) {
        list.push(json!({
            "name": plural, "singularName": "", "namespaced": false, "kind": kind,
            "verbs": ["create"],
        }));
    }
    if list.is_empty() {
        return Err(Failure::unknown_path());
    }
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": kinds::api_version(group, version), "resources": list,
    }))
}

/// Everything in one answer.
fn aggregated(is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let items: Vec<Value> = groups()
        .into_iter()
        .filter(|group| is_wanted(group))
        .map(|group| {
            let versions: Vec<Value> = versions(group)
                .into_iter()
                .map(|version| {
                    let resources = aggregated_resources(group, version);
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group}, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
    .to_string()
    .into_bytes()
}

fn aggregated_resources(group: &str, version: &str) -> Vec<Value> {
    let kind_of = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let served = kinds::ALL.iter().filter(|resource| resource.is_in(group, version));
    let kinds = served.map(|resource| {
        let parts: Vec<Value> = parts(resource)
            .into_iter()
            .map(|part| {
                let (group, version) = match part.group {
                    "" => (group, version),
                    group => (group, part.version),
                };
                json!({
                    "subresource": part.name, "verbs": part.verbs,
                    "responseKind": kind_of(group, version, part.kind),
                })
            })
            .collect();
        json!({
            "resource": resource.plural, "singularResource": resource.singular,
            "responseKind": kind_of(group, version, resource.kind),
            "scope": scope(resource.namespaced), "verbs": VERBS,
            "shortNames": short_names(resource, group), "categories": categories(resource, group),
            "subresources": parts,
        })
    });
    let reviews = super::review::served(group).map(|(plural, kind)| {
        json!({
            "resource": plural, "singularResource": "", "scope": "Cluster", "verbs": ["create"],
            "responseKind": kind_of(group, version, kind),
        })
    });
    kinds.chain(reviews).collect()
}
