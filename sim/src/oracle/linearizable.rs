//! Reads and writes are linearizable; writes are done once, and those that were acknowledged are
//! there; the revision counts them.
//!
//! Every answer names a revision, so the order is given and need not be searched for: it remains to
//! show that it is one. Answers must fit what a plain store holds at their revision, and of two
//! operations one of which ended before the other began, the later must not have the older revision.

use std::collections::BTreeMap;

use super::Finding;
use super::model::Model;
use crate::clients::keys::{END, PREFIX};
use crate::clients::watcher::end_of;
use crate::history::{History, Operation, Outcome, Request, Truth};
use store::EventKind;

const OF: &str = "linearizability";

pub(super) fn check(history: &History) -> Vec<Finding> {
    let operations = history.operations.lock();
    let truth = history.truth.lock();
    let mut found = Vec::new();
    found.extend(check_count(&truth));
    found.extend(check_once(&operations, &truth));
    found.extend(check_answers(&operations, &truth));
    found.extend(check_time(&operations));
    found.truncate(5);
    found.into_iter().map(|what| (OF, what)).collect()
}

/// Revisions have no gaps: each counts one change.
fn check_count(truth: &Truth) -> Option<String> {
    let mut all = (2..).zip(truth.changes.keys());
    let (expected, revision) = all.find(|(expected, revision)| expected != *revision)?;
    Some(format!("after r{} comes r{revision}", expected - 1))
}

/// A value is written once at most, to all keys at once that it was for, and never if the client was
/// told that it is not.
fn check_once(operations: &[Operation], truth: &Truth) -> Vec<String> {
    let mut written: BTreeMap<String, i64> = BTreeMap::new();
    let mut found = Vec::new();
    for (revision, change) in &truth.changes {
        for event in change.batch.events.iter().filter(|event| event.kind == EventKind::Put) {
            let value = String::from_utf8_lossy(&event.kv.value).into_owned();
            let key = String::from_utf8_lossy(&event.kv.key);
            if let Some(before) = written.insert(format!("{key}={value}"), *revision)
                && before != *revision
            {
                found.push(format!("{key}={value} is written at r{before} and at r{revision}"));
            }
        }
    }
    for operation in operations {
        let Some(value) = operation.request.value() else { continue };
        let keys = operation.request.written().iter();
        let done: Vec<Option<i64>> =
            keys.map(|key| written.get(&format!("{key}={value}")).copied()).collect();
        let refused = match operation.outcome {
            Outcome::Refused => true,
            Outcome::Read { .. } => matches!(operation.request, Request::Swap { .. }),
            _ => false,
        };
        if refused && let Some(revision) = done.iter().flatten().next() {
            found.push(format!("was refused, and is done at r{revision}: {operation:?}"));
        }
        if done.iter().any(|revision| *revision != done[0]) {
            found.push(format!("is not one change, but {done:?}: {operation:?}"));
        }
    }
    found
}

/// Each answer is what a plain store would have given at its revision.
fn check_answers(operations: &[Operation], truth: &Truth) -> Vec<String> {
    let mut by_revision: Vec<&Operation> =
        operations.iter().filter(|it| it.outcome.revision().is_some()).collect();
    by_revision.sort_by_key(|operation| operation.outcome.revision());
    let (mut before, mut now) = (Model::default(), Model::default());
    let (mut at, mut found) = (1, Vec::new());
    let mut changes = truth.changes.iter().peekable();
    for operation in by_revision {
        let revision = operation.outcome.revision().expect("only those with one are looked at");
        while let Some((next, change)) = changes.next_if(|(next, _)| **next <= revision) {
            before = now.clone();
            at = *next;
            if let Err(why) = now.change(&change.batch) {
                found.push(why);
            }
        }
        if revision > at.max(1) {
            found.push(format!("r{revision} is nowhere in the log: {operation:?}"));
        } else if let Some(why) = wrong(operation, &before, &now, at) {
            found.push(format!("{why}: {operation:?}"));
        }
        if found.len() > 5 {
            break;
        }
    }
    found
}

