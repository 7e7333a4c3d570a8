//! The plainest store there is: what the keys are after each change.

use std::collections::BTreeMap;
use std::ops::Bound;

use api::mvccpb::KeyValue;
use bytes::Bytes;
use store::{EventBatch, EventKind};

/// All keys at one revision.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub keys: BTreeMap<Bytes, KeyValue>,
}

impl Model {
    /// Makes the changes of one revision. Says what is wrong with them, if something is.
    pub(super) fn change(&mut self, batch: &EventBatch) -> Result<(), String> {
        for event in &batch.events {
            let is = &event.kv;
            match event.kind {
                EventKind::Delete => {
                    if self.keys.remove(&is.key).is_none() {
                        return Err(format!("r{} deletes what is not there", batch.revision));
                    }
                }
                EventKind::Put => {
                    let before = self.keys.get(&is.key);
                    let should = KeyValue {
                        key: is.key.clone(),
                        value: is.value.clone(),
                        create_revision: before.map_or(batch.revision, |it| it.create_revision),
                        mod_revision: batch.revision,
                        version: before.map_or(1, |it| it.version + 1),
                        lease: is.lease,
                    };
                    if *is != should {
                        return Err(format!("r{} is {is:?}, not {should:?}", batch.revision));
                    }
                    self.keys.insert(is.key.clone(), should);
                }
            }
        }
        Ok(())
    }

    /// Those with `key <= them < end`; without an end, the key alone.
    pub(super) fn range(&self, key: &[u8], end: &[u8]) -> Vec<KeyValue> {
        if end.is_empty() {
            return self.keys.get(key).cloned().into_iter().collect();
        }
        let range = (Bound::Included(key), Bound::Excluded(end));
        let range = self.keys.range::<[u8], _>(range);
        range.map(|(_, kv)| kv.clone()).collect()
    }
}
