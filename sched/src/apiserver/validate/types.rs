//! Whether every field has its type, and which fields no type knows.

use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::status::{Failure, Result};
use crate::objects::kinds::Resource;

/// # Errors
/// A field has another type than its kind says.
pub(super) fn check(resource: &Resource, value: &Value) -> Result<()> {
    understood(resource, value).map(|_| ())
}

/// The paths of fields that the kind does not have.
///
/// # Errors
/// As [`check`].
pub(in super::super) fn unknown_fields(resource: &Resource, value: &Value) -> Result<Vec<String>> {
    let mut unknown = Vec::new();
    if let Some(understood) = understood(resource, value)? {
        collect(value, &understood, "", &mut unknown);
    }
    Ok(unknown)
}

fn collect(value: &Value, understood: &Value, path: &str, unknown: &mut Vec<String>) {
    match (value, understood) {
        (Value::Object(fields), Value::Object(known)) => {
            for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(known) => collect(field, known, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(items), Value::Array(known)) => {
            for (at, (item, known)) in items.iter().zip(known).enumerate() {
                collect(item, known, &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}

/// What the kind's type makes of a document; `None`: the kind has no type here.
fn understood(resource: &Resource, value: &Value) -> Result<Option<Value>> {
    let read = match resource.plural {
        "namespaces" => read::<core::Namespace>,
        "nodes" => read::<core::Node>,
        "pods" => read::<core::Pod>,
        "replicationcontrollers" => read::<core::ReplicationController>,
        "services" => read::<core::Service>,
        "endpoints" => read::<core::Endpoints>,
        "configmaps" => read::<core::ConfigMap>,
        "secrets" => read::<core::Secret>,
        "serviceaccounts" => read::<core::ServiceAccount>,
        "events" => read::<core::Event>,
        "daemonsets" => read::<apps::DaemonSet>,
        "deployments" => read::<apps::Deployment>,
        "replicasets" => read::<apps::ReplicaSet>,
        "controllerrevisions" => read::<apps::ControllerRevision>,
        "jobs" => read::<batch::Job>,
        "cronjobs" => read::<batch::CronJob>,
        "horizontalpodautoscalers" => read::<autoscaling::HorizontalPodAutoscaler>,
        "poddisruptionbudgets" => read::<policy::PodDisruptionBudget>,
        "endpointslices" => read::<discovery::EndpointSlice>,
        "leases" => read::<coordination::Lease>,
        "ingresses" => read::<networking::Ingress>,
        "priorityclasses" => read::<scheduling::PriorityClass>,
        "roles" => read::<rbac::Role>,
        "rolebindings" => read::<rbac::RoleBinding>,
        "clusterroles" => read::<rbac::ClusterRole>,
        "clusterrolebindings" => read::<rbac::ClusterRoleBinding>,
        _ => return Ok(None),
    };
    read(value).map(Some).map_err(|reason| {
        Failure::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {reason}",
            resource.kind, resource.version, resource.kind
        ))
    })
}

fn read<T: DeserializeOwned + Serialize>(value: &Value) -> std::result::Result<Value, String> {
    let typed: T = serde_path_to_error::deserialize(value)
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}
