//! Each oracle over histories made by hand: it has nothing against a right one, and names what is
//! wrong in each of the others.

use std::sync::Arc;

use api::mvccpb::KeyValue;
use api::mvccpb::event::EventType;
use store::{Event, EventBatch, EventKind, Revision};

use super::{findings, unserved};
use crate::history::{Change, Heard, History, Lease, Operation, Outcome, Request, Session, Watch};
use crate::log::Log;

const SECOND_NS: u64 = 1_000_000_000;

/// A history that grows by one change, or one operation, a second.
struct Told {
    history: History,
    now_ns: u64,
    keys: super::model::Model,
}

impl Told {
    fn new() -> Told {
        let history = History::new(Log::new(false));
        Told { history, now_ns: 0, keys: super::model::Model::default() }
    }

    fn later(&mut self) -> u64 {
        self.now_ns += SECOND_NS;
        self.now_ns
    }

    /// What the next revision changes: `Some(value)` is a put, `None` a delete.
    fn change(&mut self, changes: &[(&str, Option<&str>)]) -> i64 {
        let revision = self.history.truth.lock().last_revision() + 1;
        self.change_at(revision, changes, false);
        revision
    }

    fn change_at(&mut self, revision: i64, changes: &[(&str, Option<&str>)], expiry: bool) {
        let event = |(sub, (key, value)): (u32, &(&str, Option<&str>))| {
            let before = self.keys.keys.get(key.as_bytes());
            let kind = if value.is_some() { EventKind::Put } else { EventKind::Delete };
            let kv = match value {
                Some(value) => KeyValue {
                    key: key.to_string().into(),
                    value: value.to_string().into(),
                    create_revision: before.map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: before.map_or(1, |kv| kv.version + 1),
                    lease: 0,
                },
                None => KeyValue {
                    key: key.to_string().into(),
                    mod_revision: revision,
                    ..KeyValue::default()
                },
            };
            Event { kind, kv, revision: Revision::new(revision, sub), prev: None }
        };
        let events = (0..).zip(changes).map(event).collect();
        let batch = Arc::new(EventBatch { revision, events });
        let _ = self.keys.change(&batch);
        let change = Change { batch, first_ns: self.later(), expiry };
        self.history.truth.lock().changes.insert(revision, change);
    }

    fn ask(&mut self, request: Request, outcome: Outcome) {
        let (invoked_ns, answered_ns) = (self.later(), self.later());
        let operation =
            Operation { client: 0, member: 1, request, invoked_ns, answered_ns, outcome };
        self.history.operations.lock().push(operation);
    }

    /// A put of `key` that is done and acknowledged.
    fn put(&mut self, key: &str, value: &str) -> i64 {
        let revision = self.change(&[(key, Some(value))]);
        self.ask(put(key, value), Outcome::Put { revision });
        revision
    }

    fn kv(&self, key: &str) -> Vec<KeyValue> {
        self.keys.range(key.as_bytes(), &[])
    }

    /// One watch of all keys, of one stream.
    fn hears(&mut self, start: i64, prev_kv: bool, heard: Vec<Heard>) {
        let sessions = vec![Session { start, heard }];
        self.history.watches.lock().push(Watch { prefix: "k".to_owned(), prev_kv, sessions });
    }

    /// As a watcher is told of these revisions, in one response.
    fn events(&self, revisions: &[i64]) -> Heard {
        let truth = self.history.truth.lock();
        let batches = revisions.iter().map(|revision| truth.changes[revision].batch.clone());
        let told = |event: &Event| api::mvccpb::Event {
            r#type: match event.kind {
                EventKind::Put => EventType::Put,
                EventKind::Delete => EventType::Delete,
            } as i32,
            kv: Some(event.kv.clone()),
            prev_kv: None,
        };
        Heard::Events(
            batches.flat_map(|it| it.events.iter().map(told).collect::<Vec<_>>()).collect(),
        )
    }

    #[track_caller]
    fn right(&self) {
        assert_eq!(findings(&self.history, self.now_ns), []);
    }

    #[track_caller]
    fn wrong(&self, of: &str, what: &str) {
        let found = findings(&self.history, self.now_ns);
        let named = found.iter().any(|(its, said)| *its == of && said.contains(what));
        assert!(named, "{of} did not say {what:?}: {found:?}");
    }
}

fn put(key: &str, value: &str) -> Request {
    Request::Put { key: key.to_owned(), value: value.to_owned(), lease: 0 }
}

fn get(key: &str, serializable: bool) -> Request {
    Request::Get { key: key.to_owned(), serializable }
}

