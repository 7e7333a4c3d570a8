//! `<service>.<namespace>.svc.<domain>`: the orchestrator's Services, as Kubernetes' DNS
//! specification (1.1) has them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use api::mvccpb::KeyValue;
use bytes::Bytes;
use hickory_proto::rr::rdata::{PTR, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::address;
use super::cluster_model::{Id, Service, Slice};
use super::outcome::Outcome;
use crate::discovery::catalog::Malformed;
use crate::kv::follow::Change;

/// v1 Services as JSON documents; what is of another kind is passed over.
pub(super) const SERVICES: &str = "/registry/services/";
/// discovery.k8s.io/v1 EndpointSlices as JSON documents.
pub(super) const SLICES: &str = "/registry/endpointslices/";

/// What CoreDNS gives to records that name no order.
const PRIORITY: u16 = 0;
const WEIGHT: u16 = 100;

/// All Services and slices, and the names that they make.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    services: HashMap<Bytes, Service>,
    keys: HashMap<Id, Bytes>,
    slices: HashMap<Bytes, Slice>,
    slices_of: HashMap<Id, Vec<Bytes>>,
    names: HashMap<String, HashMap<String, Names>>,
    reverse: HashMap<IpAddr, BTreeMap<Id, String>>,
    malformed: Malformed,
}

/// The names of one Service.
#[derive(Debug, Default)]
struct Names {
    addresses: Vec<IpAddr>,
    /// Endpoints of a headless Service by host name, or by their address spelt out.
    hosts: BTreeMap<String, Vec<IpAddr>>,
    ports: Vec<NamedPort>,
    /// A name that this one is an alias of, whether or not there is such a name.
    external: Option<Name>,
    is_headless: bool,
}

#[derive(Debug)]
struct NamedPort {
    /// `_http` and `_tcp`.
    labels: (String, String),
    port: u16,
}

impl Cluster {
    pub(super) fn apply_services(&mut self, changes: &[Change]) {
        for id in self.take_services(changes) {
            self.rebuild(id);
        }
    }

    pub(super) fn apply_slices(&mut self, changes: &[Change]) {
        for id in self.take_slices(changes) {
            self.rebuild(id);
        }
    }

    /// Returns the Services that the changes are about: each is made anew once, since that takes as
    /// long as it has endpoints.
    fn take_services(&mut self, changes: &[Change]) -> HashSet<Id> {
        let mut touched = HashSet::new();
        for change in changes {
            let key = change.key();
            if let Some(id) = self.services.remove(key).map(|before| before.id()) {
                if self.keys.get(&id) == Some(key) {
                    self.keys.remove(&id);
                }
                touched.insert(id);
            }
            let service = self.read::<Service>(change).filter(Service::is_service);
            let Some(service) = service else { continue };
            let id = service.id();
            self.keys.insert(id.clone(), key.clone());
            self.services.insert(key.clone(), service);
            touched.insert(id);
        }
        touched
    }

    /// As [`Self::take_services`].
    fn take_slices(&mut self, changes: &[Change]) -> HashSet<Id> {
        let mut touched = HashSet::new();
        for change in changes {
            let key = change.key();
            if let Some(id) = self.slices.remove(key).and_then(|before| before.service_id()) {
                if let Some(keys) = self.slices_of.get_mut(&id) {
                    keys.retain(|other| other != key);
                }
                touched.insert(id);
            }
            let Some(slice) = self.read::<Slice>(change) else { continue };
            if let Some(id) = slice.service_id() {
                self.slices_of.entry(id.clone()).or_default().push(key.clone());
                touched.insert(id);
            }
            self.slices.insert(key.clone(), slice);
        }
        touched
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self, change: &Change) -> Option<T> {
        let Change::Put(KeyValue { value, .. }) = change else {
            self.malformed.note(change, None);
            return None;
        };
        let parsed = serde_json::from_slice(value);
        let reason = parsed.as_ref().err().map(ToString::to_string);
        self.malformed.note(change, reason.as_deref());
        parsed.ok()
    }

