//! Addresses that users name as endpoints: the proxy of every node connects to them, and what a node
//! offers to itself alone is nobody else's.

use std::net::IpAddr;

use serde_json::Value;

use super::super::status::FieldError;

pub(super) fn check(plural: &str, value: &Value, errors: &mut Vec<FieldError>) {
    if plural == "endpointslices" {
        for (at, endpoint) in list(&value["endpoints"]).enumerate() {
            for (nth, address) in list(&endpoint["addresses"]).enumerate() {
                check_one(format!("endpoints[{at}].addresses[{nth}]"), address, errors);
            }
        }
        return;
    }
    for (at, subset) in list(&value["subsets"]).enumerate() {
        for field in ["addresses", "notReadyAddresses"] {
            for (nth, address) in list(&subset[field]).enumerate() {
                check_one(format!("subsets[{at}].{field}[{nth}].ip"), &address["ip"], errors);
            }
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn check_one(path: String, address: &Value, errors: &mut Vec<FieldError>) {
    let parsed = address.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    if parsed.is_some_and(|address| is_of_the_node_alone(address.to_canonical())) {
        let why = "may not be a loopback, link-local, unspecified or multicast address";
        errors.push(FieldError::invalid(path, address, why));
    }
}

fn is_of_the_node_alone(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nobody_reaches_what_a_node_has_for_itself() {
        // Proves that both kinds are looked at, IPv4 in IPv6 too, and that other addresses may be.
        let refused = |plural: &str, value: Value| {
            let mut errors = Vec::new();
            check(plural, &value, &mut errors);
            errors.len()
        };
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"] {
            let slice =
                json!({"endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": [address]}]});
            assert_eq!(refused("endpointslices", slice), 1, "{address}");
            let endpoints = json!({"subsets": [{"addresses": [{"ip": address}]}]});
            assert_eq!(refused("endpoints", endpoints), 1, "{address}");
        }
        let fine = json!({"endpoints": [{"addresses": ["10.0.0.1", "fd00::1"]}]});
        assert_eq!(refused("endpointslices", fine), 0);
    }
}
