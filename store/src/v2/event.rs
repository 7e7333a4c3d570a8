//! What a write did, for the answer and for those who watch.

use bytes::Bytes;

/// What happened. [`Action::Get`] is what a read answers; it never enters the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Get,
    Set,
    Create,
    Update,
    CompareAndSwap,
    Delete,
    CompareAndDelete,
    Expire,
}

/// A node as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Empty for the root.
    pub path: Bytes,
    /// `None` for a directory, and for what was deleted.
    pub value: Option<Bytes>,
    pub dir: bool,
    /// Nanoseconds since 1970; `None`: it has no deadline.
    pub deadline_ns: Option<i64>,
    pub modified: u64,
    pub created: u64,
    /// What is in a directory, by name, if that was asked for.
    pub nodes: Vec<Seen>,
}

/// One change. Its index is that of its node: `node.modified`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub action: Action,
    pub node: Seen,
    pub prev: Option<Seen>,
    /// Only the deadline changed; nobody who watches is told.
    pub refresh: bool,
    /// The clock that counted: from it to a deadline is the time to live.
    pub now_ns: i64,
}

impl Event {
    pub fn index(&self) -> u64 {
        self.node.modified
    }

    /// The write made something where nothing was.
    pub fn created(&self) -> bool {
        match self.action {
            Action::Create => true,
            Action::Set => self.prev.is_none(),
            _ => false,
        }
    }

    /// A directory is gone, with whatever was in it.
    pub fn removed_dir(&self) -> bool {
        matches!(self.action, Action::Delete | Action::Expire)
            && self.prev.as_ref().is_some_and(|prev| prev.dir)
    }
}