    /// Makes the names of one Service anew.
    fn rebuild(&mut self, id: Id) {
        self.forget(&id);
        let service = self.keys.get(&id).and_then(|key| self.services.get(key));
        let Some(service) = service else {
            if self.slices_of.get(&id).is_some_and(Vec::is_empty) {
                self.slices_of.remove(&id);
            }
            return;
        };
        let slices = self.slices_of.get(&id).into_iter().flatten();
        let slices: Vec<&Slice> = slices.filter_map(|key| self.slices.get(key)).collect();
        let names = Names::new(service, &slices);
        for (host, address) in names.reversible() {
            self.reverse.entry(address).or_default().insert(id.clone(), host);
        }
        let (namespace, name) = id;
        self.names.entry(namespace).or_default().insert(name, names);
    }

    fn forget(&mut self, id: &Id) {
        let Some(namespace) = self.names.get_mut(&id.0) else { return };
        let Some(names) = namespace.remove(&id.1) else { return };
        if namespace.is_empty() {
            self.names.remove(&id.0);
        }
        for (_, address) in names.reversible() {
            if let Some(owners) = self.reverse.get_mut(&address) {
                owners.remove(id);
                if owners.is_empty() {
                    self.reverse.remove(&address);
                }
            }
        }
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed.count
    }

    pub(super) fn len(&self) -> usize {
        self.names.values().map(HashMap::len).sum()
    }

    /// `name`: the labels below `svc.<domain>`, the topmost first. `zone`: the domain.
    pub(super) fn resolve(
        &self,
        name: &[String],
        owner: &Name,
        qtype: RecordType,
        zone: &Name,
        ttl_s: u32,
    ) -> Outcome {
        let Some((namespace, rest)) = name.split_first() else { return Outcome::empty() };
        let Some(services) = self.names.get(namespace) else { return Outcome::none() };
        let Some((service, rest)) = rest.split_first() else { return Outcome::empty() };
        let Some(names) = services.get(service) else { return Outcome::none() };
        let base = base(service, namespace, zone);
        match rest {
            [] => names.resolve(owner, qtype, &base, ttl_s),
            [proto, port] if proto.starts_with('_') && port.starts_with('_') => {
                names.resolve_port(port, proto, owner, qtype, &base, ttl_s)
            }
            [proto] if matches!(proto.as_str(), "_tcp" | "_udp" | "_sctp") => Outcome::empty(),
            [host] => names.resolve_host(host, owner, qtype, ttl_s),
            _ => Outcome::none(),
        }
    }

    /// The name of an address of the cluster.
    pub(super) fn resolve_reverse(
        &self,
        address: IpAddr,
        owner: &Name,
        qtype: RecordType,
        zone: &Name,
        ttl_s: u32,
    ) -> Option<Outcome> {
        let owners = self.reverse.get(&address)?;
        let mut outcome = Outcome::empty();
        if !matches!(qtype, RecordType::PTR | RecordType::ANY) {
            return Some(outcome);
        }
        for ((namespace, service), host) in owners {
            let base = base(service, namespace, zone);
            let name = if host.is_empty() { base } else { below(host, &base) };
            let rdata = RData::PTR(PTR(name));
            outcome.answers.push(Record::from_rdata(owner.clone(), ttl_s, rdata));
        }
        Some(outcome)
    }
}

/// `<service>.<namespace>.svc.<domain>`.
fn base(service: &str, namespace: &str, zone: &Name) -> Name {
    let labels = [service.as_bytes(), namespace.as_bytes(), b"svc"];
    let name = Name::from_labels(labels).and_then(|name| name.append_domain(zone));
    // The question had these very labels.
    name.unwrap_or_else(|_| zone.clone())
}

fn below(label: &str, base: &Name) -> Name {
    base.prepend_label(label.as_bytes()).unwrap_or_else(|_| base.clone())
}

