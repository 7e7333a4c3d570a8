//! Pods, and the templates of pods.

use std::collections::HashSet;

use serde_json::Value;

use super::super::status::FieldError;
use super::{dns, names, quantity};

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;

/// The spec of a pod, which is at `path`.
pub(super) fn check(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    if list(&spec["containers"]).next().is_none() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = HashSet::new();
    let volumes = check_volumes(path, spec, errors);
    for field in ["initContainers", "containers"] {
        for (at, container) in list(&spec[field]).enumerate() {
            let path = format!("{path}.{field}[{at}]");
            check_container(&path, container, errors);
            check_mounts(&path, container, &volumes, errors);
            let name = container["name"].as_str().unwrap_or_default();
            if !name.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), &container["name"]));
            }
        }
    }
    check_ports(path, spec, errors);
    supported(&format!("{path}.restartPolicy"), &spec["restartPolicy"], &POLICIES, errors);
    for field in ["terminationGracePeriodSeconds", "activeDeadlineSeconds"] {
        not_negative(&format!("{path}.{field}"), &spec[field], errors);
    }
    names::check_labels(&format!("{path}.nodeSelector"), &spec["nodeSelector"], errors);
    check_tolerations(path, spec, errors);
    dns::check(path, spec, errors);
}

fn check_container(path: &str, container: &Value, errors: &mut Vec<FieldError>) {
    match container["name"].as_str() {
        Some(name) if !name.is_empty() => names::check_label(&format!("{path}.name"), name, errors),
        _ => errors.push(FieldError::required(format!("{path}.name"), "")),
    }
    let image = container["image"].as_str().unwrap_or_default();
    if image.is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    } else if image != image.trim() {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{path}.image"), &image.into(), why));
    }
    let policy = &container["imagePullPolicy"];
    supported(&format!("{path}.imagePullPolicy"), policy, &PULL_POLICIES, errors);
    for (at, variable) in list(&container["env"]).enumerate() {
        let name = variable["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.env[{at}].name"), ""));
        } else if name.contains('=') {
            let why = "a valid environment variable name must not contain '='";
            let path = format!("{path}.env[{at}].name");
            errors.push(FieldError::invalid(path, &variable["name"], why));
        }
    }
    check_resources(&format!("{path}.resources"), &container["resources"], errors);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        check_probe(&format!("{path}.{probe}"), &container[probe], errors);
    }
}

fn check_resources(path: &str, resources: &Value, errors: &mut Vec<FieldError>) {
    for field in ["limits", "requests"] {
        for (name, value) in resources[field].as_object().into_iter().flatten() {
            let path = format!("{path}.{field}[{name}]");
            match quantity::parse(value) {
                None => {
                    let why = "quantities must match the regular expression \
                               '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                    errors.push(FieldError::invalid(path, value, why));
                }
                Some(amount) if amount < 0 => {
                    let why = "must be greater than or equal to 0";
                    errors.push(FieldError::invalid(path, value, why));
                }
                Some(_) => {}
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = resources["limits"].get(name).and_then(quantity::parse);
        if let (Some(limit), Some(amount)) = (limit, quantity::parse(request))
            && amount > limit
        {
            let why = format!("must be less than or equal to {name} limit");
            let path = format!("{path}.requests");
            errors.push(FieldError::invalid(path, request, &why));
        }
    }
}

fn check_probe(path: &str, probe: &Value, errors: &mut Vec<FieldError>) {
    if probe.is_null() {
        return;
    }
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    match handlers.iter().filter(|handler| !probe[**handler].is_null()).count() {
        0 => errors.push(FieldError::required(path, "must specify a handler type")),
        1 => {}
        _ => errors.push(FieldError::forbidden(path, "may not specify more than 1 handler type")),
    }
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(&format!("{path}.{field}"), &probe[field], errors);
    }
}

/// The names of the volumes.
fn check_volumes<'a>(
    path: &str,
    spec: &'a Value,
    errors: &mut Vec<FieldError>,
) -> HashSet<&'a str> {
    let mut volumes = HashSet::new();
    for (at, volume) in list(&spec["volumes"]).enumerate() {
        let path = format!("{path}.volumes[{at}].name");
        match volume["name"].as_str() {
            Some(name) if !name.is_empty() => {
                names::check_label(&path, name, errors);
                if !volumes.insert(name) {
                    errors.push(FieldError::duplicate(path, &volume["name"]));
                }
            }
            _ => errors.push(FieldError::required(path, "")),
        }
    }
    volumes
}

fn check_mounts(
    path: &str,
    container: &Value,
    volumes: &HashSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    for (at, mount) in list(&container["volumeMounts"]).enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        if !mount["name"].as_str().is_some_and(|name| volumes.contains(name)) {
            let message = format!("Not found: {}", mount["name"]);
            let reason = "FieldValueNotFound";
            errors.push(FieldError { path: format!("{path}.name"), reason, message });
        }
        if mount["mountPath"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        }
    }
}

/// Ports of containers, and that none is asked of the host twice.
fn check_ports(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let mut on_host = HashSet::new();
    for (of, container) in list(&spec["containers"]).enumerate() {
        for (at, port) in list(&container["ports"]).enumerate() {
            let path = format!("{path}.containers[{of}].ports[{at}]");
            match port["containerPort"].as_i64() {
                None | Some(0) => {
                    errors.push(FieldError::required(format!("{path}.containerPort"), ""));
                }
                Some(number) => check_port(&format!("{path}.containerPort"), number, errors),
            }
            supported(&format!("{path}.protocol"), &port["protocol"], &PROTOCOLS, errors);
            let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else {
                continue;
            };
            check_port(&format!("{path}.hostPort"), number, errors);
            let address = port["hostIP"].as_str().unwrap_or_default();
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            if !on_host.insert((number, protocol, address)) {
                errors.push(FieldError::duplicate(format!("{path}.hostPort"), &port["hostPort"]));
            }
        }
    }
}

pub(super) fn check_port(path: &str, number: i64, errors: &mut Vec<FieldError>) {
    if !PORTS.contains(&number) {
        let why = "must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(path, &number.into(), why));
    }
}

fn check_tolerations(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    for (at, one) in list(&spec["tolerations"]).enumerate() {
        let path = format!("{path}.tolerations[{at}]");
        supported(&format!("{path}.operator"), &one["operator"], &["Exists", "Equal"], errors);
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        let effect = &one["effect"];
        if effect.as_str().is_some_and(|effect| !effect.is_empty()) {
            supported(&format!("{path}.effect"), effect, &effects, errors);
        }
    }
}

pub(super) fn supported(path: &str, value: &Value, known: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(text) = value.as_str()
        && !known.contains(&text)
    {
        errors.push(FieldError::unsupported(path, value, known));
    }
}

pub(super) fn not_negative(path: &str, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|number| number < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path, value, why));
    }
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
