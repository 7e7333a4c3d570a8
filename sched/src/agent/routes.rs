//! Ways to the pods of other nodes: a route for each node's range, by the node's address.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;

use super::runtime::Cidr;
use super::runtime::runc::command::run;
use crate::objects::Mirror;

/// Marks our routes, so that those of an earlier run are known.
const PROTOCOL: &str = "98";

/// A range, and the address it is reached by.
type Routes = BTreeMap<String, String>;

/// Keeps the routes as the nodes are. Never returns.
pub(super) async fn keep(mut nodes: Mirror<Node>, own: &str) {
    nodes.synced().await;
    let mut there = left_behind().await;
    loop {
        let view = nodes.read();
        let others = view.values().filter(|node| node.metadata.name.as_deref() != Some(own));
        let wanted: Routes = others.filter_map(|node| route(&node.object)).collect();
        for range in there.keys().filter(|range| !wanted.contains_key(*range)) {
            report(run("ip", &["route", "delete", range, "proto", PROTOCOL]).await);
        }
        for (range, by) in wanted.iter().filter(|(range, by)| there.get(*range) != Some(*by)) {
            let replace = ["route", "replace", range, "via", by, "proto", PROTOCOL];
            report(run("ip", &replace).await);
        }
        there = wanted;
        nodes.changed().await;
    }
}

fn report(outcome: super::runtime::Result<String>) {
    // A node in another network has other ways, or none.
    if let Err(error) = outcome {
        tracing::warn!("cannot set a way to another node's pods: {error}");
    }
}

/// The way to a node's pods; `None`: it has told no range or no address.
fn route(node: &Node) -> Option<(String, String)> {
    let range = node.spec.as_ref()?.pod_cidr.clone()?;
    range.parse::<Cidr>().ok()?;
    let addresses = node.status.as_ref()?.addresses.as_deref()?;
    let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
    let by: std::net::Ipv4Addr = internal.address.parse().ok()?;
    (!by.is_loopback()).then(|| (range, by.to_string()))
}

async fn left_behind() -> Routes {
    let shown = run("ip", &["-4", "route", "show", "proto", PROTOCOL]).await.unwrap_or_default();
    let route = |line: &str| {
        let mut words = line.split_whitespace();
        let range = words.next()?.to_owned();
        (words.next()? == "via").then(|| Some((range, words.next()?.to_owned())))?
    };
    shown.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_leads_to_a_node_that_can_be_reached() {
        // Proves the way to a node's range, and that one which is incomplete, or on this very
        // machine, gets none.
        let node = |spec: serde_json::Value, address: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": {"name": "n"}, "spec": spec,
                "status": {"addresses": [{"type": "InternalIP", "address": address}]},
            }))
            .unwrap()
        };
        let range = json!({"podCIDR": "10.244.1.0/24"});
        let found = route(&node(range.clone(), "10.0.0.2"));
        assert_eq!(found, Some(("10.244.1.0/24".into(), "10.0.0.2".into())));
        assert_eq!(route(&node(range, "127.0.0.1")), None);
        assert_eq!(route(&node(json!({}), "10.0.0.2")), None);
        assert_eq!(route(&node(json!({"podCIDR": "; rm"}), "10.0.0.2")), None);
    }
}
