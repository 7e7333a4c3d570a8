//! Three members, and the one that leads them is killed.

use std::time::Duration;

use api::etcdserverpb::LeaseKeepAliveRequest;
use testkit::{Clients, Cluster, eventually, subject};
use tokio::task::JoinHandle;

use crate::election::{campaign, observe, seen};
use crate::{LONG_S, grant, lock, queue, queue_of};

/// Of a holder who dies, in seconds.
const SHORT_S: i64 = 3;
const NAME: &str = "name";

/// Keeps a lease alive, at whichever member answers, until it is aborted: then its holder has died.
fn keep(clients: Vec<Clients>, id: i64) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            for clients in &clients {
                let once = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
                let mut lease = clients.lease.clone();
                let renewed =
                    async { lease.lease_keep_alive(once).await?.into_inner().message().await };
                if let Ok(Ok(Some(answer))) =
                    tokio::time::timeout(Duration::from_secs(1), renewed).await
                    && answer.ttl > 0
                {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
}

/// Proves that a lock stays its holder's while the leader is killed, that it passes to the waiter
/// at another member when the holder dies, and that the leader never has two holders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_outlives_the_leader_and_not_its_holder() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let others = cluster.others(leader);
    let clients: Vec<_> = others.iter().map(|at| cluster.clients(*at)).collect();
    grant(&clients[0], 1, SHORT_S).await;
    grant(&clients[0], 2, LONG_S).await;
    let holder = keep(clients.clone(), 1);
    let first = lock(&clients[0], NAME, 1).await.unwrap();
    let waiting = tokio::spawn({
        let clients = clients[1].clone();
        async move { lock(&clients, NAME, 2).await }
    });
    queue_of(&clients[0], NAME, 2).await;

    cluster.member_mut(leader).kill();
    cluster.leader_among(&others).await;
    // Longer than the lease: it is renewed by then or it is gone.
    tokio::time::sleep(Duration::from_secs(SHORT_S.unsigned_abs() + 2)).await;
    let keys: Vec<_> = queue(&clients[1], NAME).await.into_iter().map(|kv| kv.key).collect();
    assert_eq!(keys, [&b"name/1"[..], &b"name/2"[..]], "the holder has kept its lease");
    assert!(!waiting.is_finished());

    holder.abort();
    let second = testkit::bounded(waiting).await.unwrap().unwrap();
    assert_eq!(second.key, "name/2");
    assert!(second.header.unwrap().revision > first.header.unwrap().revision);
    assert_eq!(queue(&clients[0], NAME).await.len(), 1);
}

/// Proves that an observer and a candidate at members that live on see the next leader of the
/// election, when the member that led the cluster and the candidate that led have died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_goes_on_without_the_leader() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let others = cluster.others(leader);
    let clients: Vec<_> = others.iter().map(|at| cluster.clients(*at)).collect();
    grant(&clients[0], 1, SHORT_S).await;
    grant(&clients[0], 2, LONG_S).await;
    let holder = keep(clients.clone(), 1);
    campaign(&clients[0], 1, "one").await.unwrap();
    let mut observer = observe(&clients[1]).await;
    assert_eq!(seen(&mut observer).await, "one");
    let candidate = tokio::spawn({
        let clients = clients[1].clone();
        async move { campaign(&clients, 2, "two").await }
    });
    queue_of(&clients[0], NAME, 2).await;
    cluster.member_mut(leader).kill();
    holder.abort();
    let elected = testkit::bounded(candidate).await.unwrap().unwrap();
    assert_eq!(elected.key, "name/2");
    assert_eq!(seen(&mut observer).await, "two");
    eventually("the other member sees the same leader", 60, async || {
        let keys = queue(&clients[0], NAME).await;
        if keys.len() == 1 { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
}
