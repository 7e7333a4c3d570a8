//! What a command changed, for watchers.

use api::mvccpb::KeyValue;

use crate::{Entry, Revision};

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: EventKind,
    /// As a watcher sees it: for a delete, the key and `mod_revision` only.
    pub kv: KeyValue,
    pub revision: Revision,
    /// The version it replaced, if the key existed and that version is still retained; without
    /// the value: [`crate::Reader::key_value`] reads it.
    pub prev: Option<Entry>,
}

/// All changes of one main revision, in order of their sub revisions. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct EventBatch {
    pub revision: i64,
    pub events: Vec<Event>,
}
