//! From a question to an outcome. Pure: it reads the view and nothing else.

use std::collections::HashSet;
use std::mem;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::outcome::{Alias, Outcome, RECORDS_MAX};
use super::services::{self, Question};
use super::view::View;
use super::zone::{Zone, labels};
use super::{address, skydns_names};

/// Which version of Kubernetes' DNS specification `<svc>.<ns>.svc` follows.
const CLUSTER_DNS_VERSION: &str = "1.1.0";

/// Names that are followed for one question.
const FOLLOWED_MAX: usize = 256;

/// The outcome for a name in one of `zones`, and that zone; `None`: the name is not ours. `owner`
/// is the name as it was asked for.
pub(super) fn resolve<'z>(
    view: &View,
    zones: &'z [Zone],
    owner: &Name,
    qtype: RecordType,
    ttl_s: u32,
) -> Option<(&'z Zone, Outcome)> {
    let mut trail = Trail::default();
    trail.step(owner, qtype);
    Resolver { view, zones, qtype, ttl_s }.resolve(owner, &mut trail)
}

/// The way of one question: each name is followed once, so that a circle ends, and a web of
/// aliases costs no more than its names.
#[derive(Default)]
struct Trail {
    followed: HashSet<(Name, RecordType)>,
    records: usize,
}

impl Trail {
    /// Whether to go on to this name.
    fn step(&mut self, name: &Name, qtype: RecordType) -> bool {
        self.followed.len() < FOLLOWED_MAX
            && self.records < RECORDS_MAX
            && self.followed.insert((name.clone(), qtype))
    }
}

/// What a question is answered from.
#[derive(Clone, Copy)]
struct Resolver<'v, 'z> {
    view: &'v View,
    zones: &'z [Zone],
    qtype: RecordType,
    ttl_s: u32,
}

