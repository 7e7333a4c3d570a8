//! Ready endpoints as SkyDNS records: `/skydns/local/cluster/svc/<namespace>/<service>/<id>`, so
//! that whoever reads those (CoreDNS's `etcd` plugin, berth's own DNS) finds them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use super::super::model::{names, owners};
use super::Target;

/// Seconds that an answer lives; endpoints come and go.
const TTL_S: u32 = 30;

/// The prefix of all records of Services.
pub(super) fn root(domain: &str) -> String {
    let labels = domain.trim_matches('.').rsplit('.').filter(|label| !label.is_empty());
    let path: Vec<&str> = labels.collect();
    format!("/skydns/{}/svc/", path.join("/"))
}

pub(super) fn prefix(domain: &str, namespace: &str, service: &str) -> String {
    format!("{}{namespace}/{service}/", root(domain))
}

pub(super) fn wanted(
    service: &Service,
    targets: &[Target<'_>],
    domain: &str,
) -> BTreeMap<String, String> {
    let (namespace, name) = (owners::namespace(&service.metadata), owners::name(&service.metadata));
    let prefix = prefix(domain, namespace, name);
    let mut records = BTreeMap::new();
    for target in targets.iter().filter(|target| target.is_ready) {
        let host = &target.address;
        let mut add = |port: i32| {
            let id = names::short(&[host, &port.to_string()]);
            let record = json!({"host": host, "port": port, "ttl": TTL_S});
            records.insert(format!("{prefix}{id}"), record.to_string());
        };
        match target.ports.as_slice() {
            [] => add(0),
            ports => ports.iter().for_each(|port| add(port.number)),
        }
    }
    records
}

/// What leads from one to the other.
pub(super) fn changes(
    wanted: &BTreeMap<String, String>,
    seen: &BTreeMap<String, String>,
) -> Vec<(String, Option<String>)> {
    let puts = wanted
        .iter()
        .filter(|(key, value)| seen.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), Some(value.clone())));
    let gone = seen.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), None));
    puts.chain(gone).collect()
}