#[test]
fn an_acknowledged_write_that_is_gone_is_seen() {
    // Proves it for the last write of all, for one whose revision another has, and for a read in
    // the end that nobody's write explains.
    let mut told = Told::new();
    told.put("k1", "a");
    told.right();
    told.ask(put("k1", "b"), Outcome::Put { revision: 3 });
    told.wrong("linearizability", "r3 is nowhere in the log");

    let mut told = Told::new();
    told.put("k1", "a");
    told.change(&[("k1", Some("c"))]);
    told.ask(put("k1", "b"), Outcome::Put { revision: 3 });
    told.wrong("linearizability", "acknowledged, and there is");

    let mut told = Told::new();
    let revision = told.put("k1", "a");
    told.ask(Request::List, Outcome::Read { revision, kvs: Vec::new() });
    told.wrong("linearizability", "there was");
}

#[test]
fn an_answer_out_of_its_time_is_seen() {
    // Proves that a read may be old only if it asked for that, and that of two writes one after the
    // other the later has the newer revision.
    for (serializable, right) in [(true, true), (false, false)] {
        let mut told = Told::new();
        let first = told.put("k1", "a");
        let kvs = told.kv("k1");
        told.put("k1", "b");
        told.ask(get("k1", serializable), Outcome::Read { revision: first, kvs });
        if right { told.right() } else { told.wrong("linearizability", "was seen before") }
    }
    let mut told = Told::new();
    let (first, second) = (told.change(&[("k1", Some("a"))]), told.change(&[("k2", Some("b"))]));
    told.ask(put("k2", "b"), Outcome::Put { revision: second });
    told.ask(put("k1", "a"), Outcome::Put { revision: first });
    told.wrong("linearizability", "was seen before");
}

#[test]
fn a_write_is_done_once_whole_or_not_at_all() {
    // Proves that doing it twice, after it was refused, or half is seen; and gaps between revisions.
    let mut told = Told::new();
    told.put("k1", "a");
    told.change(&[("k1", Some("a"))]);
    told.wrong("linearizability", "is written at r2 and at r3");

    let mut told = Told::new();
    told.change(&[("k1", Some("a"))]);
    told.ask(put("k1", "a"), Outcome::Unknown);
    told.right();
    told.ask(put("k1", "a"), Outcome::Refused);
    told.wrong("linearizability", "was refused, and is done at r2");

    let pair = Request::Pair { keys: ["k1".into(), "k2".into()], value: "a".into() };
    let mut told = Told::new();
    let revision = told.change(&[("k1", Some("a")), ("k2", Some("a"))]);
    told.ask(pair.clone(), Outcome::Swapped { revision });
    told.right();
    let mut told = Told::new();
    told.change(&[("k1", Some("a"))]);
    told.ask(pair, Outcome::Unknown);
    told.wrong("linearizability", "is not one change");

    let mut told = Told::new();
    told.change_at(3, &[("k1", Some("a"))], false);
    told.wrong("linearizability", "after r1 comes r3");
}

#[test]
fn swaps_and_deletes_say_what_they_did() {
    // Proves that a swap against another revision, a swap that was not done though it could, and
    // wrong counts are seen.
    let swap = |expected| Request::Swap { key: "k1".into(), expected, value: "b".into() };
    let mut told = Told::new();
    let first = told.put("k1", "a");
    let kvs = told.kv("k1");
    told.ask(swap(first), Outcome::Read { revision: first, kvs });
    told.wrong("linearizability", "not swapped, though nothing stood against it");
    let mut told = Told::new();
    told.put("k1", "a");
    let revision = told.change(&[("k1", Some("b"))]);
    told.ask(swap(17), Outcome::Swapped { revision });
    told.wrong("linearizability", "swapped, though the key was changed at r2");

    for (count, right) in [(2, true), (1, false), (3, false)] {
        let mut told = Told::new();
        told.put("k1", "a");
        told.put("k2", "a");
        let revision = told.change(&[("k1", None), ("k2", None)]);
        told.ask(Request::Clear, Outcome::Deleted { revision, count });
        if right { told.right() } else { told.wrong("linearizability", "but there were 2") }
    }
}

/// k1, k2 and k1 again, with a pair in between: revisions 2 to 5.
fn four_changes() -> Told {
    let mut told = Told::new();
    told.put("k1", "a");
    told.put("k2", "b");
    told.change(&[("k1", Some("c")), ("k2", Some("c"))]);
    told.put("k1", "d");
    told
}

