//! Points that a member passes alone.

use testkit::{Cluster, Place, subject};

use crate::acknowledged::Acknowledged;
use crate::crash::{crash, one_member, wait_crash};
use crate::gofail;
use crate::load::*;

pub(crate) type Case = (&'static str, fn() -> Box<dyn Load>);

pub(crate) const POINTS: &[Case] = &[
    ("raftBeforeLeaderSend", || Box::new(Writes)),
    ("raftBeforeSave", || Box::new(Writes)),
    ("walBeforeSync", || Box::new(Writes)),
    ("walAfterSync", || Box::new(Writes)),
    ("raftAfterSave", || Box::new(Writes)),
    ("beforeApplyOneEntryNormal", || Box::new(Writes)),
    ("beforeWritebackBuf", || Box::new(Writes)),
    ("afterWritebackBuf", || Box::new(Writes)),
    ("beforeStartDBTxn", || Box::new(Writes)),
    ("afterStartDBTxn", || Box::new(Writes)),
    ("commitBeforePreCommitHook", || Box::new(Writes)),
    ("commitAfterPreCommitHook", || Box::new(Writes)),
    ("beforeCommit", || Box::new(Writes)),
    ("afterCommit", || Box::new(Writes)),
    ("compactBeforeCommitScheduledCompact", || Box::new(Compactions)),
    ("compactAfterCommitScheduledCompact", || Box::new(Compactions)),
    ("compactAfterAcquiredBatchTxLock", || Box::new(Compactions)),
    ("compactBeforeCommitBatch", || Box::new(Compactions)),
    ("compactAfterCommitBatch", || Box::new(Compactions)),
    ("compactBeforeSetFinishedCompact", || Box::new(Compactions)),
    ("compactAfterSetFinishedCompact", || Box::new(Compactions)),
    ("defragBeforeCopy", || Box::new(Defragmentations)),
    ("defragBeforeRename", || Box::new(Defragmentations)),
    ("beforeSendWatchResponse", || Box::new(LateWatches)),
    ("beforeSyncWatchers", || Box::new(LateWatches)),
    ("beforeMoveVictims", || Box::new(SlowWatches)),
    ("beforeProgressIfSync", || Box::new(ProgressRequests)),
    // The last: a member that will never be there cannot be added twice.
    ("beforeApplyOneConfChange", || Box::new(Changes)),
];

/// Passed once in the life of a process, so that it can only be set before.
pub(crate) const AT_START: Case = ("beforePublishing", || Box::new(Writes));

/// Proves for each of these points that a panic there ends the process, and that the next start has
/// everything that was acknowledged in all lives before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_crashes_at_each_point_and_loses_nothing() {
    let mut cluster = one_member().await;
    let mut acknowledged = Acknowledged::default();
    for (point, load) in POINTS {
        crash(&mut cluster, (0, 0), point, &mut *load(), &mut acknowledged).await;
    }
}

/// Proves the same for a point of the first start, set by the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_crashes_at_its_first_start_starts_again() {
    let mut cluster = Cluster::prepare(subject!(), vec![Place::loopback()], &[]).await;
    let member = cluster.member_mut(0);
    gofail::set_at_start(member, &format!("{}=panic", AT_START.0));
    member.launch();
    wait_crash(member, AT_START.0).await;
    gofail::unset_at_start(member);
    member.restart().await;
    let mut acknowledged = Acknowledged::default();
    acknowledged.put(&mut member.clients()).await.expect("a started member takes writes");
    acknowledged.check(&member.clients(), false).await;
}
