//! Points that a member passes when it is sent a snapshot.

use std::path::Path;

use api::etcdserverpb::{CompactionRequest, MemberAddRequest, MemberRemoveRequest};
use testkit::{Cluster, Place, bounded, eventually};

use crate::acknowledged::Acknowledged;
use crate::alone::Case;
use crate::crash::{one_member, wait_crash};
use crate::gofail;
use crate::load::{Writes, put, revision};

pub(crate) const POINTS: &[Case] = &[
    ("raftBeforeSaveSnap", || Box::new(Writes)),
    ("raftAfterSaveSnap", || Box::new(Writes)),
    ("raftBeforeApplySnap", || Box::new(Writes)),
    ("applyBeforeOpenSnapshot", || Box::new(Writes)),
    ("applyAfterOpenSnapshot", || Box::new(Writes)),
    ("raftAfterApplySnap", || Box::new(Writes)),
    ("raftAfterWALRelease", || Box::new(Writes)),
];

/// Together more than berth keeps of its log: it snapshots after 64 MiB or half of its state, and
/// keeps what follows the snapshot before the last.
const LARGE_WRITES: u8 = 220;
const LARGE_BYTES: usize = 1 << 20;
/// So many of them are kept as history, so that the state stays small.
const WRITES_KEPT: u8 = 20;
/// Two snapshots, which are written slowly so that nobody suffers.
const PURGED_S_MAX: u64 = 120;
const CHANGED_S_MAX: u64 = 60;

/// Proves for each of these points that a new member that crashes there while it takes the leader's
/// snapshot comes back, and has in the end everything that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_crashes_at_each_point_of_a_snapshot_and_lacks_nothing() {
    let mut cluster = one_member().await;
    let mut acknowledged = Acknowledged::default();
    for _ in 0..100 {
        acknowledged.put(&mut cluster.clients(0)).await.expect("a member alone takes writes");
    }
    outgrow_log(&cluster).await;
    for (point, _) in POINTS {
        let (id, at) = add_learner(&mut cluster).await;
        let learner = cluster.member_mut(at);
        gofail::set_at_start(learner, &format!("{point}=panic"));
        learner.launch();
        wait_crash(learner, point).await;
        assert!(learner.log().contains("receiving a snapshot"), "{point}");
        gofail::unset_at_start(learner);
        learner.launch();
        acknowledged.put(&mut cluster.clients(0)).await.expect("learners hold up nobody");
        acknowledged.check(&cluster.clients(at), true).await;
        cluster.member_mut(at).kill();
        let mut leader = cluster.clients(0);
        let removed = bounded(leader.cluster.member_remove(MemberRemoveRequest { id })).await;
        removed.expect("a learner is removed");
    }
}

/// Writes until the log does not reach back to its beginning.
async fn outgrow_log(cluster: &Cluster) {
    let clients = cluster.clients(0);
    for number in 0..LARGE_WRITES {
        let written = put(&clients, "large", vec![number; LARGE_BYTES]).await;
        written.expect("a member alone takes writes");
        if number.is_multiple_of(WRITES_KEPT) {
            let revision = revision(&clients).await.expect("a member alone serves reads");
            let request = CompactionRequest { revision, physical: true };
            bounded(clients.clone().kv.compact(request)).await.expect("history can be compacted");
        }
    }
    let log = cluster.member(0).data_dir().join("wal");
    eventually("the leader purges its log", PURGED_S_MAX, async || {
        let bytes = bytes_in(&log);
        let written = u64::from(LARGE_WRITES) * LARGE_BYTES as u64;
        if bytes < written { Ok(()) } else { Err(format!("{bytes} bytes are left")) }
    })
    .await;
}

/// The size of all files of a folder.
fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the folder is there");
    // A file may be removed while we look.
    files.flatten().flat_map(|file| file.metadata()).map(|data| data.len()).sum()
}

/// The id of a new learner, and its place; it is not started.
async fn add_learner(cluster: &mut Cluster) -> (u64, usize) {
    let place = Place::loopback();
    let first = &cluster.member(0);
    let both = format!(
        "{},m{}={}",
        first.birth.initial_cluster,
        cluster.len() + 1,
        place.advertised_peer_url()
    );
    let peer_urls = vec![place.advertised_peer_url()];
    let added = eventually("a learner is added", CHANGED_S_MAX, async || {
        let request = MemberAddRequest { peer_urls: peer_urls.clone(), is_learner: true };
        let added = bounded(cluster.clients(0).cluster.member_add(request)).await;
        added.map_err(|refusal| refusal.to_string())
    })
    .await;
    let id = added.into_inner().member.expect("the answer has the member").id;
    let at = cluster.join(place, &[]);
    // Those of the rounds before are members no more.
    cluster.member_mut(at).birth.initial_cluster = both;
    (id, at)
}