#[test]
fn watchers_are_told_all_in_order_once_and_whole() {
    // Proves that a gap, a repetition, another order, a revision in two parts, an invented event and
    // progress ahead of events are seen, and that a right stream is not.
    let mut told = four_changes();
    told.hears(2, false, vec![Heard::Created(5), told.events(&[2, 3]), told.events(&[4, 5])]);
    told.hears(4, false, vec![Heard::Created(5), told.events(&[4]), Heard::Progress(4)]);
    told.right();

    let wrong = |heard: &dyn Fn(&Told) -> Vec<Heard>, what: &str| {
        let mut told = four_changes();
        told.hears(2, false, heard(&told));
        told.wrong("watches", what);
    };
    wrong(&|told| vec![told.events(&[2]), told.events(&[4])], "r3 was left out");
    wrong(&|told| vec![told.events(&[2, 3]), told.events(&[3, 4])], "r3 comes after r3");
    wrong(&|told| vec![told.events(&[2, 3]), Heard::Progress(4)], "r4 was left out");
    wrong(&|told| vec![told.events(&[3, 2])], "r2 was left out");
    let halves = |told: &Told| {
        let Heard::Events(mut events) = told.events(&[2, 3, 4]) else { unreachable!() };
        let rest = events.split_off(3);
        vec![Heard::Events(events), Heard::Events(rest)]
    };
    wrong(&halves, "r4 is told as");
    let other = |told: &Told| {
        let Heard::Events(mut events) = told.events(&[2]) else { unreachable!() };
        events[0].kv.as_mut().unwrap().value = "x".into();
        vec![Heard::Events(events)]
    };
    wrong(&other, "r2 is told as");
}

#[test]
fn the_version_before_may_be_missing_only_where_it_was_compacted() {
    // Proves that it has to be the right one, and that a compaction below the event is no excuse.
    let told = |prev: Option<&str>, compacted_at: i64| {
        let mut told = Told::new();
        told.put("k1", "a");
        let mut before = told.kv("k1");
        told.put("k1", "b");
        told.history.truth.lock().compactions.push(compacted_at);
        let Heard::Events(mut events) = told.events(&[3]) else { unreachable!() };
        events[0].prev_kv =
            prev.map(|value| KeyValue { value: value.to_owned().into(), ..before.remove(0) });
        told.hears(3, true, vec![Heard::Events(events)]);
        told
    };
    told(Some("a"), 2).right();
    told(None, 3).right();
    told(None, 2).wrong("watches", "before r3 was");
    told(Some("x"), 3).wrong("watches", "before r3 was");
}

#[test]
fn a_compaction_is_told_if_there_was_one() {
    // Proves that events that are gone have to be told of, and that nothing may be called gone.
    let heard = |revision| {
        let mut told = four_changes();
        told.history.truth.lock().compactions.push(4);
        told.hears(2, false, vec![Heard::Compacted(revision)]);
        told
    };
    heard(4).right();
    heard(5).wrong("watches", "told of a compaction at r5");
    let mut told = four_changes();
    told.history.truth.lock().compactions.push(4);
    told.hears(2, false, vec![Heard::Created(5), told.events(&[5])]);
    told.wrong("watches", "r2 was left out");
}

#[test]
fn a_watch_that_was_resumed_has_heard_of_nothing_yet() {
    // Proves that the answer to its creation, which names the newest revision, is no event.
    let heard = |start, heard: &dyn Fn(&Told) -> Vec<Heard>| {
        let mut told = four_changes();
        told.hears(start, false, heard(&told));
        unserved(&told.history)
    };
    assert_eq!(heard(0, &|_| vec![Heard::Created(5)]), None);
    assert_eq!(heard(4, &|told| vec![Heard::Created(5), told.events(&[4, 5])]), None);
    assert_eq!(heard(6, &|_| vec![Heard::Created(5)]), None);
    let waiting = heard(4, &|_| vec![Heard::Created(5)]);
    assert_eq!(waiting.as_deref(), Some("watch 0 has heard of r3, of r5"));
}

