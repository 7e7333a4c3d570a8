use super::*;
use crate::snapshot::*;
use crate::types::*;
use crate::vfs::CrashFs;
use futures::TryStreamExt;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{RaftSnapshotBuilder, StorageError};
use openraft_rt_tokio::TokioRuntime;
use std::path::Path;

type C = Types<TokioRuntime>;
#[derive(Clone, Default)]
struct Sm {
    applied: Option<LogId>,
    mem: StoredMembership,
    snap: Option<Snapshot<CommittedLeaderId, u64, Peer, SnapshotMeta>>,
}
impl RaftSnapshotBuilder<C> for Arc<Mutex<Sm>> {
    type SnapshotData = SnapshotMeta;
    async fn build_snapshot(
        &mut self,
    ) -> Result<Snapshot<CommittedLeaderId, u64, Peer, SnapshotMeta>, io::Error> {
        let mut s = self.lock();
        let m = SnapshotMeta { last_log_id: s.applied, last_membership: s.mem.clone() };
        s.snap = Some(Snapshot { meta: m.clone(), snapshot: m });
        Ok(s.snap.clone().unwrap())
    }
}
impl RaftStateMachine<C> for Arc<Mutex<Sm>> {
    type SnapshotData = SnapshotMeta;
    type SnapshotBuilder = Self;
    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let s = self.lock();
        Ok((s.applied, s.mem.clone()))
    }
    async fn apply<S>(&mut self, mut e: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<C>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((e, _)) = e.try_next().await? {
            let mut s = self.lock();
            s.applied = Some(e.log_id);
            if let openraft::EntryPayload::Membership(m) = e.payload {
                s.mem = StoredMembership::new(Some(e.log_id), m);
            }
        }
        Ok(())
    }
    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        d: SnapshotMeta,
    ) -> Result<(), io::Error> {
        let mut s = self.lock();
        s.applied = meta.last_log_id;
        s.mem = meta.last_membership.clone();
        s.snap = Some(Snapshot { meta: meta.clone(), snapshot: d });
        Ok(())
    }
    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<CommittedLeaderId, u64, Peer, SnapshotMeta>>, io::Error> {
        Ok(self.lock().snap.clone())
    }
}
struct B;
impl StoreBuilder<C, LogStore, Arc<Mutex<Sm>>, ()> for B {
    async fn build(&self) -> Result<((), LogStore, Arc<Mutex<Sm>>), StorageError<C>> {
        let (wal, _, writer) = Wal::create_or_open(
            Arc::new(CrashFs::new()),
            Path::new("w"),
            bytes::Bytes::new(),
            wal::Options::default(),
        )
        .unwrap();
        std::thread::spawn(move || futures::executor::block_on(writer.run()));
        Ok(((), LogStore::new(wal, None), Arc::default()))
    }
}
#[test]
fn suite() {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(Suite::test_all(B))
        .unwrap();
}
