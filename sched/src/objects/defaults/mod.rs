//! What Kubernetes fills in when an object does not say.
//!
//! Works on documents, so that nothing is lost on the way; fills in only what is absent or null,
//! and leaves alone what has the wrong type (validation tells of it).

mod pod;
mod service;
mod workload;

use serde_json::{Map, Value, json};

use super::kinds::Resource;

/// Fills in the defaults of an object.
pub fn apply(resource: &Resource, value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    match resource.plural {
        "pods" => pod::pod(object),
        "services" => service::service(object),
        "namespaces" => namespace(object),
        "secrets" => secret(object),
        "nodes" => _ = child(object, "spec"),
        _ => workload::workload(resource.plural, object),
    }
}

pub use pod::template;
pub(super) use workload::own_pods_of_job;

fn namespace(object: &mut Map<String, Value>) {
    let name = object.get("metadata").and_then(|metadata| metadata["name"].as_str());
    let name = name.unwrap_or_default().to_owned();
    if let Some(metadata) = child(object, "metadata")
        && let Some(labels) = child(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
    if let Some(spec) = child(object, "spec") {
        fill(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Active");
    }
}

fn secret(object: &mut Map<String, Value>) {
    fill(object, "type", "Opaque");
    keep_as_data(object);
}

/// What a Secret says as `stringData`, which is for writing, is kept as `data`.
pub fn keep_as_data(object: &mut Map<String, Value>) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    if !object.get("stringData").is_some_and(Value::is_object) {
        return;
    }
    let Some(Value::Object(plain)) = object.shift_remove("stringData") else { return };
    let Some(data) = child(object, "data") else { return };
    for (name, text) in plain {
        let text = text.as_str().unwrap_or_default();
        data.insert(name, STANDARD.encode(text).into());
    }
}

/// Sets a field that is not set.
fn fill(object: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if object.get(name).is_none_or(Value::is_null) {
        object.insert(name.to_owned(), value.into());
    }
}

/// The object in a field, made if it is not there; `None`: something else is there.
fn child<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    fill(object, name, json!({}));
    object.get_mut(name)?.as_object_mut()
}

/// The objects of a list, if it is one.
fn elements<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = object.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}
