use std::sync::atomic::{AtomicUsize, Ordering};

use api::berthpb::Command;
use openraft_rt_tokio::TokioRuntime;
use store::engine::MemEngine;

use super::*;
use crate::config::Observe;
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

#[tokio::test]
async fn an_installed_snapshot_is_told_to_the_observer() {
    // Proves that whoever learned from the log is told when a snapshot takes its place.
    let engine = Arc::new(MemEngine::new());
    let options = store::Options::default();
    let store = Store::open(engine.clone(), options.clone()).unwrap();
    let (_, publisher) = watch::Hub::new(store.reader(), watch::Options::default());
    let observer = Arc::new(Replaced::default());
    let mut machine = StateMachine::<TokioRuntime>::new(Parts {
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
        on_applied: Some(AppliedObserver(observer.clone())),
        snapshots: SnapshotDir::open(Arc::new(CrashFs::new()), "snap".into(), None).unwrap(),
    });
    let mut builder = machine.get_snapshot_builder().await;
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(observer.0.load(Ordering::SeqCst), 0);
    machine.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(observer.0.load(Ordering::SeqCst), 1);
}
