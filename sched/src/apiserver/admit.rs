//! What an object depends on, and what it keeps from before: settled on its way in.

use api::etcdserverpb::Compare;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use super::path::Target;
use super::status::{Failure, FieldError, Result};
use crate::kv;
use crate::objects::Objects;
use crate::objects::kinds::{self, Resource};

/// Priorities that are there without being stored.
const SYSTEM: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// That the namespace of a new object is there and not about to go; what must still hold of it
/// when the object is written.
pub(super) async fn namespace(
    objects: &Objects,
    target: &Target,
    namespace: &str,
) -> Result<Compare> {
    let Some(resource) = kinds::by_plural("namespaces") else {
        return Err(Failure::internal("there are no namespaces"));
    };
    let found = objects.get_document(resource, None, namespace).await;
    let found = found.map_err(|error| Failure::of(error, resource, namespace))?;
    let found = found.ok_or_else(|| Failure::not_found(resource, namespace))?;
    if found.metadata()["deletionTimestamp"].is_string() {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        return Err(Failure::forbidden(target.resource, target.name(), &why));
    }
    let key = Objects::key::<Namespace>(None, namespace);
    Ok(kv::unchanged_since(key, found.revision))
}

/// What a new object need not say.
pub(super) fn settle(resource: &Resource, value: &mut Value) {
    let Some(metadata) = value["metadata"].as_object_mut() else { return };
    for field in ["generation", "managedFields", "selfLink", "uid", "resourceVersion"] {
        metadata.shift_remove(field);
    }
    if resource.plural == "pods" && value["spec"]["nodeName"] == "" {
        value["spec"]["nodeName"] = Value::Null;
    }
}

/// What a replacement keeps of the stored object if it does not say otherwise: what the server
/// chose, which files do not name.
pub(super) fn carry_over(resource: &Resource, before: &Value, after: &mut Value) {
    let fields: &[&str] = match resource.plural {
        "services" => &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"],
        "jobs" => &["selector", "template", "completions"],
        "pods" => &["nodeName", "priority", "serviceAccountName", "tolerations"],
        "namespaces" => &["finalizers"],
        "nodes" => &["podCIDR", "podCIDRs", "providerID"],
        _ => return,
    };
    if resource.plural == "services" && after["spec"]["type"] == "ExternalName" {
        return;
    }
    let (Some(old), Some(new)) = (before["spec"].as_object(), after["spec"].as_object_mut()) else {
        return;
    };
    for field in fields {
        let is_unset = |value: &Value| value.is_null() || *value == "";
        if let Some(value) = old.get(*field)
            && new.get(*field).is_none_or(is_unset)
        {
            new.insert((*field).to_owned(), value.clone());
        }
    }
    if resource.plural == "jobs"
        && let Some(labels) = old.get("template").map(|pod| pod["metadata"]["labels"].clone())
        && let Some(template) = new.get_mut("template")
    {
        let own = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let mut labels = labels;
        if let Some(labels) = labels.as_object_mut() {
            labels.extend(own);
        }
        if template["metadata"].is_object() {
            template["metadata"]["labels"] = labels;
        }
    }
    if resource.plural == "services" {
        keep_node_ports(before, after);
    }
}

/// A port keeps its port on the nodes.
fn keep_node_ports(before: &Value, after: &mut Value) {
    if !matches!(after["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        return;
    }
    let old = before["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let new = after.get_mut("spec").and_then(|spec| spec.get_mut("ports"));
    for port in new.and_then(Value::as_array_mut).into_iter().flatten() {
        let same = |other: &&Value| {
            other["port"] == port["port"]
                && other["protocol"].as_str().unwrap_or("TCP")
                    == port["protocol"].as_str().unwrap_or("TCP")
        };
        let kept = old.iter().find(same).map(|other| other["nodePort"].clone());
        let is_unset = port["nodePort"].as_i64().unwrap_or(0) == 0;
        if let (true, Some(kept), Some(port)) = (is_unset, kept, port.as_object_mut())
            && !kept.is_null()
        {
            port.insert("nodePort".into(), kept);
        }
    }
}

/// What other objects say about this one.
pub(super) async fn check(objects: &Objects, resource: &Resource, value: &mut Value) -> Result<()> {
    if resource.plural == "pods" {
        set_priority(objects, resource, value).await?;
    }
    Ok(())
}

/// The number that a priority class stands for.
async fn set_priority(objects: &Objects, resource: &Resource, value: &mut Value) -> Result<()> {
    let class = value["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    if !value["spec"].is_object() {
        return Ok(());
    }
    if let Some((_, priority)) = SYSTEM.iter().find(|(name, _)| *name == class) {
        value["spec"]["priority"] = (*priority).into();
        return Ok(());
    }
    if class.is_empty() {
        return set_default_priority(objects, resource, value).await;
    }
    let found = objects.get::<PriorityClass>(None, &class).await;
    let found = found.map_err(|error| Failure::of(error, resource, &class))?;
    let Some(found) = found else {
        let path = "spec.priorityClassName";
        let error = FieldError::invalid(path, &class.into(), "no PriorityClass with this name");
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Failure::invalid(resource, name, &[error]));
    };
    value["spec"]["priority"] = found.value.into();
    if let Some(policy) = &found.preemption_policy {
        value["spec"]["preemptionPolicy"] = policy.as_str().into();
    }
    Ok(())
}

async fn set_default_priority(
    objects: &Objects,
    resource: &Resource,
    value: &mut Value,
) -> Result<()> {
    // A pod that was stored has its priority for good.
    if value["metadata"]["uid"].is_string() {
        return Ok(());
    }
    let classes = objects.list::<PriorityClass>(None).await;
    let classes = classes.map_err(|error| Failure::of(error, resource, ""))?.items;
    let default = classes.iter().find(|class| class.global_default == Some(true));
    if let Some(class) = default {
        value["spec"]["priority"] = class.value.into();
        value["spec"]["priorityClassName"] = class.metadata.name.clone().unwrap_or_default().into();
    }
    Ok(())
}
