//! From a question to an outcome. Pure: it reads the view and nothing else.

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::outcome::Outcome;
use super::services::{self, Question};
use super::view::View;
use super::zone::{Zone, labels};
use super::{address, skydns_names};

/// Which version of Kubernetes' DNS specification `<svc>.<ns>.svc` follows.
const CLUSTER_DNS_VERSION: &str = "1.1.0";

/// The outcome for a name in one of `zones`, and that zone; `None`: the name is not ours. `owner`
/// is the name as it was asked for.
pub(super) fn resolve<'z>(
    view: &View,
    zones: &'z [Zone],
    owner: &Name,
    qtype: RecordType,
    ttl_s: u32,
) -> Option<(&'z Zone, Outcome)> {
    let labels = labels(owner);
    if let Some(reverse) = address::of_reverse(owner) {
        let zone = &zones[0];
        let cluster = view.cluster.resolve_reverse(reverse, owner, qtype, &zone.name, ttl_s);
        let sky = || skydns_names::Question { view, zones, qtype }.resolve(&labels, owner);
        let outcome = cluster.unwrap_or_else(sky);
        // Other addresses are for others to know.
        return outcome.exists.then_some((zone, outcome));
    }
    let (zone, below) = zones.iter().find_map(|zone| Some((zone, zone.below(&labels)?)))?;
    let asked = Asked { view, zones, zone, owner, qtype, ttl_s };
    let mut outcome = asked.resolve(below);
    if !outcome.exists {
        outcome = skydns_names::Question { view, zones, qtype }.resolve(&labels, owner);
    }
    Some((zone, outcome))
}

struct Asked<'a> {
    view: &'a View,
    zones: &'a [Zone],
    zone: &'a Zone,
    owner: &'a Name,
    qtype: RecordType,
    ttl_s: u32,
}

impl Asked<'_> {
    fn resolve(&self, below: &[String]) -> Outcome {
        let Some((kind, rest)) = below.split_first() else { return Outcome::empty() };
        match kind.as_str() {
            "service" => {
                let ttl_s = |lease| self.view.ttl_s(lease, self.ttl_s);
                let question = Question {
                    owner: self.owner,
                    qtype: self.qtype,
                    zone: &self.zones[0].name,
                    ttl_s: &ttl_s,
                };
                self.view.services.resolve(rest, &question)
            }
            "addr" => services::resolve_address(rest, self.owner, self.qtype, self.ttl_s),
            "svc" => {
                let zone = &self.zone.name;
                self.view.cluster.resolve(rest, self.owner, self.qtype, zone, self.ttl_s)
            }
            "pod" => self.pod(rest),
            "dns-version" if rest.is_empty() => self.version(),
            _ => Outcome::none(),
        }
    }

    /// `<address>.<namespace>.pod`: the name is the answer.
    fn pod(&self, rest: &[String]) -> Outcome {
        match rest {
            [] | [_] => Outcome::empty(),
            [_, label @ ..] => services::resolve_address(label, self.owner, self.qtype, self.ttl_s),
        }
    }

    fn version(&self) -> Outcome {
        let mut outcome = Outcome::empty();
        if self.qtype == RecordType::TXT {
            let rdata = RData::TXT(TXT::new(vec![CLUSTER_DNS_VERSION.to_owned()]));
            outcome.answers.push(Record::from_rdata(self.owner.clone(), self.ttl_s, rdata));
        }
        outcome
    }
}
