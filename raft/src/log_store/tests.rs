//! Openraft's own storage suite, on the real log and the real state machine.

use std::path::Path;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt_tokio::TokioRuntime;
use store::Store;
use store::engine::MemEngine;

use super::*;
use crate::behind::Behind;
use crate::forward::Waiters;
use crate::lessor::Lessor;
use crate::peer::Roster;
use crate::snapshot::SnapshotDir;
use crate::state_machine::{Parts, StateMachine};
use crate::vfs::CrashFs;

type Config = Types<TokioRuntime>;
type Machine = StateMachine<TokioRuntime>;

/// Every case gets a new disk.
struct Fresh;

impl StoreBuilder<Config, LogStore, Machine> for Fresh {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Config>> {
        let vfs = Arc::new(CrashFs::new());
        let options = wal::Options { allocate_bytes: 64 << 10, ..wal::Options::default() };
        let opened = Wal::create_or_open(vfs.clone(), Path::new("wal"), "m".into(), options);
        let (wal, _, writer) = opened.unwrap();
        std::thread::spawn(move || futures::executor::block_on(writer.run()));

        let engine = Arc::new(MemEngine::new());
        let options = store::Options::default();
        let store = Store::open(engine.clone(), options.clone()).unwrap();
        let (_, publisher) = watch::Hub::new(store.reader(), watch::Options::default());
        let machine = StateMachine::new(Parts {
            behind: Arc::new(Behind::new(&store, Box::new(|| u64::MAX))),
            store,
            engine,
            options,
            cluster_id: 1,
            member_id: 1,
            publisher,
            lessor: Lessor::new(2, None),
            on_applied: None,
            log_next: 0,
            snapshot_log_bytes_min: u64::MAX,
            snapshots: SnapshotDir::open(vfs, "snap".into(), None).unwrap(),
            roster: Roster::default(),
            waiters: Waiters::new(0),
            sole: Sole::new(1),
        });
        Ok(((), LogStore::new(wal, None, Sole::new(1)), machine))
    }
}

// The suite sleeps a lot: on a clock that jumps.
#[tokio::test(start_paused = true)]
async fn openrafts_storage_suite_passes() {
    // Proves what openraft asks of a log and a state machine.
    Suite::test_all(Fresh).await.unwrap();
}
