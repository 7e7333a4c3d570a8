//! Linearizability, from when calls began and ended and what revision they answered with.
//!
//! The store has one order: its revisions. A write's revision is its place; a linearizable read
//! answers with the store's revision, which is its place. So the calls are linearizable exactly
//! when (1) that order never contradicts real time, and (2) each read returns what the history
//! has at its revision. This checks all keys together, which no check of single registers does.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Formatter};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use api::etcdserverpb::RangeResponse;
use api::mvccpb::event::EventType;

use super::History;
use super::events::kv;

/// The calls of a run, by all clients.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    answered: Vec<Call>,
    /// Writes that were sent and not answered, by their unique values.
    unknown: HashMap<Vec<u8>, Instant>,
    reads: Vec<Read>,
}

/// A call with its place in the order of the store.
#[derive(Clone, Debug)]
struct Call {
    started: Instant,
    /// `None` when nobody saw its end.
    ended: Option<Instant>,
    revision: i64,
    is_write: bool,
    who: String,
}

/// What a read returned.
#[derive(Debug)]
struct Read {
    key: String,
    revision: i64,
    found: Option<(i64, Vec<u8>)>,
    who: String,
}

/// Each key's changes: revision and value, `None` for a deletion.
type Changes<'a> = BTreeMap<&'a [u8], Vec<(i64, Option<&'a [u8]>)>>;

impl Timeline {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().expect("no holder panics")
    }

    /// A write that was answered just now.
    pub fn wrote(&self, who: &str, started: Instant, revision: i64) {
        let ended = Some(Instant::now());
        let who = who.to_owned();
        self.calls().answered.push(Call { started, ended, revision, is_write: true, who });
    }

    /// A write that failed after it was sent: it may happen at any time from its start on.
    pub fn wrote_perhaps(&self, started: Instant, value: &[u8]) {
        self.calls().unknown.insert(value.to_vec(), started);
    }

    /// A linearizable read of one key that was answered just now.
    pub fn read(&self, who: &str, started: Instant, key: &str, answer: &RangeResponse) {
        let ended = Some(Instant::now());
        let revision = answer.header.map_or(0, |header| header.revision);
        let found = answer.kvs.first().map(|kv| (kv.mod_revision, kv.value.to_vec()));
        let (key, who) = (key.to_owned(), who.to_owned());
        let mut calls = self.calls();
        let call = Call { started, ended, revision, is_write: false, who: who.clone() };
        calls.answered.push(call);
        calls.reads.push(Read { key, revision, found, who });
    }

    /// How many reads were answered.
    pub fn reads(&self) -> usize {
        self.calls().reads.len()
    }

    /// Everything was linearizable. `history` has all revisions up to the newest answer.
    ///
    /// # Panics
    /// When it was not, with the two calls, or the read, that cannot be true.
    pub fn check(&self, history: &History) {
        let calls = self.calls();
        let mut all = calls.answered.clone();
        all.extend(late_effects(history, &calls.unknown));
        check_order(all).unwrap_or_else(|violation| panic!("{violation}"));
        let changes = changes(history);
        for read in &calls.reads {
            check_read(read, &changes).unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
}

/// The writes of unknown outcome that did happen.
fn late_effects<'a>(
    history: &'a History,
    unknown: &'a HashMap<Vec<u8>, Instant>,
) -> impl Iterator<Item = Call> + 'a {
    history.events().iter().filter_map(|event| {
        let started = *unknown.get(&kv(event).value[..])?;
        let (revision, who) = (kv(event).mod_revision, "a write of unknown outcome".to_owned());
        Some(Call { started, ended: None, revision, is_write: true, who })
    })
}

/// Whether the order of revisions agrees with real time: a call that began after another had
/// ended comes later, and a write strictly later.
fn check_order(mut calls: Vec<Call>) -> Result<(), String> {
    let mut ends: Vec<(Instant, usize)> = calls
        .iter()
        .enumerate()
        .filter_map(|(at, call)| call.ended.map(|ended| (ended, at)))
        .collect();
    ends.sort_unstable();
    let by_end: Vec<(Instant, Call)> =
        ends.into_iter().map(|(ended, at)| (ended, calls[at].clone())).collect();
    calls.sort_by_key(|call| call.started);
    let mut newest: Option<&Call> = None;
    let mut over = by_end.iter().peekable();
    for call in &calls {
        while let Some((_, ended)) = over.next_if(|(ended, _)| *ended < call.started) {
            if newest.is_none_or(|newest| newest.revision < ended.revision) {
                newest = Some(ended);
            }
        }
        let Some(newest) = newest else { continue };
        let lowest = newest.revision + i64::from(call.is_write);
        if call.revision < lowest {
            let late_us = newest.ended.map(|ended| (call.started - ended).as_micros());
            return Err(format!(
                "not linearizable: {call} began {late_us:?} us after the end of {newest}"
            ));
        }
    }
    Ok(())
}

