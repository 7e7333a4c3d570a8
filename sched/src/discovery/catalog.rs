//! What is registered and how it is doing, as far as the followed keys tell.
//!
//! A pure structure: changes go in, names of services that changed come out. Documents that cannot
//! be read are left out and counted, and told of once each, since whoever wrote one will write it
//! again with every renewal.

use std::collections::{BTreeMap, HashMap};

use api::mvccpb::KeyValue;
use bytes::Bytes;

use super::layout::{HEALTH, Health, HealthBy, Instance, Name, SERVICES, Status};
use crate::kv::follow::Change;

/// All services.
#[derive(Debug, Default)]
pub struct Catalog {
    services: HashMap<String, BTreeMap<String, Entry>>,
    malformed: Malformed,
}

/// One instance: its registration, its health, or both.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub registered: Option<Registered>,
    pub health: Option<Health>,
}

#[derive(Clone, Debug)]
pub struct Registered {
    pub instance: Instance,
    /// 0: it will stay until somebody deletes it.
    pub lease: i64,
}

impl Entry {
    /// What counts: the health key if there is one, else what the instance says of its absence.
    pub fn status(&self) -> Status {
        match (&self.health, &self.registered) {
            (Some(health), Some(_)) => health.status,
            (None, Some(registered)) if registered.instance.health == HealthBy::None => {
                Status::Passing
            }
            _ => Status::Critical,
        }
    }
}

impl Catalog {
    /// One that tells nobody of documents that cannot be read.
    pub(crate) fn quiet() -> Self {
        let malformed = Malformed { is_quiet: true, ..Malformed::default() };
        Self { malformed, ..Self::default() }
    }

    /// Takes one change of [`SERVICES`] or [`HEALTH`] and returns the service it is about.
    pub fn apply(&mut self, change: &Change) -> Option<String> {
        let prefix = [SERVICES, HEALTH]
            .into_iter()
            .find(|prefix| change.key().starts_with(prefix.as_bytes()))?;
        let name = match Name::of_key(prefix, change.key()) {
            Ok(name) => name,
            Err(reason) => {
                self.malformed.note(change, Some(&reason));
                return None;
            }
        };
        let kv = match change {
            Change::Put(kv) => Some(kv),
            Change::Delete(_) => None,
        };
        let instances = self.services.entry(name.service.clone()).or_default();
        let entry = instances.entry(name.instance.clone()).or_default();
        let reason = if prefix == SERVICES { entry.set_instance(kv) } else { entry.set_health(kv) };
        if entry.registered.is_none() && entry.health.is_none() {
            instances.remove(&name.instance);
        }
        if instances.is_empty() {
            self.services.remove(&name.service);
        }
        self.malformed.note(change, reason.as_deref());
        Some(name.service)
    }

    /// The registered instances of a service, by name.
    pub fn instances(&self, service: &str) -> impl Iterator<Item = (&str, &Entry, &Registered)> {
        self.services.get(service).into_iter().flatten().filter_map(|(name, entry)| {
            entry.registered.as_ref().map(|registered| (name.as_str(), entry, registered))
        })
    }

    /// All names of services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// Documents that could not be read, since the start.
    pub fn malformed(&self) -> u64 {
        self.malformed.count
    }
}

impl Entry {
    /// Returns why the document was not taken.
    fn set_instance(&mut self, kv: Option<&KeyValue>) -> Option<String> {
        let parsed = kv.map(|kv| parse(kv).map(|instance| (instance, kv.lease)));
        let (registered, reason) = match parsed {
            Some(Ok((instance, lease))) => (Some(Registered { instance, lease }), None),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        self.registered = registered;
        reason
    }

    fn set_health(&mut self, kv: Option<&KeyValue>) -> Option<String> {
        let (health, reason) = match kv.map(parse) {
            Some(Ok(health)) => (Some(health), None),
            // Somebody says something of its health: nothing good, as far as can be read.
            Some(Err(reason)) => {
                let output = "its health key holds no health document".to_owned();
                (Some(Health { status: Status::Critical, output }), Some(reason))
            }
            None => (None, None),
        };
        self.health = health;
        reason
    }
}

fn parse<T: serde::de::DeserializeOwned>(kv: &KeyValue) -> Result<T, String> {
    serde_json::from_slice(&kv.value).map_err(|error| error.to_string())
}

/// Keys whose documents cannot be read: each told of once, until it can.
#[derive(Debug, Default)]
pub(crate) struct Malformed {
    told: std::collections::HashSet<Bytes>,
    pub(crate) count: u64,
    is_quiet: bool,
}

impl Malformed {
    /// Takes note of what became of a change: `reason` says why it cannot be read.
    pub(crate) fn note(&mut self, change: &Change, reason: Option<&str>) {
        let (Some(reason), Change::Put(_)) = (reason, change) else {
            self.told.remove(change.key());
            return;
        };
        self.count += 1;
        if !self.is_quiet && self.told.insert(change.key().clone()) {
            let key = String::from_utf8_lossy(change.key());
            tracing::warn!(key = %key, "left out: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        Change::Put(KeyValue { key, value, lease: 7, ..KeyValue::default() })
    }

    fn status(catalog: &Catalog) -> Option<Status> {
        catalog.instances("web").next().map(|(_, entry, _)| entry.status())
    }

    #[test]
    fn registered_and_passing_are_two_facts() {
        // Proves the rule of health in every order of the two keys.
        let mut catalog = Catalog::default();
        let delete = |key: &str| Change::Delete(key.to_owned().into());
        catalog.apply(&put("/health/web/1", r#"{"status":"passing"}"#));
        assert_eq!(status(&catalog), None, "health alone is no registration");
        catalog.apply(&put("/services/web/1", r#"{"address":"::1","port":1,"health":"key"}"#));
        assert_eq!(status(&catalog), Some(Status::Passing));
        assert_eq!(catalog.apply(&put("/health/web/1", "x")).as_deref(), Some("web"));
        assert_eq!(status(&catalog), Some(Status::Critical));
        catalog.apply(&delete("/health/web/1"));
        assert_eq!(status(&catalog), Some(Status::Critical), "the key has expired");
        catalog.apply(&put("/services/web/1", r#"{"address":"::1","port":1}"#));
        assert_eq!(status(&catalog), Some(Status::Passing), "no key is needed");
        catalog.apply(&put("/health/web/1", r#"{"status":"critical"}"#));
        assert_eq!(status(&catalog), Some(Status::Critical), "but it counts");
        catalog.apply(&delete("/services/web/1"));
        catalog.apply(&delete("/health/web/1"));
        assert_eq!(catalog.services().count(), 0, "nothing is kept of what is gone");
    }

    #[test]
    fn malformed_documents_are_left_out_and_counted() {
        // Proves that a bad document hides its own instance alone, and takes a good one's place.
        let mut catalog = Catalog::default();
        let good = r#"{"address":"10.0.0.1","port":1}"#;
        catalog.apply(&put("/services/web/1", good));
        catalog.apply(&put("/services/web/2", r#"{"address":"#));
        catalog.apply(&put("/services/Web_/2", good));
        catalog.apply(&put("/services/stray", good));
        assert_eq!(catalog.instances("web").count(), 1);
        assert_eq!(catalog.malformed(), 3);
        catalog.apply(&put("/services/web/1", "[]"));
        assert_eq!(catalog.instances("web").count(), 0);
        assert_eq!(catalog.malformed(), 4);
    }
}