/// What is wrong with the answer, given the keys before the revision and at it. `at`: the newest
/// change of all.
fn wrong(operation: &Operation, before: &Model, now: &Model, at: i64) -> Option<String> {
    match (&operation.request, &operation.outcome) {
        (Request::Put { key, value, .. }, Outcome::Put { revision }) => {
            is_written(now, key, value, *revision)
        }
        (Request::Pair { keys, value }, Outcome::Swapped { revision }) => {
            keys.iter().find_map(|key| is_written(now, key, value, *revision))
        }
        (Request::Swap { key, value, expected }, Outcome::Swapped { revision }) => {
            let was = before.keys.get(key.as_bytes()).map_or(0, |kv| kv.mod_revision);
            if was != *expected {
                return Some(format!("swapped, though the key was changed at r{was}"));
            }
            is_written(now, key, value, *revision)
        }
        (Request::Swap { key, expected, .. }, Outcome::Read { kvs, .. }) => {
            let is = now.keys.get(key.as_bytes()).map_or(0, |kv| kv.mod_revision);
            if is == *expected {
                return Some("not swapped, though nothing stood against it".to_owned());
            }
            (now.range(key.as_bytes(), &[]) != *kvs).then(|| "read something else".to_owned())
        }
        (Request::Delete { key }, Outcome::Deleted { revision, count }) => {
            let was = before.keys.contains_key(key.as_bytes());
            let is = now.keys.contains_key(key.as_bytes());
            let right = match count {
                0 => !is,
                1 => was && !is && *revision == at,
                _ => false,
            };
            (!right).then(|| format!("deleted {count}, but was there: {was}, is there: {is}"))
        }
        (Request::Clear, Outcome::Deleted { revision, count }) => {
            let plain = |model: &Model| model.range(PREFIX.as_bytes(), &end_of(PREFIX)).len();
            let (was, is) = (plain(before), plain(now));
            let right =
                is == 0 && (*count == 0 || (usize::try_from(*count) == Ok(was) && *revision == at));
            (!right).then(|| format!("deleted {count}, but there were {was}, and are {is}"))
        }
        (Request::Get { key, .. }, Outcome::Read { kvs, .. }) => {
            let should = now.range(key.as_bytes(), &[]);
            (should != *kvs).then(|| format!("there was {should:?}"))
        }
        (Request::List, Outcome::Read { kvs, .. }) => {
            let should = now.range(PREFIX.as_bytes(), END.as_bytes());
            (should != *kvs).then(|| format!("there was {should:?}"))
        }
        _ => Some("an answer to another question".to_owned()),
    }
}

fn is_written(now: &Model, key: &str, value: &str, revision: i64) -> Option<String> {
    let kv = now.keys.get(key.as_bytes());
    let is = kv.is_some_and(|kv| kv.value == value.as_bytes() && kv.mod_revision == revision);
    (!is).then(|| format!("acknowledged, and there is {kv:?}"))
}

/// Of two operations, one after the other in time, the later has not the older revision.
fn check_time(operations: &[Operation]) -> Vec<String> {
    // (when, revision) of answers, in the order in which they came.
    let mut answered: Vec<(u64, i64, bool)> = operations
        .iter()
        .filter_map(|it| Some((it.answered_ns, it.outcome.revision()?, changes(it))))
        .collect();
    answered.sort_unstable();
    let mut invoked: Vec<&Operation> =
        operations.iter().filter(|it| it.outcome.revision().is_some() && !is_stale(it)).collect();
    invoked.sort_by_key(|operation| operation.invoked_ns);
    let mut found = Vec::new();
    let (mut past, mut newest, mut newest_write) = (answered.iter().peekable(), 0, 0);
    for operation in invoked {
        while let Some((_, revision, wrote)) = past.next_if(|it| it.0 < operation.invoked_ns) {
            newest = newest.max(*revision);
            if *wrote {
                newest_write = newest_write.max(*revision);
            }
        }
        let revision = operation.outcome.revision().expect("only those with one are looked at");
        let stale = revision < newest || (changes(operation) && revision <= newest_write);
        if stale {
            found.push(format!("r{newest} was seen before: {operation:?}"));
        }
    }
    found
}

/// A revision of its own is its.
fn changes(operation: &Operation) -> bool {
    match &operation.outcome {
        Outcome::Put { .. } | Outcome::Swapped { .. } => true,
        Outcome::Deleted { count, .. } => *count > 0,
        _ => false,
    }
}

/// It may see the past.
fn is_stale(operation: &Operation) -> bool {
    matches!(operation.request, Request::Get { serializable: true, .. })
}
