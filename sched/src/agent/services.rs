//! Variables that tell containers of the services in their namespace.

use k8s_openapi::api::core::v1::{Pod, Service};

use super::pod::spec;
use crate::objects::View;

/// `WEB_SERVICE_HOST`, `WEB_SERVICE_PORT` and the others, for services that have an address. Those
/// of the API server are always there.
pub(super) fn variables(services: &View<Service>, pod: &Pod) -> Vec<(String, String)> {
    let links = spec::spec(pod).and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let mut variables = Vec::new();
    if let Some(api) = services.get("default", "kubernetes") {
        variables.extend(of_service(api));
    }
    if links {
        variables
            .extend(services.in_namespace(spec::namespace(pod)).flat_map(|one| of_service(one)));
    }
    variables
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.as_ref();
    let address = spec.and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    if address.is_empty() || address == "None" {
        return Vec::new();
    }
    let upper = |name: &str| name.to_uppercase().replace(['-', '.'], "_");
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let mut variables = vec![(format!("{name}_SERVICE_HOST"), address.to_owned())];
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let (lower, number) = (protocol.to_lowercase(), port.port);
        let url = format!("{lower}://{address}:{number}");
        if index == 0 {
            variables.push((format!("{name}_SERVICE_PORT"), number.to_string()));
            variables.push((format!("{name}_PORT"), url.clone()));
        }
        if let Some(own) = port.name.as_deref().filter(|own| !own.is_empty()) {
            variables.push((format!("{name}_SERVICE_PORT_{}", upper(own)), number.to_string()));
        }
        let prefix = format!("{name}_PORT_{number}_{}", protocol.to_uppercase());
        variables.push((prefix.clone(), url));
        variables.push((format!("{prefix}_PROTO"), lower));
        variables.push((format!("{prefix}_PORT"), number.to_string()));
        variables.push((format!("{prefix}_ADDR"), address.to_owned()));
    }
    variables
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_are_told_as_kubernetes_tells_them() {
        // Proves names, ports and the older form, and that a headless service is not told.
        let service = |address: &str| -> Service {
            serde_json::from_value(json!({
                "metadata": {"name": "my-db"},
                "spec": {"clusterIP": address, "ports": [{"name": "sql", "port": 5432}]},
            }))
            .unwrap()
        };
        let found: std::collections::BTreeMap<_, _> =
            of_service(&service("10.96.0.7")).into_iter().collect();
        let get = |name: &str| found.get(name).map(String::as_str);
        assert_eq!(get("MY_DB_SERVICE_HOST"), Some("10.96.0.7"));
        assert_eq!(
            (get("MY_DB_SERVICE_PORT"), get("MY_DB_SERVICE_PORT_SQL")),
            (Some("5432"), Some("5432"))
        );
        assert_eq!(get("MY_DB_PORT_5432_TCP"), Some("tcp://10.96.0.7:5432"));
        assert_eq!(of_service(&service("None")), []);
    }
}