impl Names {
    fn new(service: &Service, slices: &[&Slice]) -> Self {
        let is_headless = service.is_headless();
        let mut names = Self {
            addresses: service.addresses(),
            is_headless,
            external: Name::from_ascii(&service.spec.external_name)
                .ok()
                .filter(|_| !service.spec.external_name.is_empty())
                .map(|mut name| {
                    name.set_fqdn(true);
                    name
                }),
            ..Self::default()
        };
        let slice_ports = slices.iter().flat_map(|slice| &slice.ports);
        let ports: Vec<_> = match is_headless {
            // A headless Service is reached at the endpoints' ports.
            true if !slices.is_empty() => slice_ports.collect(),
            _ => service.spec.ports.iter().collect(),
        };
        for port in ports {
            names.add_port(port.labels(), port.port);
        }
        if is_headless {
            for slice in slices {
                names.add_endpoints(slice, service.spec.publish_not_ready_addresses);
            }
        }
        names
    }

    fn add_port(&mut self, labels: Option<(String, String)>, port: Option<u16>) {
        let (Some(labels), Some(port)) = (labels, port) else { return };
        if !self.ports.iter().any(|known| known.labels == labels && known.port == port) {
            self.ports.push(NamedPort { labels, port });
        }
    }

    fn add_endpoints(&mut self, slice: &Slice, not_ready_too: bool) {
        let endpoints = slice.endpoints.iter();
        for endpoint in endpoints.filter(|endpoint| not_ready_too || endpoint.is_ready()) {
            for address in endpoint.addresses.iter().filter_map(|address| address.parse().ok()) {
                let host = match endpoint.hostname.as_deref() {
                    Some(hostname) if !hostname.is_empty() => hostname.to_lowercase(),
                    _ => address::label(address),
                };
                self.hosts.entry(host).or_default().push(address);
                self.addresses.push(address);
            }
        }
    }

    /// Host (empty: the Service itself) and address of all that has a name.
    fn reversible(&self) -> Vec<(String, IpAddr)> {
        if !self.is_headless {
            return self.addresses.iter().map(|address| (String::new(), *address)).collect();
        }
        let hosts = self.hosts.iter();
        hosts.flat_map(|(host, all)| all.iter().map(|address| (host.clone(), *address))).collect()
    }

    fn resolve(&self, owner: &Name, qtype: RecordType, base: &Name, ttl_s: u32) -> Outcome {
        let mut outcome = Outcome::empty();
        if let Some(external) = &self.external {
            match qtype {
                RecordType::CNAME => outcome.cname(owner, ttl_s, external.clone()),
                _ => outcome.alias(owner, ttl_s, external.clone(), true),
            }
            return outcome;
        }
        for address in self.addresses.iter().filter(|address| address::fits(qtype, **address)) {
            outcome.address(owner, ttl_s, *address);
        }
        if qtype == RecordType::SRV {
            for port in &self.ports {
                self.service_records(port.port, owner, base, ttl_s, &mut outcome);
            }
        }
        outcome
    }

    fn resolve_host(&self, host: &str, owner: &Name, qtype: RecordType, ttl_s: u32) -> Outcome {
        // Of one address there are several spellings: CoreDNS has the short form of IPv6.
        let spelt = || self.hosts.get(&address::label(address::parse(host)?));
        let Some(addresses) = self.hosts.get(host).or_else(spelt) else { return Outcome::none() };
        let mut outcome = Outcome::empty();
        for address in addresses.iter().filter(|address| address::fits(qtype, **address)) {
            outcome.address(owner, ttl_s, *address);
        }
        outcome
    }

    fn resolve_port(
        &self,
        port: &str,
        proto: &str,
        owner: &Name,
        qtype: RecordType,
        base: &Name,
        ttl_s: u32,
    ) -> Outcome {
        let asked = |known: &&NamedPort| known.labels.0 == port && known.labels.1 == proto;
        let mut found = self.ports.iter().filter(asked).peekable();
        if found.peek().is_none() {
            return Outcome::none();
        }
        let mut outcome = Outcome::empty();
        if matches!(qtype, RecordType::SRV | RecordType::ANY) {
            for port in found {
                self.service_records(port.port, owner, base, ttl_s, &mut outcome);
            }
        }
        outcome
    }

