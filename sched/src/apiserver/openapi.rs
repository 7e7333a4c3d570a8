//! As much of OpenAPI v3 as kubectl looks at: which paths take which parameters. The schemas are
//! left open; objects are checked here, when they come.

use serde_json::{Map, Value, json};

use super::discovery;
use super::status::{Failure, Result};
use crate::objects::kinds;

/// OpenAPI v2 as protobuf, the only form that kubectl asks for. It asks with `@`, which Go refuses
/// to read in an answer.
pub(super) const OLD_MEDIA_TYPE: &str =
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document without definitions: old clients then check nothing and leave it to the server.
pub(super) fn old() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        // Shorter than 128 bytes: its length is one byte.
        let length = u8::try_from(bytes.len()).unwrap_or(0x7f).min(0x7f);
        [&[number << 3 | 2, length][..], &bytes[..usize::from(length)]].concat()
    };
    let info = [field(1, b"Kubernetes"), field(2, crate::VERSION.as_bytes())].concat();
    let (paths, definitions) = (field(8, b""), field(9, b""));
    [field(1, b"2.0"), field(2, &info), paths, definitions].concat()
}

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

fn document(group: &str, version: &str) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in kinds::ALL.iter().filter(|resource| resource.is_in(group, version)) {
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let all = format!("/{}{scope}/{}", path(group, version), resource.plural);
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let operation = |action: &str, id: &str| {
            json!({
                "operationId": format!("{id}{}", resource.kind),
                "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
                "parameters": [query("dryRun"), query("fieldManager"), query("fieldValidation")],
                "responses": {"200": {"description": "OK"}},
            })
        };
        let get = json!({
            "operationId": format!("read{}", resource.kind), "x-kubernetes-action": "get",
            "x-kubernetes-group-version-kind": kind, "responses": {"200": {"description": "OK"}},
        });
        paths.insert(all.clone(), json!({"post": operation("post", "create")}));
        let one = json!({
            "get": get, "put": operation("put", "replace"), "patch": operation("patch", "patch"),
        });
        paths.insert(format!("{all}/{{name}}"), one);
        let name = match group {
            "" => format!("io.k8s.api.core.{version}.{}", resource.kind),
            group => {
                let short = group.split('.').next().unwrap_or(group);
                format!("io.k8s.api.{short}.{version}.{}", resource.kind)
            }
        };
        schemas.insert(
            name,
            json!({
                "type": "object", "x-kubernetes-group-version-kind": [kind],
                "x-kubernetes-preserve-unknown-fields": true,
            }),
        );
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::VERSION},
        "paths": paths, "components": {"schemas": schemas},
    })
}

fn query(name: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}})
}
