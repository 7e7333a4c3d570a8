use std::sync::atomic::{AtomicUsize, Ordering};

use api::berthpb::{Command, command::Op};
use api::etcdserverpb::{CompactionRequest, PutRequest};
use openraft_rt_tokio::TokioRuntime;
use store::engine::MemEngine;

use super::*;
use crate::config::Observe;
use crate::types::{CommittedLeaderId, Proposal};
use crate::vfs::CrashFs;

#[derive(Default)]
struct Replaced(AtomicUsize);

impl Observe for Replaced {
    fn applied(&self, _: &Command, _: &Applied) {
        panic!("nothing is applied here");
    }

    fn replaced(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A machine of cluster 1 without any cache, so that values have to come from the engine.
fn machine(on_applied: Option<AppliedObserver>) -> StateMachine<TokioRuntime> {
    let engine = Arc::new(MemEngine::new());
    let options = store::Options { value_cache_bytes: 0, ..store::Options::default() };
    let store = Store::open(engine.clone(), options.clone()).unwrap();
    let (_, publisher) = watch::Hub::new(store.reader(), watch::Options::default());
    StateMachine::new(Parts {
        behind: Arc::new(Behind::new(&store)),
        store,
        engine,
        options,
        member_id: 1,
        roster: Roster::default(),
        waiters: Waiters::new(0),
        cluster_id: 1,
        publisher,
        lessor: Lessor::new(2),
        on_applied,
        snapshots: SnapshotDir::open(Arc::new(CrashFs::new()), "snap".into(), None).unwrap(),
    })
}

fn apply(machine: &mut StateMachine<TokioRuntime>, index: u64, op: Op) {
    let command = Command { op: Some(op), ..Command::default() };
    let log_id = LogId { leader_id: CommittedLeaderId::new(1), index };
    let payload = EntryPayload::Normal(Proposal::new(command));
    machine.apply_entry(Entry { log_id, payload }).unwrap().0.result.unwrap();
}

/// Writes one key again and again.
fn put(machine: &mut StateMachine<TokioRuntime>, indexes: std::ops::Range<u64>) {
    for index in indexes {
        let value = vec![7; 10_000].into();
        apply(machine, index, Op::Put(PutRequest { key: "k".into(), value, ..Default::default() }));
    }
    machine.behind.flush_all().unwrap();
}

/// Leaves nothing of the key but its newest value.
fn compact(machine: &mut StateMachine<TokioRuntime>, index: u64) {
    let revision = machine.store.reader().revision();
    apply(machine, index, Op::Compact(CompactionRequest { revision, physical: true }));
    machine.behind.flush_all().unwrap();
    while machine.behind.compact_step(1000).unwrap() {}
    machine.behind.flush_all().unwrap();
}

#[tokio::test]
async fn a_snapshot_that_comes_while_one_is_written_takes_its_place() {
    // Proves that a follower does not fail when its leader's snapshot removes the state that its
    // own snapshot was being written from.
    let mut ahead = machine(None);
    put(&mut ahead, 0..20);
    compact(&mut ahead, 20);
    let sent = ahead.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut behind = machine(None);
    put(&mut behind, 0..10);
    let mut own = behind.get_snapshot_builder().await;
    behind.install_snapshot(&sent.meta, sent.snapshot).await.unwrap();
    let built = own.build_snapshot().await.unwrap();
    assert_eq!(built.meta, sent.meta);
    assert_eq!(behind.snapshots.newest().unwrap().index(), Some(20));
}

#[tokio::test]
async fn an_installed_snapshot_is_told_to_the_observer() {
    // Proves that whoever learned from the log is told when a snapshot takes its place.
    let observer = Arc::new(Replaced::default());
    let mut machine = machine(Some(AppliedObserver(observer.clone())));
    let mut builder = machine.get_snapshot_builder().await;
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(observer.0.load(Ordering::SeqCst), 0);
    machine.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(observer.0.load(Ordering::SeqCst), 1);
}