    fn service_records(
        &self,
        port: u16,
        owner: &Name,
        base: &Name,
        ttl_s: u32,
        outcome: &mut Outcome,
    ) {
        if !self.is_headless {
            let srv = SRV::new(PRIORITY, WEIGHT, port, base.clone());
            outcome.srv(owner, ttl_s, srv);
            outcome.target_at(base, ttl_s, &self.addresses);
            return;
        }
        for (host, addresses) in &self.hosts {
            let target = below(host, base);
            outcome.target_at(&target, ttl_s, addresses);
            outcome.srv(owner, ttl_s, SRV::new(PRIORITY, WEIGHT, port, target));
        }
    }
}

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;

    use super::*;

    fn put(key: &str, value: String) -> Change {
        let (key, value) = (key.to_owned().into(), value.into());
        Change::Put(KeyValue { key, value, ..KeyValue::default() })
    }

    fn service(key: &str, address: &str) -> Change {
        let value = format!(
            r#"{{"metadata":{{"name":"web","namespace":"shop"}},"spec":{{"clusterIP":"{address}"}}}}"#
        );
        put(key, value)
    }

    fn slice(key: &str, address: &str) -> Change {
        let value = format!(
            r#"{{"metadata":{{"name":"{key}","namespace":"shop","labels":{{"kubernetes.io/service-name":"web"}}}},
                "endpoints":[{{"addresses":["{address}"]}}]}}"#
        );
        put(key, value)
    }

    fn addresses(cluster: &Cluster) -> Option<&[IpAddr]> {
        Some(&cluster.names.get("shop")?.get("web")?.addresses)
    }

    #[test]
    fn endpoints_beside_a_service_are_not_taken_for_it() {
        // Proves that Kubernetes' own layout works, where Endpoints lie below the same prefix, and
        // that they are no malformed documents either.
        let document = |kind: &str, rest: &str| {
            let metadata = r#""metadata":{"name":"web","namespace":"shop"}"#;
            format!(r#"{{"kind":"{kind}","apiVersion":"v1",{metadata},{rest}}}"#)
        };
        let spec = document("Service", r#""spec":{"clusterIP":"10.0.0.1"}"#);
        let subsets = r#""subsets":[{"addresses":[{"ip":"10.1.0.1"}]}]"#;
        let endpoints = "/registry/services/endpoints/shop/web";
        let mut cluster = Cluster::default();
        cluster.apply_services(&[put("/registry/services/specs/shop/web", spec)]);
        cluster.apply_services(&[put(endpoints, document("Endpoints", subsets))]);
        let address = ["10.0.0.1".parse().unwrap()];
        assert_eq!(addresses(&cluster), Some(&address[..]));
        cluster.apply_services(&[Change::Delete(endpoints.into())]);
        assert_eq!(addresses(&cluster), Some(&address[..]));
        assert_eq!(cluster.malformed(), 0);
    }

    #[test]
    fn changes_that_come_together_make_a_service_anew_once() {
        // Proves that a Service is counted once however many of its slices changed, that nothing is
        // kept of what is gone, and that the older of two documents for a Service may go.
        let id = || HashSet::from([("shop".to_owned(), "web".to_owned())]);
        let mut cluster = Cluster::default();
        let (one, other) = ("/registry/services/a", "/registry/services/b");
        cluster.apply_services(&[service(one, "None")]);
        let slices: Vec<Change> =
            (0..100).map(|at| slice(&format!("s{at}"), &format!("10.0.0.{at}"))).collect();
        assert_eq!(cluster.take_slices(&slices), id());
        cluster.apply_slices(&slices[..1]);
        assert_eq!(addresses(&cluster).unwrap().len(), 100);
        let gone: Vec<Change> =
            slices.iter().map(|slice| Change::Delete(slice.key().clone())).collect();
        cluster.apply_slices(&gone);
        assert_eq!(addresses(&cluster).unwrap().len(), 0);
        assert!(cluster.reverse.is_empty() && cluster.slices.is_empty());

        let both = [service(one, "10.0.0.1"), service(other, "10.0.0.2")];
        assert_eq!(cluster.take_services(&both), id());
        cluster.apply_services(&[Change::Delete(one.into())]);
        assert_eq!(addresses(&cluster), Some(&["10.0.0.2".parse().unwrap()][..]));
        cluster.apply_services(&[Change::Delete(other.into())]);
        assert_eq!(addresses(&cluster), None);
        assert!(cluster.keys.is_empty() && cluster.services.is_empty());
        assert!(cluster.slices_of.is_empty());
    }
}
