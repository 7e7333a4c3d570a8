//! What a write does. Which refusal comes first is as in etcd: clients act on the number.

use std::sync::Arc;

use api::berthpb::V2Write;
use api::berthpb::v2_write::Action as Asked;
use bytes::Bytes;

use super::event::{Action, Event, Seen};
use super::node::{Content, Node};
use super::path::Path;
use super::refusal::{Reason, Refusal};
use super::tree::Tree;

/// An earlier deadline means none: a client has counted beyond the calendar. The year 2000.
const DEADLINE_NS_MIN: i64 = 946_684_800 * 1_000_000_000;

/// A value is copied out of its request if it is smaller than this: a small slice must not keep a
/// large buffer alive.
const SHARED_BYTES_MIN: usize = 64 << 10;

type Outcome = Result<Arc<Event>, Refusal>;

impl Tree {
    /// Applies one write. After a refusal nothing has changed.
    pub(crate) fn apply(&mut self, write: &V2Write) -> Outcome {
        let path = Path::clean(&write.path);
        if path.is_too_long() || path.in_order(self.index + 1).is_too_long() {
            return Err(self.refuse(Reason::PathTooLong, Bytes::new()));
        }
        match write.action() {
            Asked::Set => self.set(write, &path),
            Asked::Create => self.make(write, &path, Action::Create, None),
            Asked::CreateInOrder => {
                let path = path.in_order(self.index + 1);
                self.make(write, &path, Action::Create, None)
            }
            Asked::Update => self.update(write, &path),
            Asked::CompareAndSwap => self.compare_and_swap(write, &path),
            Asked::Delete => self.delete(write, &path),
            Asked::CompareAndDelete => self.compare_and_delete(write, &path),
            Asked::Unknown => Err(self.refuse(Reason::UnknownAction, Bytes::new())),
        }
    }

    fn set(&mut self, write: &V2Write, path: &Path) -> Outcome {
        let prev = match self.find(path) {
            Ok(node) => Some(node.seen(path)),
            Err(refusal) if refusal.reason == Reason::KeyNotFound && !write.refresh => None,
            Err(refusal) => return Err(refusal),
        };
        if prev.as_ref().is_some_and(|prev| prev.dir) && !path.is_root() {
            return Err(self.refuse(Reason::NotFile, path.shown()));
        }
        self.make(write, path, Action::Set, prev)
    }

    /// Makes a node, and the directories above it; in place of `prev`, if there was one.
    fn make(
        &mut self,
        write: &V2Write,
        path: &Path,
        action: Action,
        prev: Option<Seen>,
    ) -> Outcome {
        self.refuse_root(path)?;
        match self.find(path) {
            Ok(_) if prev.is_some() => drop(self.remove(path)),
            Ok(_) => return Err(self.refuse(Reason::NodeExists, path.shown())),
            Err(refusal) if refusal.reason == Reason::KeyNotFound => {}
            Err(refusal) => return Err(refusal),
        }
        let index = self.index + 1;
        self.make_dirs_above(path, index);
        let deadline_ns = write.deadline_ns.filter(|deadline| *deadline >= DEADLINE_NS_MIN);
        let mut node = Node::dir(index, deadline_ns);
        let refresh = write.refresh && action == Action::Set;
        if !write.dir {
            let kept = prev.as_ref().filter(|_| refresh).and_then(|prev| prev.value.clone());
            node.content = Content::File(kept.unwrap_or_else(|| own(&write.value)));
        }
        let seen = node.seen(path);
        self.insert(path, node);
        Ok(self.end(Event { action, node: seen, prev, refresh, now_ns: write.now_ns }))
    }

    fn make_dirs_above(&mut self, path: &Path, index: u64) {
        let ends: Vec<usize> = path.steps().map(|(_, end)| end).collect();
        for end in &ends[..ends.len() - 1] {
            let above = Path::clean(&path.upto(*end));
            if self.find(&above).is_err() {
                self.insert(&above, Node::dir(index, None));
            }
        }
    }

