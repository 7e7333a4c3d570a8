//! An event that all its watchers share, encoded when the first of them needs it.

use std::sync::{Arc, OnceLock};

use api::mvccpb;
use bytes::Bytes;
use prost::Message;
use store::{Entry, Error, Event, EventBatch, EventKind};

use crate::Source;

/// What an event costs in memory besides its key and values, in bytes: about its fields, twice.
const EVENT_OVERHEAD_BYTES: usize = 256;

pub(crate) struct SharedEvent {
    event: Event,
    plain: OnceLock<Bytes>,
    with_prev: OnceLock<Bytes>,
}

/// All events of one revision.
pub(crate) struct Batch {
    pub(crate) revision: i64,
    pub(crate) events: Vec<Arc<SharedEvent>>,
}

impl Batch {
    pub(crate) fn new(batch: &EventBatch) -> Batch {
        let share = |event: &Event| Arc::new(SharedEvent::new(event.clone()));
        Batch { revision: batch.revision, events: batch.events.iter().map(share).collect() }
    }

    /// Bytes it may come to hold, encodings included.
    pub(crate) fn cost(&self) -> usize {
        self.events.iter().map(|event| 2 * event.cost(true)).sum()
    }
}

impl SharedEvent {
    pub(crate) fn new(event: Event) -> SharedEvent {
        SharedEvent { event, plain: OnceLock::new(), with_prev: OnceLock::new() }
    }

    pub(crate) fn key(&self) -> &Bytes {
        &self.event.kv.key
    }

    pub(crate) fn revision(&self) -> i64 {
        self.event.revision.main
    }

    pub(crate) fn kind(&self) -> EventKind {
        self.event.kind
    }

    /// About the bytes one encoding takes.
    pub(crate) fn cost(&self, prev_kv: bool) -> usize {
        cost(&self.event, prev_kv)
    }

    /// The event as `mvccpb.Event` bytes, made at most once for each kind.
    ///
    /// # Errors
    /// The engine failed while the previous value was read.
    pub(crate) fn encoded(&self, prev_kv: bool, source: &dyn Source) -> Result<Bytes, Error> {
        let prev = self.event.prev.filter(|prev| prev_kv && !prev.tombstone);
        let Some(prev) = prev else {
            return Ok(self.plain.get_or_init(|| self.encode(None)).clone());
        };
        if let Some(done) = self.with_prev.get() {
            return Ok(done.clone());
        }
        let prev = self.read_prev(&prev, source)?;
        Ok(self.with_prev.get_or_init(|| self.encode(prev)).clone())
    }

    /// etcd reads the key at the revision before the event, and leaves the field out when that
    /// revision is compacted.
    fn read_prev(
        &self,
        prev: &Entry,
        source: &dyn Source,
    ) -> Result<Option<mvccpb::KeyValue>, Error> {
        if self.revision() - 1 < source.compact_revision() {
            return Ok(None);
        }
        source.key_value(self.key(), prev)
    }

    fn encode(&self, prev_kv: Option<mvccpb::KeyValue>) -> Bytes {
        let kv = &self.event.kv;
        let (kind, kv) = match self.event.kind {
            EventKind::Put => (mvccpb::event::EventType::Put, kv.clone()),
            EventKind::Delete => (
                mvccpb::event::EventType::Delete,
                mvccpb::KeyValue {
                    key: kv.key.clone(),
                    mod_revision: self.revision(),
                    ..Default::default()
                },
            ),
        };
        let event = mvccpb::Event { r#type: kind.into(), kv: Some(kv), prev_kv };
        event.encode_to_vec().into()
    }
}

/// About the bytes of an event.
pub(crate) fn cost(event: &Event, prev_kv: bool) -> usize {
    let prev = event.prev.filter(|_| prev_kv);
    let prev = prev.map_or(0, |prev| event.kv.key.len() + prev.value_len as usize);
    EVENT_OVERHEAD_BYTES + event.kv.key.len() + event.kv.value.len() + prev
}
