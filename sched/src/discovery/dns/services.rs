//! `<service>.service.<domain>`: passing instances of what is registered.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RecordType};

use super::address;
use super::outcome::Outcome;
use crate::discovery::catalog::Catalog;
use crate::discovery::layout::Status;
use crate::kv::follow::Change;

/// All instances are equally far.
const PRIORITY: u16 = 1;

/// The catalog, and from it what a question needs.
#[derive(Debug, Default)]
pub(super) struct Services {
    catalog: Catalog,
    passing: HashMap<String, Vec<Passing>>,
}

/// An instance that may be sent work.
#[derive(Debug)]
struct Passing {
    address: IpAddr,
    port: u16,
    weight: u16,
    tags: Vec<String>,
    lease: i64,
}

/// What is asked of a service.
pub(super) struct Question<'a> {
    pub(super) owner: &'a Name,
    pub(super) qtype: RecordType,
    /// Where SRV targets lie.
    pub(super) zone: &'a Name,
    /// The most seconds an answer lives, by the lease it rests on.
    pub(super) ttl_s: &'a dyn Fn(i64) -> u32,
}

impl Services {
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for service in self.take(changes) {
            self.rebuild(service);
        }
    }

    /// Returns the services that the changes are about: each is made anew once, since that takes as
    /// long as it has instances.
    fn take(&mut self, changes: &[Change]) -> HashSet<String> {
        changes.iter().filter_map(|change| self.catalog.apply(change)).collect()
    }

    fn rebuild(&mut self, service: String) {
        let is_passing =
            |entry: &crate::discovery::catalog::Entry| entry.status() == Status::Passing;
        let mut known = false;
        let instances = self.catalog.instances(&service).inspect(|_| known = true);
        let passing: Vec<Passing> = instances
            .filter(|(_, entry, _)| is_passing(entry))
            .map(|(_, _, registered)| Passing {
                address: registered.instance.address,
                port: registered.instance.port,
                weight: registered.instance.weight,
                tags: registered.instance.tags.iter().map(|tag| tag.to_lowercase()).collect(),
                lease: registered.lease,
            })
            .collect();
        // A service without a passing instance is a name without addresses, not no name.
        if known {
            self.passing.insert(service, passing);
        } else {
            self.passing.remove(&service);
        }
    }

    pub(super) fn malformed(&self) -> u64 {
        self.catalog.malformed()
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = i64> {
        self.passing.values().flatten().map(|passing| passing.lease)
    }

    pub(super) fn len(&self) -> usize {
        self.passing.len()
    }

    /// `name`: the labels below `service.<domain>`, the topmost first.
    pub(super) fn resolve(&self, name: &[String], question: &Question<'_>) -> Outcome {
        match name {
            [] => Outcome::empty(),
            // RFC 2782: `_web._tcp`, and `_web._blue` for a tag.
            [proto, service] if proto.starts_with('_') && service.starts_with('_') => {
                let tag = Some(&proto[1..]).filter(|proto| !matches!(*proto, "tcp" | "udp"));
                self.find(&service[1..], tag, question)
            }
            [service] => self.find(service, None, question),
            [service, tag] => self.find(service, Some(tag), question),
            _ => Outcome::none(),
        }
    }

    fn find(&self, service: &str, tag: Option<&str>, question: &Question<'_>) -> Outcome {
        let Some(passing) = self.passing.get(service) else { return Outcome::none() };
        let tagged = |passing: &&Passing| {
            tag.is_none_or(|tag| passing.tags.iter().any(|other| other == tag))
        };
        let mut outcome = Outcome::empty();
        for passing in passing.iter().filter(tagged) {
            passing.answer(question, &mut outcome);
        }
        outcome
    }
}

impl Passing {
    fn answer(&self, question: &Question<'_>, outcome: &mut Outcome) {
        let ttl_s = (question.ttl_s)(self.lease);
        if address::fits(question.qtype, self.address) {
            outcome.address(question.owner, ttl_s, self.address);
        }
        if matches!(question.qtype, RecordType::SRV | RecordType::ANY) {
            let target = target(self.address, question.zone);
            outcome.target_at(&target, ttl_s, &[self.address]);
            let srv = SRV::new(PRIORITY, self.weight, self.port, target);
            outcome.srv(question.owner, ttl_s, srv);
        }
    }
}

fn target(address: IpAddr, zone: &Name) -> Name {
    let name = Name::from_labels([address::label(address).as_bytes(), b"addr"]);
    // Both labels are short; a zone that is too long for them is too long for any name.
    name.and_then(|name| name.append_domain(zone)).unwrap_or_else(|_| zone.clone())
}

/// `<address>.addr.<domain>`.
pub(super) fn resolve_address(
    name: &[String],
    owner: &Name,
    qtype: RecordType,
    ttl_s: u32,
) -> Outcome {
    match name {
        [] => Outcome::empty(),
        [label] => {
            let Some(address) = address::parse(label) else { return Outcome::none() };
            let mut outcome = Outcome::empty();
            if address::fits(qtype, address) {
                outcome.address(owner, ttl_s, address);
            }
            outcome
        }
        _ => Outcome::none(),
    }
}

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn changes_that_come_together_make_a_service_anew_once() {
        // Proves that each service is counted once however many of its keys changed, and that what
        // is known afterwards is what the last change of each key says.
        let put = |key: &str, address: &str| {
            let value = format!(r#"{{"address":"{address}","port":80}}"#).into();
            Change::Put(KeyValue { key: key.to_owned().into(), value, ..KeyValue::default() })
        };
        let many: Vec<Change> =
            (0..200).map(|at| put(&format!("/services/web/{at}"), "10.0.0.1")).collect();
        let mut services = Services::default();
        assert_eq!(services.take(&many), HashSet::from(["web".to_owned()]));
        let delete = |key: &str| Change::Delete(key.to_owned().into());
        let mut changes: Vec<Change> =
            (1..200).map(|at| delete(&format!("/services/web/{at}"))).collect();
        changes.push(put("/services/db/1", "10.0.0.2"));
        changes.push(put("/services/web/0", "10.0.0.3"));
        changes.push(delete("/services/db/1"));
        services.apply(&changes);
        assert_eq!(services.len(), 1, "db has come and gone");
        let addresses: Vec<IpAddr> =
            services.passing["web"].iter().map(|one| one.address).collect();
        assert_eq!(addresses, ["10.0.0.3".parse::<IpAddr>().unwrap()]);
    }
}
