//! Ports of the node that lead to pods on it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;

use super::pod::spec;
use crate::proxy::{HostPort, Listen, Protocol};

/// The host ports of a pod that has an address and may still serve. One in the node's own network
/// listens by itself.
pub(super) fn of(pod: &Pod) -> Vec<HostPort> {
    let status = pod.status.as_ref();
    let address = status.and_then(|status| status.pod_ip.as_deref()?.parse::<IpAddr>().ok());
    let is_over = status
        .is_some_and(|status| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")));
    let Some(address) = address.filter(|_| !is_over && !spec::is_host_network(pod)) else {
        return Vec::new();
    };
    let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
    let ports = spec::mains(pod).iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let given = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            let on = given.unwrap_or(IpAddr::from(Ipv4Addr::UNSPECIFIED));
            Some(HostPort {
                listen: Listen {
                    protocol: Protocol::new(port.protocol.as_deref())?,
                    address: SocketAddr::new(on, number(port.host_port?)?),
                },
                target: SocketAddr::new(address, number(port.container_port)?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn host_ports_lead_to_the_pod_as_long_as_it_may_serve() {
        // Proves the port's addresses, and that a pod without one, or that is over, has none.
        let pod = |status: serde_json::Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "web"},
                "spec": {"containers": [{"name": "c", "image": "x", "ports": [
                    {"containerPort": 80, "hostPort": 8080}, {"containerPort": 81},
                ]}]},
                "status": status,
            }))
            .unwrap()
        };
        let found = of(&pod(json!({"podIP": "10.244.0.2", "phase": "Running"})));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].listen.to_string(), "tcp://0.0.0.0:8080");
        assert_eq!(found[0].target.to_string(), "10.244.0.2:80");
        assert_eq!(of(&pod(json!({"phase": "Pending"}))), []);
        assert_eq!(of(&pod(json!({"podIP": "10.244.0.2", "phase": "Failed"}))), []);
    }
}
