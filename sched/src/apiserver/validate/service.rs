//! Services.

use std::collections::HashSet;

use serde_json::Value;

use super::super::status::FieldError;
use super::names;
use super::pod::{check_port, list, supported};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    supported("spec.type", &spec["type"], &TYPES, errors);
    supported("spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"], errors);
    names::check_labels("spec.selector", &spec["selector"], errors);
    if spec["type"] == "ExternalName" {
        let name = spec["externalName"].as_str().unwrap_or_default();
        if !names::is_subdomain(name.trim_end_matches('.')) {
            let why = "a DNS name";
            errors.push(FieldError::invalid("spec.externalName", &name.into(), why));
        }
        return;
    }
    let count = list(&spec["ports"]).count();
    if count == 0 && spec["clusterIP"] != "None" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut ports, mut on_nodes, mut own) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, port) in list(&spec["ports"]).enumerate() {
        let path = format!("spec.ports[{at}]");
        check_port(&format!("{path}.port"), port["port"].as_i64().unwrap_or(0), errors);
        if let Some(number) = port["targetPort"].as_i64() {
            check_port(&format!("{path}.targetPort"), number, errors);
        }
        supported(&format!("{path}.protocol"), &port["protocol"], &["TCP", "UDP", "SCTP"], errors);
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && count > 1 {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !name.is_empty() {
            names::check_label(&format!("{path}.name"), name, errors);
        }
        if !name.is_empty() && !own.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &port["name"]));
        }
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        if !ports.insert((protocol, port["port"].as_i64())) {
            errors.push(FieldError::duplicate(&*path, &port["port"]));
        }
        let on_node = port["nodePort"].as_i64().filter(|number| *number != 0);
        if on_node.is_some_and(|number| !on_nodes.insert((protocol, number))) {
            errors.push(FieldError::duplicate(format!("{path}.nodePort"), &port["nodePort"]));
        }
    }
}
