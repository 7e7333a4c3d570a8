//! From SkyDNS records to answers, type by type, as CoreDNS makes them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use hickory_proto::rr::rdata::{PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::address;
use super::outcome::Outcome;
use super::skydns::Found;
use super::view::View;
use super::zone::Zone;

/// A share for a record without one, before shares are made comparable.
const WEIGHT: u16 = 100;
/// What one text of a TXT record holds.
const TEXT_BYTES_MAX: usize = 255;

/// What is asked, and where.
pub(super) struct Question<'a> {
    pub(super) view: &'a View,
    pub(super) zones: &'a [Zone],
    pub(super) qtype: RecordType,
}

impl Question<'_> {
    /// `name`: all labels, the topmost first.
    pub(super) fn resolve(&self, name: &[String], owner: &Name) -> Outcome {
        let exact = self.qtype == RecordType::PTR;
        let Some(found) = self.view.skydns.find(name, self.qtype, exact) else {
            return Outcome::none();
        };
        let mut outcome = Outcome::empty();
        match self.qtype {
            RecordType::A | RecordType::AAAA | RecordType::ANY => {
                self.addresses(&found, owner, &mut outcome);
            }
            RecordType::SRV => self.service_records(&found, owner, &mut outcome),
            RecordType::CNAME => self.aliases(&found, owner, &mut outcome),
            RecordType::TXT => self.texts(&found, owner, &mut outcome),
            RecordType::PTR => self.pointers(&found, owner, &mut outcome),
            _ => {}
        }
        outcome
    }

    fn ttl_s(&self, found: &Found<'_>) -> u32 {
        self.view.ttl_s(found.record.lease, found.record.ttl_s())
    }

    fn addresses(&self, found: &[Found<'_>], owner: &Name, outcome: &mut Outcome) {
        for found in found {
            match host(found) {
                Host::Address(address) if address::fits(self.qtype, address) => {
                    outcome.address(owner, self.ttl_s(found), address);
                }
                // One that leads nowhere in our own zones is left out.
                Host::Name(target) => outcome.alias(owner, self.ttl_s(found), target, false),
                _ => {}
            }
        }
    }

    fn service_records(&self, found: &[Found<'_>], owner: &Name, outcome: &mut Outcome) {
        let mut sums: HashMap<u16, u32> = HashMap::new();
        let weight = |found: &Found<'_>| match found.record.weight {
            0 => WEIGHT,
            weight => weight,
        };
        for found in found {
            *sums.entry(found.record.priority()).or_default() += u32::from(weight(found));
        }
        let mut told = HashSet::new();
        for found in found {
            let sum = sums[&found.record.priority()].max(1);
            // Hundredths of the whole, as records of the plugin are.
            let share = (100 * u32::from(weight(found)) / sum).max(1);
            let share = u16::try_from(share).unwrap_or(u16::MAX);
            let (ttl_s, port) = (self.ttl_s(found), found.record.port);
            let target = match host(found) {
                Host::Address(address) => {
                    let target = stripped(self.domain(found), found.record.targetstrip);
                    outcome.target_at(&target, ttl_s, &[address]);
                    // Stripped names may be the same: one port of one name is told once.
                    if !told.insert((target.clone(), port)) {
                        continue;
                    }
                    target
                }
                Host::Name(target) => {
                    let target = stripped(target, found.record.targetstrip);
                    outcome.targets.push(target.clone());
                    target
                }
                Host::None => continue,
            };
            outcome.srv(owner, ttl_s, SRV::new(found.record.priority(), share, port, target));
        }
    }

    /// The name of a record's path.
    fn domain(&self, found: &Found<'_>) -> Name {
        name(found.path.iter().rev().copied()).unwrap_or_else(|| self.zones[0].name.clone())
    }

    fn aliases(&self, found: &[Found<'_>], owner: &Name, outcome: &mut Outcome) {
        // One at most: a name has one alias.
        if let Some((found, target)) = found.iter().find_map(|found| match host(found) {
            Host::Name(target) => Some((found, target)),
            _ => None,
        }) {
            outcome.cname(owner, self.ttl_s(found), target);
        }
    }

    fn texts(&self, found: &[Found<'_>], owner: &Name, outcome: &mut Outcome) {
        for found in found.iter().filter(|found| !found.record.text.is_empty()) {
            let chunks = found.record.text.as_bytes().chunks(TEXT_BYTES_MAX).collect();
            let rdata = RData::TXT(TXT::from_bytes(chunks));
            outcome.answers.push(Record::from_rdata(owner.clone(), self.ttl_s(found), rdata));
        }
    }

    fn pointers(&self, found: &[Found<'_>], owner: &Name, outcome: &mut Outcome) {
        for found in found {
            if let Host::Name(target) = host(found) {
                let rdata = RData::PTR(PTR(target));
                outcome.answers.push(Record::from_rdata(owner.clone(), self.ttl_s(found), rdata));
            }
        }
    }
}

/// A name without so many labels on the left; the whole name if nothing would be left of it.
fn stripped(name: Name, labels: usize) -> Name {
    let kept = name.iter().len().saturating_sub(labels);
    if labels == 0 || kept == 0 {
        return name;
    }
    let mut rest = name.trim_to(kept);
    rest.set_fqdn(true);
    rest
}

enum Host {
    Address(IpAddr),
    Name(Name),
    None,
}

fn host(found: &Found<'_>) -> Host {
    if let Ok(address) = found.record.host.parse() {
        return Host::Address(address);
    }
    match name(found.record.host.trim_end_matches('.').split('.')) {
        Some(name) => Host::Name(name),
        None => Host::None,
    }
}

fn name<'a>(labels: impl IntoIterator<Item = &'a str>) -> Option<Name> {
    let mut name = Name::from_labels(labels.into_iter().map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name.to_lowercase())
}