    fn update(&mut self, write: &V2Write, path: &Path) -> Outcome {
        self.refuse_root(path)?;
        let node = self.find(path)?;
        if node.is_dir() && !write.value.is_empty() {
            return Err(self.refuse(Reason::NotFile, path.shown()));
        }
        let value = if write.refresh { node.value() } else { own(&write.value) };
        Ok(self.rewrite(write, path, Action::Update, value))
    }

    fn compare_and_swap(&mut self, write: &V2Write, path: &Path) -> Outcome {
        self.refuse_root(path)?;
        let node = self.compare(write, path)?;
        let value = if write.refresh { node.value() } else { own(&write.value) };
        Ok(self.rewrite(write, path, Action::CompareAndSwap, value))
    }

    /// Gives what is there another value and deadline. A directory has no value, and keeps the
    /// index of its last change: so etcd has it.
    fn rewrite(
        &mut self,
        write: &V2Write,
        path: &Path,
        action: Action,
        value: Bytes,
    ) -> Arc<Event> {
        let index = self.index + 1;
        let prev = self.find(path).expect("it was found before").seen(path);
        self.change(path, |node| {
            node.deadline_ns = write.deadline_ns;
            if !node.is_dir() {
                node.content = Content::File(value);
                node.modified = index;
            }
        });
        let node = self.find(path).expect("it was found before").seen(path);
        let seen = Seen { modified: index, ..node };
        let (prev, refresh) = (Some(prev), write.refresh);
        self.end(Event { action, node: seen, prev, refresh, now_ns: write.now_ns })
    }

    fn delete(&mut self, write: &V2Write, path: &Path) -> Outcome {
        self.refuse_root(path)?;
        let node = self.find(path)?;
        if let Some(children) = node.children() {
            if !write.dir && !write.recursive {
                return Err(self.refuse(Reason::NotFile, path.shown()));
            }
            if !children.is_empty() && !write.recursive {
                return Err(self.refuse(Reason::DirNotEmpty, path.shown()));
            }
        }
        Ok(self.take_out(path, Action::Delete, write.now_ns))
    }

    fn compare_and_delete(&mut self, write: &V2Write, path: &Path) -> Outcome {
        self.compare(write, path)?;
        Ok(self.take_out(path, Action::CompareAndDelete, write.now_ns))
    }

    pub(super) fn take_out(&mut self, path: &Path, action: Action, now_ns: i64) -> Arc<Event> {
        let gone = self.remove(path);
        let prev = gone.seen(path);
        let node = Seen {
            path: path.shown(),
            dir: prev.dir,
            modified: self.index + 1,
            created: prev.created,
            ..Seen::default()
        };
        self.end(Event { action, node, prev: Some(prev), refresh: false, now_ns })
    }

    /// The file at `path`, if it is what the write expects.
    fn compare(&self, write: &V2Write, path: &Path) -> Result<&Node, Refusal> {
        let node = self.find(path)?;
        let Content::File(value) = &node.content else {
            return Err(self.refuse(Reason::NotFile, path.shown()));
        };
        let value_is_right = write.prev_value.is_empty() || write.prev_value == *value;
        let index_is_right = write.prev_index == 0 || write.prev_index == node.modified;
        if value_is_right && index_is_right {
            return Ok(node);
        }
        let values = [b"[", &write.prev_value[..], b" != ", value, b"]"].concat();
        let indexes = format!("[{} != {}]", write.prev_index, node.modified).into_bytes();
        let causes = [(value_is_right, values), (index_is_right, indexes)];
        let causes: Vec<_> =
            causes.into_iter().filter(|(right, _)| !right).map(|(_, cause)| cause).collect();
        Err(self.refuse(Reason::CompareFailed, causes.join(&b' ').into()))
    }

    fn refuse_root(&self, path: &Path) -> Result<(), Refusal> {
        if path.is_root() {
            return Err(self.refuse(Reason::RootReadOnly, path.as_bytes().clone()));
        }
        Ok(())
    }

    fn refuse(&self, reason: Reason, cause: Bytes) -> Refusal {
        Refusal { reason, cause, index: self.index }
    }
}

/// A value in memory of its own, where that is small.
fn own(value: &Bytes) -> Bytes {
    if value.len() < SHARED_BYTES_MIN { Bytes::copy_from_slice(value) } else { value.clone() }
}