#[test]
fn leases_end_in_their_time() {
    // Proves that one that ends early, one that never ends, a key that somebody else took, and one
    // that stayed when the other went are seen.
    let lease = |alive_s: u64, ends: Option<(u64, bool)>, taken: &[&str]| {
        let mut told = Told::new();
        let attach = |key: &str, told: &mut Told| told.change(&[(key, Some("x"))]);
        let keys = ["lease1-0", "lease1-1"];
        let keys = keys.map(|key| (key.to_owned(), attach(key, &mut told))).to_vec();
        let alive_ns = vec![alive_s * SECOND_NS];
        let lease = Lease { id: 1, ttl_s: 5, keys, alive_ns, revoked: false };
        told.history.leases.lock().push(lease);
        if let Some((at_s, expiry)) = ends {
            told.now_ns = (at_s - 1) * SECOND_NS;
            let gone: Vec<_> = taken.iter().map(|key| (*key, None)).collect();
            told.change_at(4, &gone, expiry);
        }
        told.now_ns = told.now_ns.max(60 * SECOND_NS);
        told
    };
    let both = ["lease1-0", "lease1-1"];
    lease(10, Some((16, true)), &both).right();
    lease(10, Some((14, true)), &both).wrong("leases", "ms early");
    lease(10, None, &both).wrong("leases", "still has its keys at the end");
    lease(10, Some((16, false)), &both).wrong("leases", "to nobody who asked for it");
    for one in both {
        lease(10, Some((16, true)), &[one]).wrong("leases", "did not go with it");
    }
}

/// Looks at members, each with its id, one after the other.
fn look(members: &[(u64, raft::Status)]) -> Vec<String> {
    let world = crate::world::World::new(1, false);
    let mut membership = super::membership::Membership::default();
    for (id, status) in members {
        membership.look(&world, *id, status);
    }
    world.violations().into_iter().map(|violation| violation.what).collect()
}

#[test]
fn a_term_has_one_leader_who_has_what_was_committed() {
    // Proves that two leaders of a term are seen, and one that does not have all that was committed
    // in terms before its own; and that entries of its own term, and a follower that lags, are fine.
    let status = |term, leader, last_index, committed_index| raft::Status {
        term,
        leader: Some(leader),
        last_index,
        committed_index,
        ..raft::Status::default()
    };
    let right = [(1, status(1, 1, 9, 7)), (2, status(1, 1, 3, 3)), (2, status(2, 2, 7, 3))];
    assert_eq!(look(&right), [""; 0]);
    let two = look(&[(1, status(1, 1, 9, 7)), (2, status(1, 2, 9, 7))]);
    assert_eq!(two, ["1 and 2 both lead term 1"]);
    let short = look(&[(1, status(1, 1, 9, 7)), (2, status(2, 2, 6, 3))]);
    assert_eq!(short, ["2 leads term 2 with entries up to 6, and 7 were committed before"]);
    assert_eq!(look(&[(1, status(3, 1, 9, 7)), (2, status(2, 2, 6, 3))]), [""; 0]);
}

#[test]
fn memberships_one_after_the_other_share_a_member_of_each_majority() {
    // Proves that a step which lets two halves decide at once is seen, and that one member more,
    // one less, and two steps in one by way of both together are right.
    let changes = |memberships: &[&[&[u64]]]| {
        let told = Told::new();
        let sets =
            |sets: &&[&[u64]]| sets.iter().map(|ids| ids.iter().copied().collect()).collect();
        told.history.truth.lock().memberships = (1..).zip(memberships.iter().map(sets)).collect();
        told
    };
    changes(&[&[&[1, 2, 3]], &[&[1, 2, 3, 4]], &[&[1, 2, 4]]]).right();
    changes(&[&[&[1, 2, 3]], &[&[1, 2, 3], &[1, 4, 5]], &[&[1, 4, 5]]]).right();
    changes(&[&[&[1, 2, 3]], &[&[1, 4, 5]]]).wrong("membership", "could decide without");
    changes(&[&[&[1, 2, 3]], &[&[1, 2, 4, 5]]]).wrong("membership", "could decide without");
}

#[test]
fn pointers_go_forward_and_are_in_order() {
    // Proves that a purge behind no snapshot, one that a living member takes back, and a snapshot
    // that is gone with the process are seen; a purge that a new process does again is right.
    let status = |purged_index, snapshot_index| raft::Status {
        purged_index,
        snapshot_index,
        applied_index: 9,
        ..raft::Status::default()
    };
    let looks = |seen: &[(u64, raft::Status)]| {
        let world = crate::world::World::new(1, false);
        let mut pointers = super::pointers::Pointers::default();
        seen.iter().for_each(|(life, status)| pointers.look(&world, 1, *life, status));
        world.violations().len()
    };
    assert_eq!(looks(&[(1, status(3, 5)), (1, status(5, 8)), (2, status(3, 8))]), 0);
    assert_eq!(looks(&[(1, status(3, 2))]), 1);
    assert_eq!(looks(&[(1, status(0, 10))]), 1);
    assert_eq!(looks(&[(1, status(3, 5)), (1, status(2, 5))]), 1);
    assert_eq!(looks(&[(1, status(3, 5)), (2, status(3, 4))]), 1);
}
