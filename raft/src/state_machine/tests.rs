use std::sync::atomic::{AtomicUsize, Ordering};

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::PutRequest;
use openraft_rt_tokio::TokioRuntime;
use store::engine::MemEngine;

use super::*;
use crate::config::Observe;
use crate::types::{CommittedLeaderId, Proposal};
use crate::vfs::CrashFs;

#[derive(Default)]
struct Replaced(AtomicUsize);

impl Observe for Replaced {
    fn applied(&self, _: &Command, _: &Applied, _: bool) {
        panic!("nothing is applied here");
    }

    fn replaced(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A fresh state machine on a disk of its own, and its hub.
fn machine(on_applied: Option<AppliedObserver>) -> (StateMachine<TokioRuntime>, watch::Hub) {
    let engine = Arc::new(MemEngine::new());
    let options = store::Options { value_cache_bytes: 0, ..store::Options::default() };
    let store = Store::open(engine.clone(), options.clone()).unwrap();
    let (hub, publisher) = watch::Hub::new(store.reader(), watch::Options::default());
    let machine = StateMachine::new(Parts {
        behind: Arc::new(Behind::new(&store, Box::new(|| u64::MAX))),
        store,
        engine,
        options,
        member_id: 1,
        roster: Roster::default(),
        waiters: Waiters::new(0),
        sole: Sole::new(1),
        cluster_id: 1,
        publisher,
        lessor: Lessor::new(2, None),
        on_applied,
        log_next: 0,
        snapshot_log_bytes_min: u64::MAX,
        snapshots: SnapshotDir::open(Arc::new(CrashFs::new()), "snap".into(), None).unwrap(),
    });
    (machine, hub)
}

/// Applies puts of `value` to `k0`, `k1`...: entries `indexes` of the log; and flushes them.
fn apply_puts(
    machine: &mut StateMachine<TokioRuntime>,
    indexes: std::ops::Range<u64>,
    value: &str,
) {
    for index in indexes {
        let put = PutRequest {
            key: format!("k{index}").into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        let command = Command { op: Some(Op::Put(put)), ..Command::default() };
        let log_id = LogId { leader_id: CommittedLeaderId::new(1), index };
        let payload = EntryPayload::Normal(Proposal::new(command));
        machine.apply_caught(Entry { log_id, payload }).unwrap();
    }
    machine.behind.flush_all().unwrap();
}

#[tokio::test]
async fn an_installed_snapshot_is_told_to_the_observer() {
    // Proves that whoever learned from the log is told when a snapshot takes its place.
    let observer = Arc::new(Replaced::default());
    let (mut machine, _hub) = machine(Some(AppliedObserver(observer.clone())));
    let mut builder = machine.get_snapshot_builder().await;
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(observer.0.load(Ordering::SeqCst), 0);
    machine.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(observer.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_build_that_an_installed_snapshot_overtakes_gives_that_one() {
    // Proves that a member which takes a snapshot while one is installed goes on, and that no file
    // comes of the half: the engine under it holds another state by then.
    let (mut leader, _) = machine(None);
    apply_puts(&mut leader, 0..20, "new");
    let newer = leader.get_snapshot_builder().await.build_snapshot().await.unwrap();

    let (mut member, _hub) = machine(None);
    apply_puts(&mut member, 0..5, "old");
    let mut builder = member.get_snapshot_builder().await;
    member.install_snapshot(&newer.meta, newer.snapshot).await.unwrap();
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta, newer.meta);
    assert_eq!(member.snapshots.all().len(), 1);
    assert_eq!(member.store.reader().position().index, 20);
}
