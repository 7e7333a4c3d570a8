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
    address.map(service_address).into_iter().chain(ports.map(node_port)).collect()
}
