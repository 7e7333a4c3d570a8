//! What may not change once an object is stored.

use serde_json::Value;

use super::super::status::FieldError;
use crate::objects::kinds::Resource;

const IMMUTABLE: &str = "field is immutable";

pub(super) fn check(
    resource: &Resource,
    before: &Value,
    after: &Value,
    errors: &mut Vec<FieldError>,
) {
    for field in ["uid", "creationTimestamp"] {
        let (old, new) = (&before["metadata"][field], &after["metadata"][field]);
        if old != new {
            let path = format!("metadata.{field}");
            errors.push(FieldError::invalid(path, new, IMMUTABLE));
        }
    }
    match resource.plural {
        "pods" => check_pod(before, after, errors),
        "deployments" | "replicasets" | "daemonsets" | "jobs" => {
            fixed("spec.selector", before, after, errors);
            if resource.plural == "jobs" {
                fixed("spec.template", before, after, errors);
                fixed("spec.completions", before, after, errors);
            }
        }
        "configmaps" | "secrets" if before["immutable"] == true => {
            for field in ["data", "binaryData", "immutable"] {
                if before[field] != after[field] {
                    let why = "field is immutable when `immutable` is set";
                    errors.push(FieldError::forbidden(field, why));
                }
            }
        }
        "secrets" => fixed("type", before, after, errors),
        "rolebindings" | "clusterrolebindings" => fixed("roleRef", before, after, errors),
        _ => {}
    }
}

fn fixed(path: &str, before: &Value, after: &Value, errors: &mut Vec<FieldError>) {
    let at = |value: &Value| path.split('.').fold(value.clone(), |value, name| value[name].clone());
    let (old, new) = (at(before), at(after));
    if !old.is_null() && old != new {
        errors.push(FieldError::invalid(path, &new, IMMUTABLE));
    }
}

/// A pod's spec is settled but for images, a shorter deadline, more tolerations, and its node
/// while it has none.
fn check_pod(before: &Value, after: &Value, errors: &mut Vec<FieldError>) {
    let (mut old, mut new) = (before["spec"].clone(), after["spec"].clone());
    for spec in [&mut old, &mut new] {
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    // The pull policy is filled in by the image's tag.
                    container.shift_remove("image");
                }
            }
        }
        if let Some(spec) = spec.as_object_mut() {
            for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
                spec.shift_remove(field);
            }
        }
    }
    if old != new {
        let why = "pod updates may not change fields other than `spec.containers[*].image`, \
                   `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, \
                   `spec.tolerations` (only additions to existing tolerations), \
                   `spec.terminationGracePeriodSeconds`";
        errors.push(FieldError::forbidden("spec", why));
    }
}