impl<'z> Resolver<'_, 'z> {
    /// A name, and what it leads to.
    fn resolve(&self, owner: &Name, trail: &mut Trail) -> Option<(&'z Zone, Outcome)> {
        let (zone, mut outcome) = self.look_up(owner)?;
        trail.records += outcome.answers.len();
        for alias in mem::take(&mut outcome.aliases) {
            self.follow(alias, &mut outcome, trail);
        }
        for target in mem::take(&mut outcome.targets) {
            self.add_addresses(&target, &mut outcome, trail);
        }
        Some((zone, outcome))
    }

    fn follow(&self, alias: Alias, outcome: &mut Outcome, trail: &mut Trail) {
        let Alias { record, target, may_dangle } = alias;
        let goes_on = trail.step(&target, self.qtype);
        match goes_on.then(|| self.resolve(&target, trail)) {
            Some(None) => {
                outcome.answers.push(record);
                outcome.elsewhere.push(target);
            }
            Some(Some((_, next))) if may_dangle || next.leads_somewhere() => {
                outcome.answers.push(record);
                outcome.answers.extend(next.answers);
                outcome.extra.extend(next.extra);
                outcome.elsewhere.extend(next.elsewhere);
            }
            None if may_dangle => outcome.answers.push(record),
            _ => {}
        }
    }

    /// Where the target of a service record is, if it is one of ours.
    fn add_addresses(&self, target: &Name, outcome: &mut Outcome, trail: &mut Trail) {
        for qtype in [RecordType::A, RecordType::AAAA] {
            if trail.step(target, qtype)
                && let Some((_, found)) = (Self { qtype, ..*self }).resolve(target, trail)
                && found.leads_somewhere()
            {
                outcome.add_extra(found.answers);
            }
        }
    }

    /// What is known of the name itself.
    fn look_up(&self, owner: &Name) -> Option<(&'z Zone, Outcome)> {
        let Self { view, zones, qtype, ttl_s } = *self;
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

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;

    use super::*;
    use crate::discovery::dns::view::Part;
    use crate::kv::follow::Change;

    fn view(documents: &[(Part, &str, &str)]) -> View {
        let mut view = View::new("/skydns");
        for (part, key, value) in documents {
            let (key, value) = ((*key).to_owned().into(), (*value).to_owned().into());
            view.apply(*part, &[Change::Put(KeyValue { key, value, ..KeyValue::default() })]);
        }
        view
    }

    /// The outcome for a name below `cluster.local`.
    fn ask(view: &View, name: &str, qtype: RecordType) -> Outcome {
        let zones: [Zone; 1] = ["cluster.local".parse().unwrap()];
        let name = Name::from_ascii(format!("{name}.cluster.local.")).unwrap();
        resolve(view, &zones, &name, qtype, 5).unwrap().1
    }

    fn texts(records: &[Record]) -> Vec<String> {
        records.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
    }

    #[test]
    fn a_web_of_aliases_costs_no_more_than_its_names() {
        // Proves that circles end soon however many records close them, that what is beside them
        // is found, and that an alias which leads nowhere is not told of.
        let mut view = view(&[
            (Part::SkyDns, "/skydns/local/cluster/b/way/out", r#"{"host":"c.cluster.local"}"#),
            (Part::SkyDns, "/skydns/local/cluster/c", r#"{"host":"10.0.0.1"}"#),
            (Part::SkyDns, "/skydns/local/cluster/d", r#"{"host":"none.cluster.local"}"#),
        ]);
        for (from, to) in [("a", "b"), ("b", "a")] {
            for port in 1..=12 {
                let key = format!("/skydns/local/cluster/{from}/{port}").into();
                let value = format!(r#"{{"host":"{to}.cluster.local","port":{port}}}"#).into();
                let put = Change::Put(KeyValue { key, value, ..KeyValue::default() });
                view.apply(Part::SkyDns, &[put]);
            }
        }
        let chain = [
            "a.cluster.local. b.cluster.local.",
            "b.cluster.local. c.cluster.local.",
            "c.cluster.local. 10.0.0.1",
        ];
        assert_eq!(texts(&ask(&view, "a", RecordType::A).answers), chain);
        assert_eq!(ask(&view, "a", RecordType::SRV).answers.len(), 12);
        let nowhere = ask(&view, "d", RecordType::A);
        assert!(nowhere.exists && nowhere.answers.is_empty());
    }

    #[test]
    fn a_chain_of_aliases_has_an_end() {
        // Proves that a chain is followed as far as names are, without exhausting the stack.
        let mut view = View::new("/skydns");
        for at in 0..2 * FOLLOWED_MAX {
            let key = format!("/skydns/local/cluster/n{at}").into();
            let value = match at {
                200 => r#"{"host":"10.0.0.1"}"#.to_owned(),
                _ => format!(r#"{{"host":"n{}.cluster.local"}}"#, at + 1),
            };
            let put = Change::Put(KeyValue { key, value: value.into(), ..KeyValue::default() });
            view.apply(Part::SkyDns, &[put]);
        }
        assert_eq!(ask(&view, "n0", RecordType::A).answers.len(), 201);
        assert!(ask(&view, "n201", RecordType::A).answers.is_empty());
    }

    #[test]
    fn aliases_are_followed_until_no_message_has_room() {
        // Proves that names which have many addresses each are not all looked up: what one answer
        // costs is bounded by its records, not by its names alone.
        const EACH: usize = 1000;
        let mut view = View::new("/skydns");
        let mut put = |key: String, host: String| {
            let (key, value) = (key.into(), format!(r#"{{"host":"{host}"}}"#).into());
            view.apply(
                Part::SkyDns,
                &[Change::Put(KeyValue { key, value, ..KeyValue::default() })],
            );
        };
        for name in 0..10 {
            put(format!("/skydns/local/cluster/all/{name}"), format!("n{name}.cluster.local"));
            for at in 0..EACH {
                let address = format!("10.{name}.{}.{}", at / 250, at % 250);
                put(format!("/skydns/local/cluster/n{name}/{at}"), address);
            }
        }
        let found = ask(&view, "all", RecordType::A).answers;
        let addresses = found.iter().filter(|found| found.record_type() == RecordType::A).count();
        assert_eq!(addresses, RECORDS_MAX.div_ceil(EACH) * EACH);
    }

    #[test]
    fn aliases_lead_to_names_of_every_kind() {
        // Proves that an alias inside the zone is followed by all rules: from a Service to what is
        // registered, and from a SkyDNS record to both, as addresses and as service records.
        let alias = |name: &str, to: &str| {
            format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"shop"}},"spec":{{"externalName":"{to}"}}}}"#
            )
        };
        let web = alias("alias", "web.service.cluster.local");
        let circle = alias("circle", "circle.shop.svc.cluster.local");
        let away = alias("away", "www.example.com");
        let sky = r#"{"host":"alias.shop.svc.cluster.local","port":80}"#;
        let view = view(&[
            (Part::Services, "/services/web/1", r#"{"address":"10.0.0.1","port":8080}"#),
            (Part::ClusterServices, "/registry/services/shop/alias", &web),
            (Part::ClusterServices, "/registry/services/shop/circle", &circle),
            (Part::ClusterServices, "/registry/services/shop/away", &away),
            (Part::SkyDns, "/skydns/local/cluster/sky", sky),
        ]);
        let addresses = [
            "alias.shop.svc.cluster.local. web.service.cluster.local.",
            "web.service.cluster.local. 10.0.0.1",
        ];
        let inside = ask(&view, "alias.shop.svc", RecordType::A);
        assert_eq!(texts(&inside.answers), addresses);
        assert!(inside.elsewhere.is_empty(), "nobody else is asked for a name of ours");
        let sky = ask(&view, "sky", RecordType::A);
        assert_eq!(texts(&sky.answers)[0], "sky.cluster.local. alias.shop.svc.cluster.local.");
        assert_eq!(texts(&sky.answers)[1..], addresses);
        let srv = ask(&view, "sky", RecordType::SRV);
        assert_eq!(srv.answers.len(), 1);
        assert_eq!(texts(&srv.extra), addresses);
        let bare = ask(&view, "alias.shop.svc", RecordType::CNAME);
        assert_eq!(texts(&bare.answers), addresses[..1]);
        assert_eq!(ask(&view, "circle.shop.svc", RecordType::A).answers.len(), 1);
        let away = ask(&view, "away.shop.svc", RecordType::A);
        assert_eq!(away.answers.len(), 1);
        assert_eq!(away.elsewhere, [Name::from_ascii("www.example.com.").unwrap()]);
    }
}