fn changes(history: &History) -> Changes<'_> {
    let mut changes = Changes::new();
    for event in history.events() {
        let kv = kv(event);
        let value = (event.r#type() == EventType::Put).then_some(&kv.value[..]);
        changes.entry(&kv.key[..]).or_default().push((kv.mod_revision, value));
    }
    changes
}

fn check_read(read: &Read, changes: &Changes<'_>) -> Result<(), String> {
    let of_key = changes.get(read.key.as_bytes()).map_or(&[][..], Vec::as_slice);
    let upto = of_key.partition_point(|(revision, _)| *revision <= read.revision);
    let (revision, value) = upto.checked_sub(1).map_or((0, None), |last| of_key[last]);
    let expected = value.map(|value| (revision, value));
    if read.found.as_ref().map(|(revision, value)| (*revision, &value[..])) == expected {
        return Ok(());
    }
    let Read { who, key, revision, found } = read;
    Err(format!("{who} read {key} at revision {revision} and found {found:?}, not {expected:?}"))
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let what = if self.is_write { "write" } else { "read" };
        write!(f, "the {what} of revision {} by {}", self.revision, self.who)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(began_ms: u64, ended_ms: Option<u64>, revision: i64, is_write: bool) -> Call {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let at = |ms| *START + Duration::from_millis(ms);
        let (started, ended) = (at(began_ms), ended_ms.map(at));
        Call { started, ended, revision, is_write, who: "test".to_owned() }
    }

    fn read(began_ms: u64, ended_ms: u64, revision: i64) -> Call {
        call(began_ms, Some(ended_ms), revision, false)
    }

    fn write(began_ms: u64, ended_ms: u64, revision: i64) -> Call {
        call(began_ms, Some(ended_ms), revision, true)
    }

    #[test]
    fn calls_that_overlap_may_come_in_any_order() {
        // Proves that the check accepts what linearizability allows.
        let calls = vec![write(0, 10, 3), write(5, 15, 2), read(8, 9, 3), read(10, 12, 2)];
        assert!(check_order(calls).is_err(), "the first read ended before the second began");
        let calls = vec![write(0, 10, 3), write(5, 15, 2), read(8, 11, 3), read(9, 12, 2)];
        assert_eq!(check_order(calls), Ok(()));
        let never_ended = call(1, None, 9, true);
        assert_eq!(check_order(vec![write(0, 5, 2), never_ended, write(20, 25, 3)]), Ok(()));
    }

    #[test]
    fn stale_reads_and_lost_writes_are_found() {
        // Proves that the check finds each kind of planted violation.
        assert!(check_order(vec![write(0, 5, 7), read(6, 8, 6)]).is_err(), "a stale read");
        assert!(check_order(vec![read(0, 5, 7), write(6, 8, 7)]).is_err(), "a revision twice");
        assert!(check_order(vec![write(0, 5, 7), write(6, 8, 6)]).is_err(), "a write goes back");
        let effect_before_cause = vec![read(0, 5, 7), call(6, None, 7, true)];
        assert!(check_order(effect_before_cause).is_err(), "an effect before its cause");
    }

    #[test]
    fn a_read_returns_what_was_written_last() {
        // Proves that the content of a read is compared at the read's own revision.
        let changes = Changes::from([(&b"k"[..], vec![(3, Some(&b"a"[..])), (5, None)])]);
        let read = |revision, found| {
            let read = Read { key: "k".to_owned(), revision, found, who: String::new() };
            check_read(&read, &changes).is_ok()
        };
        assert!(read(2, None) && read(4, Some((3, b"a".to_vec()))) && read(5, None));
        assert!(!read(3, None) && !read(5, Some((3, b"a".to_vec()))));
        assert!(!read(4, Some((3, b"b".to_vec()))));
    }
}
