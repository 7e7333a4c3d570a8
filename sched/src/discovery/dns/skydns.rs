//! SkyDNS records, found and read as CoreDNS's `etcd` plugin does.
//!
//! A name is a path: `web.prod.skydns.local` lies at `/skydns/local/skydns/prod/web`, and all
//! records below that path answer for it. A label `*` or `any` stands for every label.

use std::collections::{BTreeMap, HashSet};

use hickory_proto::rr::RecordType;
use serde::Deserialize;

use super::outcome::RECORDS_MAX;
use crate::discovery::catalog::Malformed;
use crate::kv::follow::Change;

/// Of a record that names none.
const PRIORITY: u16 = 10;
/// Seconds an answer lives whose record names none and that no lease bounds.
const TTL_S: u32 = 300;

/// All records, by their path.
#[derive(Debug)]
pub(super) struct SkyDns {
    /// With a slash at the end.
    prefix: String,
    records: BTreeMap<String, SkyRecord>,
    malformed: Malformed,
}

/// One record. Fields that are not known are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct SkyRecord {
    /// An address, or a name.
    #[serde(default)]
    pub(super) host: String,
    #[serde(default)]
    pub(super) port: u16,
    #[serde(default)]
    pub(super) priority: u16,
    #[serde(default)]
    pub(super) weight: u16,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    ttl: u32,
    /// Labels to take off the target's name, from the left.
    #[serde(default)]
    pub(super) targetstrip: usize,
    #[serde(default)]
    group: String,
    #[serde(skip)]
    pub(super) lease: i64,
}

/// A record and the labels of its path, the topmost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) path: Vec<&'a str>,
    pub(super) record: &'a SkyRecord,
}

impl SkyDns {
    /// `path`: where the records lie, `/skydns` as a rule.
    pub(super) fn new(path: &str) -> Self {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        Self { prefix, records: BTreeMap::new(), malformed: Malformed::default() }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let key = String::from_utf8_lossy(change.key());
        let Some(path) = key.strip_prefix(&self.prefix) else { return };
        // Names know no case; a path that is asked for in lower case must be found.
        let path = path.to_lowercase();
        let parsed = match change {
            Change::Put(kv) => serde_json::from_slice::<SkyRecord>(&kv.value)
                .map(|record| Some(SkyRecord { lease: kv.lease, ..record })),
            Change::Delete(_) => Ok(None),
        };
        let reason = parsed.as_ref().err().map(ToString::to_string);
        self.malformed.note(change, reason.as_deref());
        match parsed {
            Ok(Some(record)) => self.records.insert(path, record),
            _ => self.records.remove(&path),
        };
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed.count
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = i64> {
        self.records.values().map(|record| record.lease)
    }

    /// The records that answer for a name (labels topmost first); `None`: there is no such name.
    /// `exact`: at the name's own path alone. At most [`RECORDS_MAX`].
    pub(super) fn find(
        &self,
        name: &[String],
        qtype: RecordType,
        exact: bool,
    ) -> Option<Vec<Found<'_>>> {
        let is_wild = |label: &String| label == "*" || label == "any";
        let fixed = name.iter().take_while(|label| !is_wild(label));
        let path = fixed.cloned().collect::<Vec<_>>().join("/");
        let mut found = self.at(&path, exact).peekable();
        found.peek()?;
        let has_wild = name.iter().any(is_wild);
        let agrees = |found: &Found<'_>| {
            name.len() <= found.path.len()
                && name.iter().zip(&found.path).all(|(label, at)| is_wild(label) || label == at)
        };
        let mut seen = HashSet::new();
        let found = found
            .filter(|found| !has_wild || agrees(found))
            .filter(|found| seen.insert(found.record))
            // What names no host can only be a text.
            .filter(|found| qtype == RecordType::TXT || !found.record.host.is_empty())
            .take(RECORDS_MAX);
        Some(group(found.collect()))
    }

    /// Records below a path, or else at it.
    fn at(&self, path: &str, exact: bool) -> impl Iterator<Item = Found<'_>> {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut deeper = self
            .records
            .range(below.clone()..)
            .take_while(move |(path, _)| !exact && path.starts_with(&below))
            .peekable();
        let itself = match deeper.peek() {
            Some(_) => None,
            None => self.records.get_key_value(path),
        };
        let all = deeper.chain(itself);
        all.map(|(path, record)| Found { path: path.split('/').collect(), record })
    }
}

