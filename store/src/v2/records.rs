//! What the engine holds of the tree.
//!
//! | key | value |
//! |---|---|
//! | `2h` index (8 bytes) | one event of the history: `berthpb.V2Event` |
//! | `2i` | the index of the newest change (u64), if there was one |
//! | `2n` path | one node: `berthpb.V2Node` |
//!
//! Numbers in keys, and the index, are big endian. A directory's key sorts before those of what is
//! in it.

use std::sync::Arc;

use api::berthpb::{V2Event, V2Node, V2Seen, v2_event};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::event::{Action, Event, Seen};
use super::node::{Content, Node};
use super::path::Path;
use super::tree::Tree;

/// What all keys of the tree begin with.
pub(crate) const PREFIX: u8 = b'2';

const EVENT: u8 = b'h';
const NODE: u8 = b'n';
pub(super) const INDEX_KEY: &[u8] = b"2i";

pub(super) fn node_key(path: &Path) -> Bytes {
    key(NODE, path.as_bytes())
}

/// Whether it is that of a file or a directory.
pub(crate) fn is_node_key(key: &[u8]) -> bool {
    key.starts_with(&[PREFIX, NODE])
}

pub(super) fn event_key(index: u64) -> Bytes {
    key(EVENT, &index.to_be_bytes())
}

fn key(kind: u8, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(2 + rest.len());
    key.put_u8(PREFIX);
    key.put_u8(kind);
    key.put_slice(rest);
    key.freeze()
}

pub(super) fn encode_node(node: &Node) -> Bytes {
    let record = V2Node {
        created: node.created,
        modified: node.modified,
        deadline_ns: node.deadline_ns,
        dir: node.is_dir(),
        value: node.value(),
    };
    record.encode_to_vec().into()
}

pub(super) fn encode_event(event: &Event) -> Bytes {
    let action = match event.action {
        Action::Get => v2_event::Action::Unknown,
        Action::Set => v2_event::Action::Set,
        Action::Create => v2_event::Action::Create,
        Action::Update => v2_event::Action::Update,
        Action::CompareAndSwap => v2_event::Action::CompareAndSwap,
        Action::Delete => v2_event::Action::Delete,
        Action::CompareAndDelete => v2_event::Action::CompareAndDelete,
        Action::Expire => v2_event::Action::Expire,
    };
    let record = V2Event {
        action: action.into(),
        node: Some(seen_record(&event.node)),
        prev: event.prev.as_ref().map(seen_record),
        refresh: event.refresh,
        now_ns: event.now_ns,
    };
    record.encode_to_vec().into()
}

fn seen_record(seen: &Seen) -> V2Seen {
    V2Seen {
        path: seen.path.clone(),
        value: seen.value.clone(),
        dir: seen.dir,
        deadline_ns: seen.deadline_ns,
        modified: seen.modified,
        created: seen.created,
    }
}

impl Tree {
    /// Takes in one record of the engine, in the order of keys; `None`: it is damaged, or does not
    /// fit to those before.
    pub(crate) fn load(&mut self, key: &[u8], record: &[u8]) -> Option<()> {
        if key == INDEX_KEY {
            self.index = u64::from_be_bytes(record.try_into().ok()?);
            let newest = self.history.events().last()?;
            return (newest.index() == self.index).then_some(());
        }
        match *key.get(1)? {
            EVENT => {
                let event = decode_event(record)?;
                let last = self.history.events().last().map(|last| last.index());
                let is_next = last.is_none_or(|last| last + 1 == event.index());
                let is_own = key.get(2..)? == event.index().to_be_bytes();
                (is_next && is_own).then_some(())?;
                self.history.push(Arc::new(event)).is_empty().then_some(())
            }
            NODE => {
                let path = Path::clean(key.get(2..)?);
                (path.as_bytes() == &key[2..] && !path.is_too_long()).then_some(())?;
                let node = decode_node(record)?;
                (node.modified <= self.index).then_some(())?;
                let (dir, _) = path.split()?;
                self.find(&dir).ok().filter(|dir| dir.is_dir())?;
                self.insert(&path, node);
                self.changes.clear();
                Some(())
            }
            _ => None,
        }
    }
}

fn decode_node(record: &[u8]) -> Option<Node> {
    let V2Node { created, modified, deadline_ns, dir, value } = V2Node::decode(record).ok()?;
    let mut node = Node::dir(created, deadline_ns);
    node.modified = modified;
    if !dir {
        node.content = Content::File(value);
    }
    Some(node)
}

fn decode_event(record: &[u8]) -> Option<Event> {
    let record = V2Event::decode(record).ok()?;
    let action = match record.action() {
        v2_event::Action::Unknown => return None,
        v2_event::Action::Set => Action::Set,
        v2_event::Action::Create => Action::Create,
        v2_event::Action::Update => Action::Update,
        v2_event::Action::CompareAndSwap => Action::CompareAndSwap,
        v2_event::Action::Delete => Action::Delete,
        v2_event::Action::CompareAndDelete => Action::CompareAndDelete,
        v2_event::Action::Expire => Action::Expire,
    };
    let V2Event { node, prev, refresh, now_ns, .. } = record;
    Some(Event { action, node: seen(node?), prev: prev.map(seen), refresh, now_ns })
}

fn seen(record: V2Seen) -> Seen {
    let V2Seen { path, value, dir, deadline_ns, modified, created } = record;
    Seen { path, value, dir, deadline_ns, modified, created, nodes: Vec::new() }
}
