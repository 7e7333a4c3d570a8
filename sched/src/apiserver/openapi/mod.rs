//! As much of OpenAPI as kubectl looks at: which paths take which parameters. The schemas are left
//! open; objects are checked here, when they come.
//!
//! Everything is made of the table of kinds. `operations.rs` says what can be done with them; it is
//! told as version 3 here, and as version 2 in `old.rs`, for kubectl before 1.27.

mod old;
mod operations;

use serde_json::{Map, Value, json};

use super::discovery;
use super::status::{Failure, Result};
use crate::objects::kinds;

pub(super) use old::answer as answer_old;
use operations::{Method, Operation};

pub(super) fn answer(rest: &str) -> Result<Value> {
    if rest.is_empty() {
        return Ok(index());
    }
    let found = discovery::group_versions()
        .into_iter()
        .find(|(group, version)| path(group, version) == rest);
    let (group, version) = found.ok_or_else(Failure::unknown_path)?;
    Ok(document(group, version))
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": crate::VERSION})
}

fn index() -> Value {
    let paths: Map<String, Value> = discovery::group_versions()
        .into_iter()
        .map(|(group, version)| {
            let path = path(group, version);
            let address = format!("/openapi/v3/{path}?hash={}", crate::VERSION);
            (path, json!({"serverRelativeURL": address}))
        })
        .collect();
    json!({"paths": paths})
}

fn document(group: &'static str, version: &'static str) -> Value {
    let mut schemas = Map::new();
    for resource in kinds::ALL.iter().filter(|resource| resource.is_in(group, version)) {
        let name = match group {
            "" => format!("io.k8s.api.core.{version}.{}", resource.kind),
            group => {
                let short = group.split('.').next().unwrap_or(group);
                format!("io.k8s.api.{short}.{version}.{}", resource.kind)
            }
        };
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        schemas.insert(
            name,
            json!({
                "type": "object", "x-kubernetes-group-version-kind": [kind],
                "x-kubernetes-preserve-unknown-fields": true,
            }),
        );
    }
    let query = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({
        "openapi": "3.0.0", "info": info(),
        "paths": paths(&operations::of(group, version), query),
        "components": {"schemas": schemas},
    })
}

/// Operations by their paths and methods, as both versions write them but for the parameters.
fn paths(operations: &[Operation], query: impl Fn(&str) -> Value) -> Map<String, Value> {
    let mut paths = Map::new();
    for operation in operations {
        let mut told = json!({
            "operationId": operation.id, "x-kubernetes-action": operation.method.name(),
            "x-kubernetes-group-version-kind": operation.kind(),
            "responses": {"200": {"description": "OK"}},
        });
        if operation.method != Method::Get {
            told["parameters"] = operations::PARAMETERS.map(&query).to_vec().into();
        }
        let path = paths.entry(operation.path.as_str()).or_insert_with(|| json!({}));
        path[operation.method.name()] = told;
    }
    paths
}
