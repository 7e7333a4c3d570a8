//! The keys that templates look at, and how they look.

use std::collections::{BTreeMap, BTreeSet};

use api::mvccpb::KeyValue;
use serde::Serialize;

use crate::discovery::catalog::Catalog;
use crate::discovery::layout::{Instance, Status};
use crate::kv::follow::Change;

/// Keys and values that are text; others cannot be in a text file.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    all: BTreeMap<String, String>,
}

/// A key and its value, as `gets` gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

/// A passing instance.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Passing {
    name: String,
    #[serde(flatten)]
    instance: Instance,
}

impl Values {
    pub(super) fn put(&mut self, kv: &KeyValue) {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        match std::str::from_utf8(&kv.value) {
            Ok(value) => self.all.insert(key, value.to_owned()),
            Err(_) => self.all.remove(&key),
        };
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(kv) => self.put(kv),
            Change::Delete(key) => {
                self.all.remove(String::from_utf8_lossy(key).as_ref());
            }
        }
    }

    /// What a resource with this prefix sees: its keys, without it.
    pub(super) fn below(&self, prefix: &str, is_made_of: impl Fn(&[u8]) -> bool) -> Self {
        let seen = self.all.iter().filter(|(key, _)| is_made_of(key.as_bytes()));
        let all = seen.filter_map(|(key, value)| {
            let key = key.strip_prefix(prefix.trim_end_matches('/'))?;
            Some((format!("/{}", key.trim_start_matches('/')), value.clone()))
        });
        Self { all: all.collect() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all.get(&absolute(key)).map(String::as_str)
    }

    /// Pairs whose keys match a pattern: `*`, `?` and `[...]` stand for what is within one part of
    /// the path.
    pub(super) fn gets(&self, pattern: &str) -> Result<Vec<Pair>, String> {
        let pattern = glob::Pattern::new(&absolute(pattern))
            .map_err(|error| format!("{pattern:?} is not a pattern: {error}"))?;
        let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        let found = self.all.iter().filter(|(key, _)| pattern.matches_with(key, options));
        Ok(found.map(|(key, value)| Pair { key: key.clone(), value: value.clone() }).collect())
    }

    /// The names right below a path; `directories`: only those with something below them.
    pub(super) fn list(&self, path: &str, directories: bool) -> Vec<String> {
        let path = absolute(path);
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let mut names = BTreeSet::new();
        for key in self.all.keys() {
            if *key == path && !directories {
                names.insert(path.rsplit('/').next().unwrap_or_default().to_owned());
            }
            match key.strip_prefix(&prefix).map(|rest| rest.split_once('/').ok_or(rest)) {
                Some(Ok((name, _))) => names.insert(name.to_owned()),
                Some(Err(name)) if !directories => names.insert(name.to_owned()),
                _ => false,
            };
        }
        names.into_iter().filter(|name| !name.is_empty()).collect()
    }

    /// The instances of a service that may be sent work, of the layout's keys among these.
    pub(super) fn passing(&self, service: &str) -> Vec<Passing> {
        let mut catalog = Catalog::quiet();
        for (key, value) in &self.all {
            let (key, value) = (key.clone().into(), value.clone().into());
            catalog.apply(&Change::Put(KeyValue { key, value, ..KeyValue::default() }));
        }
        let instances = catalog.instances(service);
        instances
            .filter(|(_, entry, _)| entry.status() == Status::Passing)
            .map(|(name, _, registered)| Passing {
                name: name.to_owned(),
                instance: registered.instance.clone(),
            })
            .collect()
    }
}

fn absolute(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_looked_at_as_a_tree() {
        // Proves patterns, lists and prefixes as confd has them.
        let mut values = Values::default();
        for (key, value) in [
            ("/app/web/a/url", "1"),
            ("/app/web/b/url", "2"),
            ("/app/web/c", "3"),
            ("/app/webber", "4"),
            ("/other", "5"),
        ] {
            let (key, value) = (key.into(), value.into());
            values.put(&KeyValue { key, value, ..KeyValue::default() });
        }
        let seen = values.below("/app", |key| key.starts_with(b"/app/web"));
        assert_eq!(seen.get("/web/c"), Some("3"));
        assert_eq!(seen.get("web/c"), Some("3"));
        assert_eq!(seen.get("/other"), None);
        let urls: Vec<String> =
            seen.gets("/web/*/url").unwrap().into_iter().map(|pair| pair.value).collect();
        assert_eq!(urls, ["1", "2"]);
        assert_eq!(seen.gets("/web/*").unwrap().len(), 1);
        assert!(seen.gets("/web/[").is_err());
        assert_eq!(seen.list("/web", false), ["a", "b", "c"]);
        assert_eq!(seen.list("/web", true), ["a", "b"]);
        assert_eq!(seen.list("/", true), ["web"]);
        assert_eq!(values.below("/", |_| true).get("/other"), Some("5"));
    }
}
