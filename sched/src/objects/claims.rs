//! What belongs to one Service alone: its address, and its ports on every node. Each is claimed by
//! a key of its own, written with the Service and deleted with it.

use serde_json::Value;

use super::REGISTRY;
use super::kinds::Resource;

/// The key of the claim of an address of a Service.
pub fn service_address(address: &str) -> String {
    format!("{REGISTRY}/berth/serviceips/{address}")
}

/// The key of the claim of a port on every node.
pub fn node_port(port: i64) -> String {
    format!("{REGISTRY}/berth/nodeports/{port}")
}

/// The keys of all claims of an object.
pub fn of(resource: &Resource, value: &Value) -> Vec<String> {
    if resource.plural != "services" {
        return Vec::new();
    }
    let spec = &value["spec"];
    let address = spec["clusterIP"].as_str().filter(|text| !matches!(*text, "" | "None"));
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|port| port["nodePort"].as_i64()).filter(|port| *port > 0);
    let mut keys: Vec<String> = address.map(service_address).into_iter().collect();
    // TCP and UDP may share a number: it is claimed once, as a transaction writes a key once.
    for key in ports.map(node_port) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
