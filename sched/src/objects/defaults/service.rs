//! Defaults of Services. Addresses and node ports are not defaults: they are claimed.

use serde_json::{Map, Value, json};

use super::{child, elements, fill};

pub(super) fn service(object: &mut Map<String, Value>) {
    if let Some(spec) = child(object, "spec") {
        fill_spec(spec);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "loadBalancer", json!({}));
    }
}

fn fill_spec(spec: &mut Map<String, Value>) {
    fill(spec, "type", "ClusterIP");
    fill(spec, "sessionAffinity", "None");
    for port in elements(spec, "ports") {
        fill(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            fill(port, "targetPort", number);
        }
    }
    if spec["type"] == "ExternalName" {
        return;
    }
    fill(spec, "ipFamilies", json!(["IPv4"]));
    fill(spec, "ipFamilyPolicy", "SingleStack");
    fill(spec, "internalTrafficPolicy", "Cluster");
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
}
