//! What a watcher saw, and whether it can be true.

use std::collections::{BTreeMap, HashSet};

use api::etcdserverpb::RangeRequest;
use api::mvccpb::event::EventType;
use api::mvccpb::{Event, KeyValue};

use super::{Follower, Ledger};
use crate::client::{bounded, connect};

/// Events in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The revision before the first event.
    start: i64,
    events: Vec<Event>,
}

impl History {
    /// Nothing seen yet; `revision` is the last that nobody will tell.
    pub fn after(revision: i64) -> Self {
        Self { start: revision, events: Vec::new() }
    }

    /// The revision up to which it tells.
    pub fn last_revision(&self) -> i64 {
        self.events.last().map_or(self.start, revision)
    }

    /// Adds what one answer brought: whole revisions, without gap or repeat.
    pub fn extend(&mut self, events: Vec<Event>) {
        let Some(first) = events.first() else { return };
        let expected = self.last_revision() + 1;
        assert_eq!(revision(first), expected, "a watcher has a gap or a repeat");
        let steps = events.windows(2).map(|pair| revision(&pair[1]) - revision(&pair[0]));
        assert!(steps.into_iter().all(|step| step == 0 || step == 1), "a gap in {events:?}");
        self.events.extend(events);
    }

    /// Everything acknowledged is in it, and nothing that nobody wrote or that happened twice.
    pub fn check(&self, ledger: &Ledger) {
        let mut seen = HashSet::new();
        for event in self.events.iter().filter(|event| event.r#type() == EventType::Put) {
            let value = &kv(event).value;
            assert!(ledger.was_attempted(value), "nobody wrote {event:?}");
            assert!(seen.insert(value.clone()), "written twice: {event:?}");
        }
        let by_place: BTreeMap<(i64, &[u8]), &Event> = self
            .events
            .iter()
            .map(|event| ((revision(event), &kv(event).key[..]), event))
            .collect();
        for (key, write) in ledger.acknowledged() {
            let event = by_place.get(&(write.revision, key.as_bytes()));
            let value = event
                .map(|event| (event.r#type() == EventType::Put).then(|| kv(event).value.to_vec()));
            assert_eq!(value, Some(write.value.clone()), "{key} was acknowledged as {write:?}");
        }
    }

    /// The server at `endpoint` holds what the history leads to, and still tells its newer part.
    pub async fn check_against(&self, endpoint: &str, compacted: i64) {
        let everything = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            // A write whose caller has long given up may still come after the last that was seen.
            revision: self.last_revision(),
            ..Default::default()
        };
        let answer = bounded(connect(endpoint).kv.range(everything)).await;
        let stored = answer.expect("the server serves").into_inner().kvs;
        assert_eq!(stored, self.outcome(), "the keys are not what the history leads to");
        let retold = Follower::start_from(&[endpoint.to_owned()], compacted.max(1));
        let retold = retold.upto(self.last_revision()).await;
        let newer = self.events.iter().filter(|event| revision(event) > compacted.max(1));
        let retold = retold.events().iter().filter(|event| revision(event) <= self.last_revision());
        assert!(newer.eq(retold), "the server tells another history now");
    }

    /// In the order in which they came.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The keys that are left at the end, in order.
    fn outcome(&self) -> Vec<KeyValue> {
        let mut keys: BTreeMap<&[u8], &KeyValue> = BTreeMap::new();
        for event in &self.events {
            let kv = kv(event);
            match event.r#type() {
                EventType::Put => keys.insert(&kv.key, kv),
                EventType::Delete => keys.remove(&kv.key[..]),
            };
        }
        keys.into_values().cloned().collect()
    }
}

pub(super) fn kv(event: &Event) -> &KeyValue {
    event.kv.as_ref().expect("every event has a key")
}

fn revision(event: &Event) -> i64 {
    kv(event).mod_revision
}
