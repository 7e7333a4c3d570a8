//! What watchers are told is ordered, unique, atomic, without gaps, and can be resumed; the version
//! before is right; progress is never ahead of events; and whoever cannot be served is told so.

use std::collections::BTreeMap;

use api::mvccpb::event::EventType;
use api::mvccpb::{Event, KeyValue};

use super::Finding;
use super::model::Model;
use crate::history::{Heard, History, Session, Truth, Watch};
use store::EventKind;

const OF: &str = "watches";

pub(super) fn check(history: &History) -> Vec<Finding> {
    let truth = history.truth.lock();
    let expected = expected(&truth);
    let mut found = Vec::new();
    for (place, watch) in history.watches.lock().iter().enumerate() {
        let mine: BTreeMap<i64, Vec<&Expected>> = of_prefix(&expected, &watch.prefix);
        let mut reader = Reader { watch, mine, truth: &truth, next: 0, known: false };
        for (nth, session) in watch.sessions.iter().enumerate() {
            if let Err(what) = reader.session(session) {
                found.push((OF, format!("watch {place}, stream {nth}: {what}")));
                break;
            }
        }
    }
    found.truncate(5);
    found
}

/// One event, as a watcher should see it.
struct Expected {
    event: Event,
    prev: Option<KeyValue>,
}

fn expected(truth: &Truth) -> BTreeMap<i64, Vec<Expected>> {
    let mut model = Model::default();
    let mut all = BTreeMap::new();
    for (revision, change) in &truth.changes {
        let mut events = Vec::new();
        for event in &change.batch.events {
            let prev = model.keys.get(&event.kv.key).cloned();
            let kind = match event.kind {
                EventKind::Put => EventType::Put,
                EventKind::Delete => EventType::Delete,
            };
            let kv = Some(event.kv.clone());
            events.push(Expected { event: Event { r#type: kind as i32, kv, prev_kv: None }, prev });
        }
        // What is wrong with the changes themselves is another oracle's.
        let _ = model.change(&change.batch);
        all.insert(*revision, events);
    }
    all
}

fn of_prefix<'a>(
    all: &'a BTreeMap<i64, Vec<Expected>>,
    prefix: &str,
) -> BTreeMap<i64, Vec<&'a Expected>> {
    let has = |it: &&Expected| {
        it.event.kv.as_ref().is_some_and(|kv| kv.key.starts_with(prefix.as_bytes()))
    };
    let mine = all.iter().map(|(revision, events)| (*revision, events.iter().filter(has)));
    mine.map(|(revision, events)| (revision, events.collect::<Vec<_>>()))
        .filter(|(_, events)| !events.is_empty())
        .collect()
}

struct Reader<'a> {
    watch: &'a Watch,
    mine: BTreeMap<i64, Vec<&'a Expected>>,
    truth: &'a Truth,
    /// Everything below was heard of.
    next: i64,
    /// Where it stands is known.
    known: bool,
}

impl Reader<'_> {
    fn session(&mut self, session: &Session) -> Result<(), String> {
        self.next = session.start;
        self.known = session.start > 0;
        for heard in &session.heard {
            match heard {
                Heard::Created(revision) => {
                    if !self.known {
                        (self.next, self.known) = (revision + 1, true);
                    }
                }
                Heard::Events(events) => self.events(events)?,
                Heard::Progress(revision) => {
                    self.nothing_before(*revision + 1, "progress")?;
                    self.next = self.next.max(revision + 1);
                }
                Heard::Compacted(revision) => self.compacted(*revision)?,
            }
        }
        Ok(())
    }

    /// One response: whole revisions, the next ones that there are.
    fn events(&mut self, events: &[Event]) -> Result<(), String> {
        let mut rest = events;
        while let Some(first) = rest.first() {
            let revision = revision_of(first);
            let count = rest.iter().take_while(|it| revision_of(it) == revision).count();
            let (together, later) = rest.split_at(count);
            self.nothing_before(revision, "an event")?;
            if revision < self.next {
                return Err(format!("r{revision} comes after r{}", self.next - 1));
            }
            let should = self.mine.get(&revision).map_or(&[][..], Vec::as_slice);
            self.compare(revision, together, should)?;
            self.next = revision + 1;
            rest = later;
        }
        Ok(())
    }

    fn compare(&self, revision: i64, is: &[Event], should: &[&Expected]) -> Result<(), String> {
        let plain = |event: &Event| Event { prev_kv: None, ..event.clone() };
        let same = is.len() == should.len()
            && is.iter().zip(should).all(|(is, should)| plain(is) == should.event);
        if !same {
            let should: Vec<_> = should.iter().map(|it| &it.event).collect();
            return Err(format!("r{revision} is told as {is:?}, and was {should:?}"));
        }
        for (is, should) in is.iter().zip(should) {
            // What a key was just before the revision of a compaction is kept.
            let compacted = self.truth.compactions.iter().any(|at| *at >= revision);
            let right = match (&is.prev_kv, &should.prev) {
                (None, _) if !self.watch.prev_kv => true,
                (Some(is), Some(should)) => is == should,
                (None, None) => true,
                (None, Some(_)) => compacted,
                (Some(_), None) => false,
            };
            if !right {
                let (is, should) = (&is.prev_kv, &should.prev);
                return Err(format!("before r{revision} was {should:?}, not {is:?}"));
            }
        }
        Ok(())
    }

    /// All that there was below `revision` was told.
    fn nothing_before(&self, revision: i64, what: &str) -> Result<(), String> {
        if !self.known || revision <= self.next {
            return Ok(());
        }
        match self.mine.range(self.next..revision).next() {
            Some((missed, _)) => Err(format!("{what} at r{revision}, and r{missed} was left out")),
            None => Ok(()),
        }
    }

    fn compacted(&mut self, revision: i64) -> Result<(), String> {
        let is_real = self.truth.compactions.contains(&revision);
        if !is_real || revision <= self.next {
            return Err(format!(
                "told of a compaction at r{revision}, and stood at r{}",
                self.next
            ));
        }
        self.next = revision;
        Ok(())
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// A watch that has not heard of the last change of its keys, if there is one.
pub(super) fn unserved(history: &History) -> Option<String> {
    let truth = history.truth.lock();
    let expected = expected(&truth);
    let watches = history.watches.lock();
    watches.iter().enumerate().find_map(|(place, watch)| {
        let last = *of_prefix(&expected, &watch.prefix).last_key_value()?.0;
        let upto = watch.sessions.iter().flat_map(heard_upto).max().unwrap_or(0);
        (upto < last).then(|| format!("watch {place} has heard of r{upto}, of r{last}"))
    })
}

/// The revisions up to which each response told of everything.
fn heard_upto(session: &Session) -> impl Iterator<Item = i64> + '_ {
    session.heard.iter().map(|heard| match heard {
        Heard::Events(events) => events.last().map_or(0, revision_of),
        Heard::Progress(revision) => *revision,
        // It begins there, unless it was asked to begin before: then nothing was told yet.
        Heard::Created(revision) if session.start == 0 => *revision,
        Heard::Created(_) => session.start - 1,
        Heard::Compacted(revision) => revision - 1,
    })
}
