//! The same rules over a flat list of paths, as plainly as they can be written.

use std::collections::BTreeMap;

use api::berthpb::v2_write::Action as Asked;
use api::berthpb::{V2Expire, V2Write};
use bytes::Bytes;

use super::super::{Action, Event, Reason, Seen};

#[derive(Clone)]
pub(super) struct Entry {
    value: Option<Bytes>,
    deadline_ns: Option<i64>,
    modified: u64,
    created: u64,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) index: u64,
    pub(super) events: Vec<Event>,
}

pub(super) type Outcome = Result<Event, (Reason, String)>;

impl Model {
    pub(super) fn apply(&mut self, write: &V2Write) -> Outcome {
        let path = std::str::from_utf8(&write.path).unwrap().to_owned();
        match write.action() {
            Asked::Unknown => Err((Reason::UnknownAction, String::new())),
            Asked::Set => self.set(write, path),
            Asked::Create => self.make(write, path, Action::Create, write.value.clone(), None),
            Asked::CreateInOrder => {
                let path = format!("{}/{:020}", path.trim_end_matches('/'), self.index + 1);
                self.make(write, path, Action::Create, write.value.clone(), None)
            }
            Asked::Update => self.update(write, &path),
            Asked::CompareAndSwap => self.swap(write, &path),
            Asked::Delete => self.delete(write, &path),
            Asked::CompareAndDelete => {
                self.compare(write, &path)?;
                Ok(self.take_out(&path, Action::CompareAndDelete, write.now_ns))
            }
        }
    }

