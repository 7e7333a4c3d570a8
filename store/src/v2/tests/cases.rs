//! What no random run finds.

use std::sync::Arc;

use api::berthpb::command::Op;
use api::berthpb::v2_write::Action as Asked;
use api::berthpb::{V2Expire, V2Write};
use api::etcdserverpb as pb;

use super::super::{
    DEPTH_MAX, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, Interest, PATH_BYTES_MAX, Path, Reason,
};
use super::{command, write};
use crate::engine::MemEngine;
use crate::{Error, Options, Position, Response, Store};

struct Log {
    store: Store,
    index: u64,
}

impl Log {
    fn new() -> Log {
        let engine = Arc::new(MemEngine::default());
        Log { store: Store::open(engine, Options::default()).unwrap(), index: 0 }
    }

    fn apply(&mut self, op: Op) -> Result<Response, Error> {
        self.index += 1;
        let position = Position { index: self.index, term: 1, log_id: "l".into() };
        self.store.apply(position, &command(op)).result
    }

    fn write(&mut self, write: V2Write) -> Result<u64, Reason> {
        match self.apply(Op::V2Write(write)).unwrap() {
            Response::V2Write(outcome) => {
                outcome.map(|event| event.index()).map_err(|refusal| refusal.reason)
            }
            answer => panic!("{answer:?}"),
        }
    }

    fn set(&mut self, path: &str, value: &str) -> Result<u64, Reason> {
        self.write(write(Asked::Set, path, value))
    }

    fn past(&self, path: &str, from: u64) -> Result<Option<u64>, Reason> {
        let interest = Interest { path: Path::clean(path.as_bytes()), recursive: true, said_at: 0 };
        let past = self.store.reader().v2_past(&interest, from);
        past.map(|past| past.event.map(|event| event.index())).map_err(|refusal| refusal.reason)
    }

    fn reopened(&self) -> Log {
        let mut bytes = Vec::new();
        self.store.snapshot().write_to(&mut bytes).unwrap();
        let engine = Arc::new(MemEngine::default());
        let store = Store::restore(engine, Options::default(), &mut &*bytes).unwrap();
        Log { store, index: self.index }
    }
}

#[test]
fn the_history_has_a_thousand_changes() {
    // Shows where the window ends, before and after a snapshot, and that refused writes take no
    // place in it.
    let mut log = Log::new();
    let count = HISTORY_EVENTS_MAX as u64;
    for index in 1..=count {
        assert_eq!(log.set("/k", "v"), Ok(index));
    }
    assert_eq!(log.past("/k", 1), Ok(Some(1)));
    assert_eq!(log.set("/", "v"), Err(Reason::RootReadOnly));
    assert_eq!(log.past("/k", 1), Ok(Some(1)));
    assert_eq!(log.set("/other", "v"), Ok(count + 1));
    for log in [&log, &log.reopened()] {
        assert_eq!(log.past("/k", 1), Err(Reason::HistoryCleared));
        assert_eq!(log.past("/k", 2), Ok(Some(2)));
        assert_eq!(log.past("/other", 2), Ok(Some(count + 1)));
        assert_eq!(log.past("/k", count + 1), Ok(None));
        assert_eq!(log.past("/k", u64::MAX), Ok(None));
    }
}

#[test]
fn the_history_is_bounded_in_bytes() {
    // Shows that few large changes push out old ones too, and that the newest is always there.
    let mut log = Log::new();
    let large = "x".repeat(HISTORY_BYTES_MAX / 4);
    for index in 1..=5 {
        assert_eq!(log.set("/k", &large), Ok(index));
    }
    // Each but the first has the value twice: its own and that before.
    assert_eq!(log.past("/k", 3), Err(Reason::HistoryCleared));
    assert_eq!(log.past("/k", 5), Ok(Some(5)));
    assert_eq!(log.set("/huge", &"x".repeat(HISTORY_BYTES_MAX)), Ok(6));
    assert_eq!(log.past("/huge", 6), Ok(Some(6)));
    assert_eq!(log.past("/huge", 5), Err(Reason::HistoryCleared));
}

#[test]
fn what_is_hidden_is_not_told_of_what_comes() {
    // Shows etcd's rule: who watches a directory is told of hidden changes of the past alone, who
    // watches the hidden node of all.
    let mut log = Log::new();
    log.set("/a/_h/x", "v").unwrap();
    let past = |path: &str, said_at| {
        let interest = Interest { path: Path::clean(path.as_bytes()), recursive: true, said_at };
        log.store.reader().v2_past(&interest, 1).unwrap().event.is_some()
    };
    assert!(past("/a", 1));
    assert!(!past("/a", 0) && !past("/", 0));
    assert!(past("/a/_h", 0) && past("/a/_h/x", 0));
}

#[test]
fn paths_are_bounded() {
    // Shows the last depth and length that are taken, and that more is refused before anything is
    // made.
    let mut log = Log::new();
    let deepest = "/d".repeat(DEPTH_MAX - 1);
    assert_eq!(log.set(&deepest, "v"), Ok(1));
    assert_eq!(log.set(&"/e".repeat(DEPTH_MAX), "v"), Err(Reason::PathTooLong));
    let longest = format!("/{}", "l".repeat(PATH_BYTES_MAX - 22));
    assert_eq!(log.set(&longest, "v"), Ok(2));
    assert_eq!(log.set(&format!("{longest}l"), "v"), Err(Reason::PathTooLong));
    let root = log.store.reader().v2().get(&Path::clean(b"/"), false).unwrap();
    assert_eq!(root.nodes.len(), 2);
}

