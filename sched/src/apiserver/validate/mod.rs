//! Whether an object may be stored: its types, its names, its numbers, and what must not change.
//!
//! Every error names the field. What is merely unwise is allowed.
//!
//! Start at [`check`] and [`check_change`]; `types.rs` has the types of all kinds.

mod addresses;
mod change;
mod dns;
pub(super) mod names;
mod pod;
mod quantity;
mod roles;
mod service;
mod types;
mod workload;

use serde_json::Value;

use super::status::{Failure, FieldError, Result};
use crate::objects::kinds::Resource;

pub(super) use types::unknown_fields;

/// Whether a new object may be stored.
///
/// # Errors
/// 400 for a wrong type, 422 for anything else; all that is wrong, each with its field.
pub(super) fn check(resource: &Resource, value: &Value) -> Result<()> {
    types::check(resource, value)?;
    let mut errors = Vec::new();
    check_metadata(resource, value, &mut errors);
    check_content(resource, value, &mut errors);
    outcome(resource, value, &errors)
}

/// Whether an object may take the place of what is stored.
///
/// # Errors
/// As [`check`].
pub(super) fn check_change(resource: &Resource, before: &Value, after: &Value) -> Result<()> {
    types::check(resource, after)?;
    let mut errors = Vec::new();
    check_metadata(resource, after, &mut errors);
    check_content(resource, after, &mut errors);
    change::check(resource, before, after, &mut errors);
    outcome(resource, after, &errors)
}

fn outcome(resource: &Resource, value: &Value, errors: &[FieldError]) -> Result<()> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    Err(Failure::invalid(resource, name, errors))
}

fn check_metadata(resource: &Resource, value: &Value, errors: &mut Vec<FieldError>) {
    let metadata = &value["metadata"];
    match metadata["name"].as_str() {
        Some(name) => names::check_name(resource, name, errors),
        None if metadata["generateName"].is_string() => {}
        None => {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
    }
    names::check_labels("metadata.labels", &metadata["labels"], errors);
    names::check_annotations(&metadata["annotations"], errors);
}

fn check_content(resource: &Resource, value: &Value, errors: &mut Vec<FieldError>) {
    match resource.plural {
        "pods" => pod::check("spec", &value["spec"], errors),
        "services" => service::check(&value["spec"], errors),
        "configmaps" => check_keys(value, &["data", "binaryData"], errors),
        "secrets" => check_keys(value, &["data"], errors),
        "endpoints" | "endpointslices" => addresses::check(resource.plural, value, errors),
        plural if resource.group == "rbac.authorization.k8s.io" => {
            roles::check(plural, value, errors);
        }
        plural => workload::check(plural, value, errors),
    }
}

/// Keys of ConfigMaps and Secrets become names of files.
fn check_keys(value: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    for field in fields {
        for (key, _) in value[field].as_object().into_iter().flatten() {
            let is_letter =
                |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
            let is_fine = !key.is_empty() && key.len() <= 253 && key.chars().all(is_letter);
            if !is_fine || key == "." || key.starts_with("..") {
                let why = "a valid config key must consist of alphanumeric characters, '-', '_' or \
                           '.' and be no path";
                let path = format!("{field}[{key}]");
                errors.push(FieldError::invalid(path, &key.as_str().into(), why));
            }
        }
    }
}

/// Where the pod of an object is, or the template of its pods.
pub(super) fn pod_pointer(plural: &str) -> Option<&'static str> {
    match plural {
        "pods" => Some(""),
        "deployments" | "replicasets" | "replicationcontrollers" | "daemonsets" | "jobs" => {
            Some("/spec/template")
        }
        "cronjobs" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