    pub(super) fn expire(&mut self, expire: &V2Expire) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..expire.count_max {
            let due = self.entries.iter().filter_map(|(path, entry)| {
                Some((entry.deadline_ns?, path.clone())).filter(|due| due.0 <= expire.now_ns)
            });
            let Some((_, path)) = due.min() else { break };
            events.push(self.take_out(&path, Action::Expire, expire.now_ns));
        }
        events
    }

    pub(super) fn seen(&self, path: &str) -> Seen {
        let entry = &self.entries[path];
        Seen {
            path: path.to_owned().into(),
            value: entry.value.clone(),
            dir: entry.value.is_none(),
            deadline_ns: entry.deadline_ns,
            modified: entry.modified,
            created: entry.created,
            nodes: Vec::new(),
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        path == "/" || self.entries.get(path).is_some_and(|entry| entry.value.is_none())
    }

    /// What is in the way to `path`, or that it is not there.
    fn find(&self, path: &str) -> Result<(), (Reason, String)> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        let mut above = "/";
        for end in ends.filter(|_| path != "/") {
            let here = &path[..end];
            if !self.is_dir(above) {
                return Err((Reason::NotDir, above.to_owned()));
            }
            if !self.entries.contains_key(here) {
                return Err((Reason::KeyNotFound, here.to_owned()));
            }
            above = here;
        }
        Ok(())
    }

    fn set(&mut self, write: &V2Write, path: String) -> Outcome {
        let mut value = write.value.clone();
        let mut prev = None;
        match self.find(&path) {
            Ok(()) if path == "/" => {}
            Ok(()) if self.is_dir(&path) => return Err((Reason::NotFile, path)),
            Ok(()) => {
                let seen = self.seen(&path);
                if write.refresh {
                    value = seen.value.clone().unwrap();
                }
                prev = Some(seen);
            }
            Err((Reason::KeyNotFound, _)) if !write.refresh => {}
            Err(refused) => return Err(refused),
        }
        self.make(write, path, Action::Set, value, prev)
    }

    fn make(
        &mut self,
        write: &V2Write,
        path: String,
        action: Action,
        value: Bytes,
        prev: Option<Seen>,
    ) -> Outcome {
        if path == "/" {
            return Err((Reason::RootReadOnly, path));
        }
        match self.find(&path) {
            Ok(()) if prev.is_none() => return Err((Reason::NodeExists, path)),
            Err((Reason::NotDir, cause)) => return Err((Reason::NotDir, cause)),
            _ => {}
        }
        let index = self.index + 1;
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
        for end in ends {
            let dir = Entry { value: None, deadline_ns: None, modified: index, created: index };
            self.entries.entry(path[..end].to_owned()).or_insert(dir);
        }
        let year_2000 = 946_684_800_000_000_000;
        let entry = Entry {
            value: (!write.dir).then_some(value),
            deadline_ns: write.deadline_ns.filter(|deadline| *deadline >= year_2000),
            modified: index,
            created: index,
        };
        self.entries.insert(path.clone(), entry);
        let refresh = write.refresh && action == Action::Set;
        let node = self.seen(&path);
        Ok(self.end(Event { action, node, prev, refresh, now_ns: write.now_ns }))
    }

    fn update(&mut self, write: &V2Write, path: &str) -> Outcome {
        if path == "/" {
            return Err((Reason::RootReadOnly, path.to_owned()));
        }
        self.find(path)?;
        if self.is_dir(path) && !write.value.is_empty() {
            return Err((Reason::NotFile, path.to_owned()));
        }
        Ok(self.rewrite(write, path, Action::Update))
    }

    fn swap(&mut self, write: &V2Write, path: &str) -> Outcome {
        if path == "/" {
            return Err((Reason::RootReadOnly, path.to_owned()));
        }
        self.compare(write, path)?;
        Ok(self.rewrite(write, path, Action::CompareAndSwap))
    }

    fn rewrite(&mut self, write: &V2Write, path: &str, action: Action) -> Event {
        let prev = self.seen(path);
        let index = self.index + 1;
        let entry = self.entries.get_mut(path).unwrap();
        entry.deadline_ns = write.deadline_ns;
        if let Some(value) = &mut entry.value {
            entry.modified = index;
            if !write.refresh {
                *value = write.value.clone();
            }
        }
        let node = Seen { modified: index, ..self.seen(path) };
        let (prev, refresh) = (Some(prev), write.refresh);
        self.end(Event { action, node, prev, refresh, now_ns: write.now_ns })
    }

    fn compare(&self, write: &V2Write, path: &str) -> Result<(), (Reason, String)> {
        self.find(path)?;
        if self.is_dir(path) {
            let shown = if path == "/" { "" } else { path };
            return Err((Reason::NotFile, shown.to_owned()));
        }
        let entry = &self.entries[path];
        let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
        let value = text(entry.value.as_ref().unwrap());
        let prev = text(&write.prev_value);
        let mut causes = Vec::new();
        if !prev.is_empty() && prev != value {
            causes.push(format!("[{prev} != {value}]"));
        }
        if write.prev_index != 0 && write.prev_index != entry.modified {
            causes.push(format!("[{} != {}]", write.prev_index, entry.modified));
        }
        if causes.is_empty() { Ok(()) } else { Err((Reason::CompareFailed, causes.join(" "))) }
    }

    fn delete(&mut self, write: &V2Write, path: &str) -> Outcome {
        if path == "/" {
            return Err((Reason::RootReadOnly, path.to_owned()));
        }
        self.find(path)?;
        if self.is_dir(path) && !write.recursive {
            if !write.dir {
                return Err((Reason::NotFile, path.to_owned()));
            }
            let below = format!("{path}/");
            if self.entries.keys().any(|other| other.starts_with(&below)) {
                return Err((Reason::DirNotEmpty, path.to_owned()));
            }
        }
        Ok(self.take_out(path, Action::Delete, write.now_ns))
    }

    fn take_out(&mut self, path: &str, action: Action, now_ns: i64) -> Event {
        let prev = self.seen(path);
        let node =
            Seen { value: None, deadline_ns: None, modified: self.index + 1, ..prev.clone() };
        let below = format!("{path}/");
        self.entries.retain(|other, _| other != path && !other.starts_with(&below));
        self.end(Event { action, node, prev: Some(prev), refresh: false, now_ns })
    }

    fn end(&mut self, event: Event) -> Event {
        self.index += 1;
        self.events.push(event.clone());
        event
    }

    /// Everything as a recursive listing of `dir` shows it.
    pub(super) fn listing(&self, dir: &str) -> Vec<Seen> {
        let prefix = if dir == "/" { "/".to_owned() } else { format!("{dir}/") };
        let names = self.entries.keys().filter_map(|path| path.strip_prefix(&prefix));
        let own = names.filter(|name| !name.contains('/') && !name.starts_with('_'));
        own.map(|name| {
            let path = format!("{prefix}{name}");
            let nodes = self.listing(&path);
            Seen { nodes, ..self.seen(&path) }
        })
        .collect()
    }
}
