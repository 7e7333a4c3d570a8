use futures::StreamExt;
use sha2::{Digest, Sha256};

use super::*;
use crate::grpc::testing::home;

#[test]
fn an_alarm_reads_as_etcds() {
    // Shows the line in `endpoint status`.
    let alarm = AlarmMember { member_id: 42, alarm: AlarmType::Nospace as i32 };
    assert_eq!(in_words(&alarm), "memberID:42 alarm:NOSPACE ");
}

#[test]
fn versions_have_two_or_three_numbers() {
    // Shows which targets are malformed rather than impossible.
    for text in ["3.6", "3.6.0", "12.0"] {
        assert!(is_version(text), "{text}");
    }
    for text in ["", "3", "3.x", "3.6.0.1", "v3.6"] {
        assert!(!is_version(text), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_complete_and_checked() {
    // Shows the whole way from the node: what a client saves is a snapshot file with its checksum,
    // and only its end says that nothing remains.
    let home = home(None).await;
    let maintenance = Maintenance { context: home.context.clone() };
    let stream = maintenance.snapshot(Request::new(SnapshotRequest {})).await.unwrap();
    let sent: Vec<_> = stream.into_inner().map(Result::unwrap).collect().await;
    let file: Vec<u8> = sent.iter().flat_map(|sent| sent.blob.to_vec()).collect();
    let (body, sha) = file.split_at(file.len() - 32);
    assert!(body.starts_with(b"BERTHSNP"));
    assert_eq!(body.len() % 512, 0);
    assert_eq!(sha, Sha256::digest(body).as_slice());
    assert_eq!(sent.last().unwrap().remaining_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_of_the_node() {
    // Shows the fields that tools require to be there, and the quota.
    let home = home(Some(1 << 20)).await;
    let maintenance = Maintenance { context: home.context.clone() };
    let status = maintenance.status(Request::new(StatusRequest {})).await.unwrap().into_inner();
    assert_eq!((status.leader, status.db_size_quota), (1, 1 << 20));
    assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0);
    assert!(status.raft_index >= status.raft_applied_index && status.raft_applied_index > 0);
    assert!(status.raft_term >= 2);
    assert_eq!((status.errors.len(), status.is_learner), (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_member_cannot_do_is_told_in_etcds_words() {
    // Shows leader transfer and downgrade with nothing to transfer to or to go back to.
    let home = home(None).await;
    let maintenance = Maintenance { context: home.context.clone() };
    let own = MoveLeaderRequest { target_id: 1 };
    maintenance.move_leader(Request::new(own)).await.unwrap();
    let other = MoveLeaderRequest { target_id: 7 };
    let refused = maintenance.move_leader(Request::new(other)).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: bad leader transferee");

    let downgrade = |action: DowngradeAction, version: &str| {
        let request = DowngradeRequest { action: action as i32, version: version.to_owned() };
        maintenance.downgrade(Request::new(request))
    };
    let refused = downgrade(DowngradeAction::Validate, "3.6.0").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: invalid downgrade target version");
    let refused = downgrade(DowngradeAction::Enable, "three").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: wrong downgrade target version format");
    let answer = downgrade(DowngradeAction::Cancel, "").await.unwrap().into_inner();
    assert_eq!(answer.version, "3.7.0");
}
