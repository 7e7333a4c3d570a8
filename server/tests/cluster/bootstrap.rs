//! Members that must not form a cluster with others.

use std::net::TcpStream;

use testkit::{Cluster, Kind, Place, bounded, eventually, subject};

use api::etcdserverpb::{MemberListRequest, PutRequest};

/// Peers try each other several times a second.
const NOTICED_S_MAX: u64 = 30;

fn places(count: usize) -> Vec<Place> {
    (0..count).map(|_| Place::loopback()).collect()
}

/// Proves that a member with the token of another cluster is kept out, with a word about it, and
/// that the cluster forms without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_another_token_is_kept_out() {
    let mut cluster = Cluster::prepare(subject!(), places(3), &[]).await;
    let stranger = cluster.member_mut(2);
    stranger.birth.token = "another".to_owned();
    // It is the first that the others meet.
    stranger.launch();
    let address = stranger.place.peer.clone();
    eventually("the stranger listens", NOTICED_S_MAX, async || {
        TcpStream::connect(&address).map(drop).map_err(|error| error.to_string())
    })
    .await;
    for at in [0, 1] {
        cluster.member_mut(at).launch();
    }
    for at in [0, 1] {
        cluster.member_mut(at).wait_serving().await;
    }
    eventually("somebody says why", NOTICED_S_MAX, async || {
        let logs: String = (0..3).map(|at| cluster.member(at).log().to_lowercase()).collect();
        let word = match cluster.kind() {
            Kind::Etcd => "cluster id mismatch",
            Kind::Berth => "initial-cluster-token",
        };
        if logs.contains(word) { Ok(()) } else { Err(format!("no log has `{word}`")) }
    })
    .await;
    assert!(cluster.member(2).status().await.is_err(), "the stranger serves");
    let put = PutRequest { key: "k".into(), ..Default::default() };
    bounded(cluster.clients(0).kv.put(put)).await.expect("two of three are a majority");
}

/// Proves that flags which contradict each other end a member at once, with the contradiction
/// named and nothing written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_that_contradict_each_other_are_refused() {
    let mut cluster = Cluster::prepare(subject!(), places(3), &[]).await;
    let peers: Vec<String> =
        (0..3).map(|at| cluster.member(at).place.advertised_peer_url()).collect();
    let [p1, p2, p3] = &peers[..] else { unreachable!("three members") };
    let cases = [
        // The second member takes the first one's name.
        (format!("m2={p1},m1={p2},m3={p3}"), "initial-advertise-peer-urls"),
        (format!("m1={p1},m2={p2},m3={p2}"), "duplicate"),
        (format!("m1={p1},m3={p3}"), "couldn't find local name"),
    ];
    for (initial_cluster, word) in cases {
        let member = cluster.member_mut(1);
        member.birth.initial_cluster.clone_from(&initial_cluster);
        member.launch();
        let status = member.wait_end().await;
        assert!(!status.success(), "{initial_cluster} is accepted");
        assert!(member.log().contains(word), "{word} is not in:\n{}", member.log());
        for log in ["wal", "member/wal"] {
            assert!(!member.data_dir().join(log).exists(), "it has begun a log");
        }
    }
}

/// Proves that a member which joins a cluster it was not added to is refused, and one that has
/// another idea of who is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_nobody_added_is_refused() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let uninvited = cluster.join(Place::loopback(), &[]);
    cluster.member_mut(uninvited).launch();
    let status = cluster.member_mut(uninvited).wait_end().await;
    assert!(!status.success());
    let log = cluster.member(uninvited).log();
    assert!(log.contains("member count is unequal"), "{log}");

    let own = cluster.member(uninvited).place.advertised_peer_url();
    let first = cluster.member(0).place.advertised_peer_url();
    let member = cluster.member_mut(uninvited);
    // As many members as there are, one of them with a URL that nobody has.
    member.birth.initial_cluster = format!("m1={first},m2=http://127.0.0.1:9,m4={own}");
    member.launch();
    assert!(!member.wait_end().await.success());
    // etcd's words, and berth's, which are those of earlier etcds.
    let words = ["no match found for existing member", "unmatched member"];
    assert!(words.iter().any(|words| member.log().contains(words)), "{}", member.log());

    let request = MemberListRequest { linearizable: true };
    let list = bounded(cluster.clients(0).cluster.member_list(request)).await;
    assert_eq!(list.expect("the cluster serves").into_inner().members.len(), 3);
}