#[test]
fn a_view_stays_as_it_was() {
    // Shows that whoever reads sees one state while the writer goes on.
    let mut log = Log::new();
    log.set("/a/b", "1").unwrap();
    let view = log.store.reader().v2();
    log.set("/a/b", "2").unwrap();
    log.set("/a/c", "3").unwrap();
    let a = view.get(&Path::clean(b"/a"), true).unwrap();
    assert_eq!(a.nodes.len(), 1);
    assert_eq!(a.nodes[0].value.as_deref(), Some(&b"1"[..]));
    assert_eq!(view.index(), 1);
}

#[test]
fn alarms_auth_and_the_quota_count_here_too() {
    // Shows that NOSPACE refuses what grows, CORRUPT everything, and auth every write; and that the
    // quota counts nodes, and no longer when they are gone.
    let mut log = Log::new();
    let before = log.store.reader().live_bytes();
    log.set("/a/b", "value").unwrap();
    assert_eq!(log.store.reader().live_bytes() - before, 2 * 64 + 2 + 4 + 5);
    let alarm = |alarm: pb::AlarmType, action: pb::alarm_request::AlarmAction| {
        Op::Alarm(pb::AlarmRequest { action: action.into(), member_id: 1, alarm: alarm.into() })
    };
    use pb::alarm_request::AlarmAction::{Activate, Deactivate};
    log.apply(alarm(pb::AlarmType::Nospace, Activate)).unwrap();
    let set = || Op::V2Write(write(Asked::Set, "/x", ""));
    assert_eq!(log.apply(set()), Err(Error::NoSpace));
    let delete = V2Write { recursive: true, ..write(Asked::Delete, "/a", "") };
    log.write(delete).unwrap();
    assert_eq!(log.store.reader().live_bytes(), before);
    log.apply(alarm(pb::AlarmType::Corrupt, Activate)).unwrap();
    let expire = V2Expire { now_ns: i64::MAX, count_max: 1 };
    assert_eq!(log.apply(Op::V2Expire(expire)), Err(Error::Corrupt));
    for kind in [pb::AlarmType::Nospace, pb::AlarmType::Corrupt] {
        log.apply(alarm(kind, Deactivate)).unwrap();
    }
    let user = pb::AuthUserAddRequest {
        name: "root".into(),
        hashed_password: "aGFzaA==".into(),
        ..Default::default()
    };
    log.apply(Op::UserAdd(user)).unwrap();
    let grant = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    log.apply(Op::RoleAdd(pb::AuthRoleAddRequest { name: "root".into() })).unwrap();
    log.apply(Op::UserGrantRole(grant)).unwrap();
    log.apply(Op::AuthEnable(pb::AuthEnableRequest {})).unwrap();
    assert_eq!(log.apply(set()), Err(Error::UserEmpty));
    // The server's own command goes on.
    log.apply(Op::V2Expire(V2Expire { now_ns: 0, count_max: 1 })).unwrap();
}

#[test]
fn the_bytes_on_disk_do_not_change() {
    // Shows the records of a small tree with history, as snapshots and engines have them, against a
    // file that was written once: what older versions wrote stays readable.
    const GOLDEN: &[u8] = include_bytes!("../../../testdata/snapshot-v2-tree.bin");
    let mut log = Log::new();
    let deadline_ns = Some(1_000_000_000_000_000_000);
    log.write(V2Write { deadline_ns, now_ns: 7, ..write(Asked::Set, "/a/b", "v") }).unwrap();
    log.write(V2Write { dir: true, ..write(Asked::Create, "/d", "") }).unwrap();
    log.write(V2Write { dir: true, ..write(Asked::Delete, "/d", "") }).unwrap();
    log.write(V2Write { refresh: true, deadline_ns, ..write(Asked::Update, "/a/b", "") }).unwrap();
    let mut bytes = Vec::new();
    log.store.snapshot().write_to(&mut bytes).unwrap();
    assert_eq!(bytes, GOLDEN);
    let engine = Arc::new(MemEngine::default());
    let store = Store::restore(engine, Options::default(), &mut &*GOLDEN).unwrap();
    assert_eq!(store.reader().hash(), log.store.reader().hash());
    assert_eq!(store.reader().v2_next_deadline_ns(), deadline_ns);
}

#[test]
fn a_write_beside_a_listing_copies_a_path_and_not_the_directory() {
    // Proves that somebody who looks at a large directory does not make the next write to it walk
    // over all that is in it, and goes on seeing what was there.
    const FILES: usize = 20_000;
    let mut log = Log::new();
    for number in 0..FILES {
        log.set(&format!("/dir/{number}"), "old").unwrap();
    }
    let dir = Path::clean(b"/dir");
    let view = log.store.reader().v2();
    log.set("/dir/7", "new").unwrap();
    log.set("/dir/more", "new").unwrap();
    // By the old tree and the new: a copy of the directory would hold each file once more.
    let held_twice = view.children_held_twice(&dir);
    assert!(held_twice < 200, "{held_twice} of {FILES}");
    let old = view.get(&dir, false).unwrap();
    assert_eq!(old.nodes.len(), FILES);
    assert!(old.nodes.iter().all(|file| file.value.as_deref() == Some(b"old")));
    let new = log.store.reader().v2().get(&dir, false).unwrap();
    assert_eq!(new.nodes.len(), FILES + 1);
}