/// If the shortest paths agree on a group, the records of that group and of none; else all.
fn group(found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    let Some(shortest) = found.iter().map(|found| found.path.len()).min() else { return found };
    let mut names = found
        .iter()
        .filter(|found| found.path.len() == shortest && !found.record.group.is_empty())
        .map(|found| found.record.group.clone());
    let Some(name) = names.next() else { return found };
    if names.any(|other| other != name) {
        return found;
    }
    let belongs = |found: &Found<'_>| [&name, ""].contains(&found.record.group.as_str());
    found.into_iter().filter(belongs).collect()
}

impl SkyRecord {
    pub(super) fn priority(&self) -> u16 {
        if self.priority == 0 { PRIORITY } else { self.priority }
    }

    /// Seconds an answer lives by the record alone.
    pub(super) fn ttl_s(&self) -> u32 {
        if self.ttl == 0 { TTL_S } else { self.ttl }
    }
}

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;

    use super::*;

    fn skydns(records: &[(&str, &str)]) -> SkyDns {
        let mut skydns = SkyDns::new("/skydns");
        for (path, value) in records {
            let key = format!("/skydns/{path}").into();
            let value = (*value).to_owned().into();
            skydns.apply(&Change::Put(KeyValue { key, value, ..KeyValue::default() }));
        }
        skydns
    }

    fn hosts(skydns: &SkyDns, name: &str) -> Option<Vec<String>> {
        let labels: Vec<String> = name.rsplit('.').map(str::to_owned).collect();
        let found = skydns.find(&labels, RecordType::A, false)?;
        Some(found.iter().map(|found| found.record.host.clone()).collect())
    }

    #[test]
    fn names_are_paths_and_wildcards_are_any_label() {
        // Proves what is below a name answers for it, what stars match, and what is no name.
        let skydns = skydns(&[
            ("local/sky/prod/web/x1", r#"{"host":"10.0.0.1"}"#),
            ("local/sky/prod/web/x2", r#"{"host":"10.0.0.2"}"#),
            ("local/sky/prod/db/x1", r#"{"host":"10.0.0.3"}"#),
            ("local/sky/test/web/x1", r#"{"host":"10.0.0.4"}"#),
            ("local/sky/test/webber", r#"{"host":"10.0.0.5"}"#),
            ("local/sky/test/bad", "{"),
        ]);
        let some = |hosts: &[&str]| Some(hosts.iter().map(ToString::to_string).collect());
        assert_eq!(hosts(&skydns, "x1.web.prod.sky.local"), some(&["10.0.0.1"]));
        assert_eq!(hosts(&skydns, "web.prod.sky.local"), some(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(hosts(&skydns, "web.test.sky.local"), some(&["10.0.0.4"]));
        assert_eq!(hosts(&skydns, "web.*.sky.local"), some(&["10.0.0.1", "10.0.0.2", "10.0.0.4"]));
        assert_eq!(hosts(&skydns, "x1.any.prod.sky.local"), some(&["10.0.0.3", "10.0.0.1"]));
        assert_eq!(hosts(&skydns, "x9.*.prod.sky.local"), some(&[]));
        assert_eq!(hosts(&skydns, "bad.test.sky.local"), None);
        assert_eq!(hosts(&skydns, "nothing.sky.local"), None);
        assert_eq!(skydns.malformed(), 1);
    }

    #[test]
    fn one_answer_has_room_for_so_much() {
        // Proves that a star over many records finds no more than a message can hold.
        let paths: Vec<String> =
            (0..RECORDS_MAX + 9).map(|at| format!("local/sky/{at}/x")).collect();
        let documents: Vec<String> = (0..paths.len())
            .map(|at| format!(r#"{{"host":"10.0.{}.{}"}}"#, at / 250, at % 250))
            .collect();
        let records: Vec<(&str, &str)> = paths
            .iter()
            .zip(&documents)
            .map(|(path, host)| (path.as_str(), host.as_str()))
            .collect();
        assert_eq!(hosts(&skydns(&records), "*.sky.local").unwrap().len(), RECORDS_MAX);
    }

    #[test]
    fn groups_part_what_lies_deeper() {
        // Proves the rule of groups: the shortest paths decide, if they agree.
        let one = [
            ("local/sky/a", r#"{"host":"10.0.0.1","group":"g1"}"#),
            ("local/sky/b/c", r#"{"host":"10.0.0.2","group":"g2"}"#),
            ("local/sky/b/d", r#"{"host":"10.0.0.3"}"#),
        ];
        let found = hosts(&skydns(&one), "sky.local").unwrap();
        assert_eq!(found, ["10.0.0.1", "10.0.0.3"]);
        let two = [
            ("local/sky/a", r#"{"host":"10.0.0.1","group":"g1"}"#),
            ("local/sky/b", r#"{"host":"10.0.0.2","group":"g2"}"#),
        ];
        assert_eq!(hosts(&skydns(&two), "sky.local").unwrap().len(), 2);
    }
}
