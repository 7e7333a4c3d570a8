//! Rows of Services and of what they lead to.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::format::{NONE, age, join, labels, list, name, or_none};

/// Addresses shown before the rest is only counted.
const SHOWN_MAX: usize = 3;

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        spec["type"].clone(),
        or_none(&spec["clusterIP"]),
        external(object),
        join(list(&spec["ports"]).map(port)),
        age(object, now),
        labels(&spec["selector"]),
    ]
}

fn port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    match port["nodePort"].as_i64() {
        Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
        _ => format!("{}/{protocol}", port["port"]),
    }
}

fn external(object: &Value) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let own = || list(&spec["externalIPs"]).filter_map(Value::as_str).map(str::to_owned);
    match spec["type"].as_str() {
        Some("ExternalName") => or_none(&spec["externalName"]),
        Some("LoadBalancer") => {
            let given = list(&status["loadBalancer"]["ingress"]);
            let given = given.filter_map(|one| one["ip"].as_str().or(one["hostname"].as_str()));
            match join(given.map(str::to_owned).chain(own())) {
                Value::String(text) if text == NONE => "<pending>".into(),
                found => found,
            }
        }
        _ => join(own()),
    }
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(&object["subsets"]) {
        for address in list(&subset["addresses"]).filter_map(|address| address["ip"].as_str()) {
            for port in list(&subset["ports"]) {
                all.push(format!("{address}:{}", port["port"]));
            }
        }
    }
    vec![name(object), shortened(&all), age(object, now)]
}

fn shortened(all: &[String]) -> Value {
    if all.is_empty() {
        return NONE.into();
    }
    let shown = all[..all.len().min(SHOWN_MAX)].join(",");
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => shown.into(),
        more => format!("{shown} + {more} more...").into(),
    }
}

pub(super) fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let addresses: Vec<String> = list(&object["endpoints"])
        .flat_map(|endpoint| list(&endpoint["addresses"]))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let ports = list(&object["ports"]).map(|port| port["port"].to_string());
    vec![
        name(object),
        object["addressType"].clone(),
        join(ports),
        shortened(&addresses),
        age(object, now),
    ]
}

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts = list(&spec["rules"]).map(|rule| rule["host"].as_str().unwrap_or("*").to_owned());
    let addresses = list(&object["status"]["loadBalancer"]["ingress"]);
    let addresses = addresses.filter_map(|one| one["ip"].as_str().or(one["hostname"].as_str()));
    let addresses = join(addresses.map(str::to_owned));
    let has_tls = list(&spec["tls"]).next().is_some();
    vec![
        name(object),
        or_none(&spec["ingressClassName"]),
        join(hosts),
        if addresses == NONE { "".into() } else { addresses },
        if has_tls { "80, 443" } else { "80" }.into(),
        age(object, now),
    ]
}
