//! The parts of Kubernetes' v1 Service and EndpointSlice documents that names are made of.

use std::net::IpAddr;

use serde::Deserialize;

/// The label by which a slice says whose endpoints it holds.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Of a Service's document.
const SERVICE: &str = "Service";
/// What stands in the place of a cluster address when there is none.
const HEADLESS: &str = "None";

/// Namespace and name.
pub(super) type Id = (String, String);

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Service {
    #[serde(default)]
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    labels: std::collections::HashMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default, rename = "clusterIP")]
    cluster_ip: String,
    #[serde(default, rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(default)]
    pub(super) external_name: String,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
    #[serde(default)]
    pub(super) publish_not_ready_addresses: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Port {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) port: Option<u16>,
    #[serde(default)]
    pub(super) protocol: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Slice {
    metadata: Metadata,
    #[serde(default)]
    pub(super) endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Endpoint {
    #[serde(default)]
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    pub(super) hostname: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

impl Service {
    /// Whether the document is one: Kubernetes has `Endpoints` of the same names beside them. One
    /// that says nothing is taken at its place's word.
    pub(super) fn is_service(&self) -> bool {
        self.kind.is_empty() || self.kind == SERVICE
    }

    pub(super) fn id(&self) -> Id {
        (self.metadata.namespace.clone(), self.metadata.name.clone())
    }

    /// Its addresses in the cluster; none if it is headless or has none yet.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let one = std::slice::from_ref(&self.spec.cluster_ip);
        let all = if self.spec.cluster_ips.is_empty() { one } else { &self.spec.cluster_ips };
        all.iter().filter_map(|address| address.parse().ok()).collect()
    }

    pub(super) fn is_headless(&self) -> bool {
        self.spec.cluster_ip == HEADLESS
    }
}

impl Slice {
    /// The Service that the endpoints are of.
    pub(super) fn service_id(&self) -> Option<Id> {
        let service = self.metadata.labels.get(SERVICE_NAME)?;
        Some((self.metadata.namespace.clone(), service.clone()))
    }
}

impl Endpoint {
    /// Nobody has said otherwise, as Kubernetes reads it.
    pub(super) fn is_ready(&self) -> bool {
        self.conditions.ready.unwrap_or(true)
    }
}

impl Port {
    /// `_http` and `_tcp`, if the port has a name.
    pub(super) fn labels(&self) -> Option<(String, String)> {
        let name = self.name.as_deref().filter(|name| !name.is_empty())?;
        let protocol = self.protocol.as_deref().unwrap_or("TCP");
        Some((format!("_{}", name.to_lowercase()), format!("_{}", protocol.to_lowercase())))
    }
}
